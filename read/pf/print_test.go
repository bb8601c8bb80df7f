package pf_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// What is printed reads as what it was printed from, and prints as the same text.
func TestPrintIsCanonical(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 22))
	for i := range gen.Dose(t, "FWCTL_RULESETS", 300) {
		d := &draw{Rand: r, dialect: dialects[i%len(dialects)]}
		c := pf.Parse(d.file(), d.dialect)
		text := c.Print()
		again := pf.Parse(text, d.dialect)
		if !reflect.DeepEqual(placeless(c.Lines), placeless(again.Lines)) || again.Print() != text {
			t.Fatalf("%v: reads otherwise:\n%s\n%s\n%v", d.dialect, text, again.Print(), again.Problems)
		}
	}
}

// Whatever the order in which a rule was written, its words are printed in the order in
// which pfctl prints them, each system's own.
func TestOrderOfWords(t *testing.T) {
	for _, c := range []struct {
		d          pf.Dialect
		text, want string
	}{
		{
			pf.OpenBSD,
			"pass in quick log (all) on em0 inet proto tcp from 10.0.0.0/8 to 192.0.2.1 port ssh rtable 1 tagged B tag A once label x allow-opts probability 50% synproxy state (max 5) set (prio 3) max-pkt-rate 9/1 tos 0x10 flags S/SA group wheel user root received-on em1 rdr-to 10.0.0.9 route-to 10.0.0.2",
			"pass in log (all) quick on em0 inet proto tcp from 10.0.0.0/8 to 192.0.2.1 port = 22 received-on em1 user = 0 group = 0 flags S/SA tos 0x10 max-pkt-rate 9/1 set (prio 3) probability 50% synproxy state (max 5) allow-opts label \"x\" once tag A tagged B rtable 1 rdr-to 10.0.0.9 route-to 10.0.0.2",
		},
		{
			pf.FreeBSD,
			"pass out on em0 route-to (em1 10.0.0.2) inet proto udp from any to any port 53 ! tagged B queue (a, b) label x ridentifier 5 keep state set prio (2, 5)",
			"pass out on em0 route-to (em1 10.0.0.2) inet proto udp from any to any port = 53 set ( prio(2, 5) ) keep state label \"x\" ridentifier 5 queue(a, b) ! tagged B",
		},
		{
			pf.MacOS,
			"block return in on en0 inet proto icmp from any to any label x tos 0x10 icmp-type echoreq",
			"block return in on en0 inet proto icmp all icmp-type echoreq tos 0x10 label \"x\"",
		},
		{pf.OpenBSD, "pass in inet6 from any to any keep state probability 30% (max 5)", "pass in inet6 all probability 30% keep state (max 5)"},
		{
			pf.OpenBSD,
			"pass in inet proto tcp to port 80 tagged A label x allow-opts scrub (max-mss 1400, random-id, min-ttl 9 no-df) set tos af21 set (queue (q, r), prio (2 3)) divert-to 127.0.0.1 port 81 probability 0.25",
			"pass in inet proto tcp from any to any port = 80 set (prio(2, 3), queue(q, r), tos 0x48) probability 25% scrub (no-df random-id min-ttl 9 max-mss 1400) allow-opts label \"x\" tagged A divert-to 127.0.0.1 port 81",
		},
		{
			pf.OpenBSD,
			"pass in proto tcp user { 7 >< 9, != www } user root keep state (tcp.first 9, pflow, max-src-nodes 8, overload <t> flush, max-src-conn 3, no-sync, source-track rule, udp.single 4, max 7)",
			"pass in proto tcp all user { = 0, 7 >< 9, != www } keep state (max 7, no-sync, source-track rule, max-src-conn 3, max-src-nodes 8, overload <t> flush, pflow, tcp.first 9, udp.single 4)",
		},
		{
			pf.OpenBSD,
			"match out on em0 from any to 192.0.2.1 nat-to (em1) static-port sticky-address",
			"match out on em0 from any to 192.0.2.1 nat-to (em1) round-robin sticky-address static-port",
		},
		{
			pf.OpenBSD,
			"pass in on em0 from 192.0.2.1 route-to { 198.51.100.9/31, 198.51.100.7 } sticky-address source-hash 0xAB",
			"pass in on em0 inet from 192.0.2.1 to any route-to { 198.51.100.8/31, 198.51.100.7 } source-hash 0xab sticky-address",
		},
		{
			pf.OpenBSD, "pass in proto tcp to port 25 divert-to ::1 port 8025",
			"pass in inet6 proto tcp from any to any port = 25 divert-to ::1 port 8025",
		},
		{pf.OpenBSD, "pass in inet6 af-to inet from 192.0.2.9 to 192.0.2.7", "pass in inet6 all af-to inet from 192.0.2.9 to 192.0.2.7"},
		{pf.FreeBSDOld, "pass in all tos throughput", "pass in all tos 0x08"},
		{pf.FreeBSDOld, "pass in all fragment no state", "pass in all no state fragment"},
		{pf.OpenBSD, "match in all scrub (no-df) tag A queue q", "match in all set (queue q) scrub (no-df) tag A"},
	} {
		parsed := pf.Parse(c.text+"\n", c.d)
		if got := strings.TrimSuffix(parsed.Print(), "\n"); got != c.want || len(parsed.Problems) > 0 {
			t.Errorf("%v: %v\n%s\n%s", c.d, parsed.Problems, got, c.want)
		}
	}
}

