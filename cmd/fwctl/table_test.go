package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fwctl/fwctl/audit/exposure"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

// drawnReport has long names, IPv6, many sources, wide letters.
func drawnReport(r *rand.Rand) *audited {
	words := []string{
		"nginx", "a-process-with-a-very-long-name-that-nobody-would-give", "プロセス一覧を表示する番人", "é̂tat", "docker container web", "(root)", "x",
		"2001:db8:1234:5678:9abc:def0:1234:5678/128", "198.51.100.0/24", strings.Repeat("w", 130),
	}
	text := func(most int) string {
		var out []string
		for range 1 + r.IntN(most) {
			out = append(out, words[r.IntN(len(words))])
		}
		return strings.Join(out, " ")
	}
	a := &audited{Policy: "/etc/" + text(2), Report: &exposure.Report{Verdict: exposure.Findings}}
	for i := range r.IntN(12) {
		d := exposure.Door{Proto: packet.TCP, Protocol: "tcp", Port: uint16(1 + i*5000), Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1234:5678:9abc")}, Local: r.IntN(5) == 0, Untold: r.IntN(5) == 0}
		for range r.IntN(9) {
			d.From = append(d.From, text(3))
		}
		for range r.IntN(4) {
			d.Waits = append(d.Waits, exposure.Waiter{Process: text(1), User: text(1), Unit: text(1) + ".service"})
		}
		for range r.IntN(3) {
			d.Services = append(d.Services, "service."+text(1))
		}
		a.Doors = append(a.Doors, d)
	}
	for range r.IntN(5) {
		f := exposure.Finding{
			Code: fmt.Sprintf("FW1%02d", 1+r.IntN(17)), Severity: exposure.Severity(r.IntN(3)), Summary: text(6), Evidence: []string{text(4), text(2)},
			Packet: "in eth0 tcp [2001:db8:ffff:ffff::9]:51234 -> [2001:db8::1234:5678:9abc]:65535", Section: "service." + text(1), At: "/etc/" + text(1) + ":4:1",
		}
		if len(a.Doors) > 0 {
			f.Door = a.Doors[r.IntN(len(a.Doors))].Name()
		}
		a.Findings = append(a.Findings, f)
	}
	a.Notes = []string{text(12)}
	return a
}

// shownAt is the report in lines of a width.
func shownAt(a *audited, width int, color string) string {
	var b strings.Builder
	u := newUI(nil, &b, nil)
	u.color = color
	_ = u.settle()
	u.width = width
	u.audited(a, true)
	return b.String()
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// No line is longer than the terminal is wide, and nothing is lost: the letters are the
// same at every width, but for the names of columns that stand at each cell where a row
// has several lines.
func TestTableWraps(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 71))
	for i := range gen.Dose(t, "FWCTL_TABLES", 100) {
		a := drawnReport(r)
		whole := letters(shownAt(a, 0, "never"))
		for _, width := range []int{40, 60, 71, 72, 80, 120, 200} {
			text := shownAt(a, width, "never")
			for line := range strings.Lines(text) {
				if n := columns(strings.TrimSuffix(line, "\n")); n > width {
					t.Fatalf("report %d at %d: %d columns: %s\n%s", i, width, n, line, text)
				}
				if line != strings.TrimRight(line, " \n")+"\n" {
					t.Fatalf("blanks end a line: %q", line)
				}
			}
			got := letters(text)
			if width < narrow {
				for _, name := range []string{"on", "reached by", "waits", "service"} {
					got = less(got, name, len(regexp.MustCompile("(?m)^    "+name+"( {2,}|$| [^ ])").FindAllString(text, -1)))
				}
				got = more(got, "PORTONREACHEDBYWAITSSERVICE")
				if len(a.Doors) == 0 {
					got = whole // there is no table
				}
			}
			if got != whole {
				t.Fatalf("report %d at %d: not the same letters\n%s\n%s", i, width, shownAt(a, 0, "never"), text)
			}
			if painted := escapes.ReplaceAllString(shownAt(a, width, "always"), ""); painted != text {
				t.Fatalf("report %d at %d: in colour it is another text\n%s\n%s", i, width, painted, text)
			}
		}
	}
}

// letters are those of the text, sorted: columns beside each other mix them.
func letters(s string) string {
	var out []rune
	for _, r := range s {
		if !unicode.IsSpace(r) {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return string(out)
}

func more(sorted, name string) string { return letters(sorted + name) }

// less takes so many of the name's letters out.
func less(sorted, name string, n int) string {
	out := []rune(sorted)
	for _, r := range strings.Repeat(strings.ReplaceAll(name, " ", ""), n) {
		if i := slices.Index(out, r); i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	return string(out)
}

// The worst stands first, columns are aligned, and lines break where people would.
func TestTableOfPorts(t *testing.T) {
	door := func(port uint16, process string, from ...string) exposure.Door {
		return exposure.Door{Proto: packet.TCP, Port: port, Addrs: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, Waits: []exposure.Waiter{{Process: process, User: process}}, From: from}
	}
	a := &audited{Policy: "policy.toml", Report: &exposure.Report{Verdict: exposure.Findings, Doors: []exposure.Door{
		door(22, "sshd", "198.51.100.0/24", "2001:db8:1::/48"), door(111, "rpcbind"), door(443, "nginx", "any IPv4", "any IPv6"), door(6379, "redis", "any IPv4"),
	}, Findings: []exposure.Finding{{Code: "FW101", Door: "6379/tcp", Summary: "6379/tcp is reached, and no service names it: redis (redis)", Packet: "in eth0 tcp 203.0.113.9:51234 -> 192.0.2.10:6379"}, {Code: "FW104", Severity: exposure.Warning, Door: "111/tcp", Summary: "silent"}}}}
	a.Doors[0].Services, a.Doors[2].Services = []string{"service.ssh"}, []string{"service.web"}
	const want = `  PORT            ON  REACHED BY          WAITS              SERVICE
with critical findings
  6379/tcp FW101  *   any IPv4            redis (redis)
with warnings
  111/tcp FW104   *   nobody              rpcbind (rpcbind)
reached from outside
  22/tcp          *   198.51.100.0/24;    sshd (sshd)        service.ssh
                      2001:db8:1::/48
  443/tcp         *   any IPv4; any IPv6  nginx (nginx)      service.web

critical FW101 6379/tcp is reached, and no service names it: redis (redis)
  packet   in eth0 tcp 203.0.113.9:51234 -> 192.0.2.10:6379

warning  FW104 silent
findings: policy.toml
`
	if got := shownAt(a, 75, "never"); got != want {
		t.Errorf("now:\n%s", got)
	}
}