// placeless takes out of the statements what printing changes: lines and macros.
func placeless(lines []pf.Statement) []pf.Statement {
	lines = slices.DeleteFunc(slices.Clone(lines), func(s pf.Statement) bool { _, macro := s.(*pf.Macro); return macro })
	for i, s := range lines {
		v := reflect.New(reflect.TypeOf(s).Elem())
		v.Elem().Set(reflect.ValueOf(s).Elem())
		v.Elem().FieldByName("Line").SetInt(0)
		if a, ok := v.Interface().(*pf.Anchor); ok {
			a.Body = placeless(a.Body)
		}
		lines[i] = v.Interface().(pf.Statement)
	}
	return lines
}

// The rules as pfctl -sr prints them, lists multiplied out and defaults written,
// mean what the file means: proved for every packet.
func TestExpandedMeansTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 23))
	for i := range gen.Dose(t, "FWCTL_RULESETS", 150) {
		d := &draw{Rand: r, dialect: dialects[i%len(dialects)], plain: i%2 == 0}
		text := d.file()
		file := pf.Parse(text, d.dialect)
		printed := file.Expand().Print()
		kernel := pf.Parse(printed, d.dialect)
		if len(kernel.Problems) > 0 || kernel.Expand().Print() != printed {
			t.Fatalf("%v: %v: printed rules expand to others\n%s\n%s", d.dialect, kernel.Problems, printed, kernel.Expand().Print())
		}
		opt := d.known()
		opt.Tables = tablesOf(file, opt)
		inKernel := opt
		inKernel.Skip = newMachine(file, opt).skip
		for _, is6 := range []bool{false, true} {
			for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
				equal(t, pf.Filter(translated(kernel, file), hook, is6, inKernel), pf.Filter(file, hook, is6, opt), is6)
				if t.Failed() {
					t.Fatalf("%v, %v, IPv6 %v\n%s\n%s", d.dialect, hook, is6, text, printed)
				}
			}
		}
	}
}

// translated adds the rules of the old grammar that change packets, which pfctl -sn
// prints.
func translated(kernel, file *pf.Config) *pf.Config {
	out := &pf.Config{Dialect: kernel.Dialect}
	for _, l := range file.Lines {
		_, rule := l.(*pf.Translation)
		if a, ok := l.(*pf.Anchor); rule || ok && a.Keyword != "anchor" {
			out.Lines = append(out.Lines, l)
		}
	}
	out.Lines = append(out.Lines, kernel.Lines...)
	return out
}

// tablesOf are those that the kernel has of the file.
func tablesOf(c *pf.Config, opt pf.Options) func(anchor, name string) ([]pf.Entry, bool) {
	tables := newMachine(c, opt).tables
	return func(anchor, name string) ([]pf.Entry, bool) {
		t := tables[home{anchor, name}]
		if t == nil || anchor != "" {
			return nil, false
		}
		entries := slices.Clone(t.Entries)
		for _, f := range t.Files {
			text, _ := opt.Files(f)
			more, _ := pf.ParseEntries(string(text))
			entries = append(entries, more...)
		}
		return entries, true
	}
}

func equal(t *testing.T, a, b *packet.Filter, is6 bool) {
	t.Helper()
	s := packet.NewSpace(is6, hostAddrs(is6), packet.DefaultBudget, a, b)
	na, err := s.Build(a)
	if err != nil {
		t.Fatal(err)
	}
	nb, err := s.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Compare(na, nb, packet.True)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind != packet.Equal {
		fa, fb := *d.Witness.Facts, *d.Witness.Facts
		t.Errorf("%v %v: %s: %+v %+v", d.Kind, d.Witness.Unknowns, d.Witness.Packet, a.Decide(&fa), b.Decide(&fb))
	}
}

// Files with what routers have are read whole in their own grammar, and what is
// printed of them reads the same.
func TestFilesOfRouters(t *testing.T) {
	for name, x := range map[string]struct{ d, not pf.Dialect }{
		"openbsd-router.conf": {pf.OpenBSD, pf.MacOS}, "freebsd-gateway.conf": {pf.FreeBSD, pf.OpenBSD},
		"macos.conf": {pf.MacOS, pf.OpenBSD},
	} {
		d := x.d
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		c := pf.Parse(string(text), d)
		if len(c.Problems) > 0 {
			t.Errorf("%s: %v", name, c.Problems)
		}
		printed := c.Print()
		if again := pf.Parse(printed, d); len(again.Problems) > 0 || again.Print() != printed {
			t.Errorf("%s: %v\n%s\n%s", name, again.Problems, printed, again.Print())
		}
		if len(pf.Parse(string(text), x.not).Problems) == 0 {
			t.Errorf("%s: %v takes it, too", name, x.not)
		}
		if guessed := pf.Guess(string(text), nil); len(guessed.Problems) > 0 {
			t.Errorf("%s: guessed as %v", name, guessed.Dialect)
		}
	}
}

// The rules with which macOS comes, as its pfctl prints them, are read whole.
func TestRulesOfMacOS(t *testing.T) {
	const printed = `scrub-anchor "com.apple/*" all fragment reassemble
anchor "com.apple/*" all
anchor "fwctl" all {
  pass in quick proto tcp from any to any port = 22 flags S/SA keep state label "service.ssh"
}
`
	c := pf.Parse(printed, pf.MacOS)
	if len(c.Problems) > 0 || c.Print() != printed {
		t.Errorf("%v\n%s", c.Problems, c.Print())
	}
}
