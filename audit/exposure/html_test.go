package exposure

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/packet"
)

// hostile are names as a process, a unit or a container may give itself.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'--></style></title></svg><script>`, "{{.Host}}",
	"a\u202egnp.exe", "b\x1b[2J\x00\xff", "c\u200b\u00a0d", `javascript:alert(1)`, "</td></tr></table>", strings.Repeat("long-", 60),
}

func from(is6 bool, sources string, in ...string) Source {
	g := packet.Group{Is6: is6, In: in}
	for _, s := range strings.Fields(sources) {
		g.Sources = append(g.Sources, prefixRange(s))
	}
	return exactly(g)
}

func prefixRange(s string) packet.Range {
	p := netip.MustParsePrefix(s)
	lo := packet.AddrValue(p.Masked().Addr())
	hi := lo.Or(packet.Ones(uint(p.Addr().BitLen() - p.Bits())))
	return packet.Range{Lo: lo, Hi: hi}
}

func doorOf(port uint16, waits string, sources ...Source) Door {
	d := Door{Proto: tcp, Protocol: "tcp", Port: port, Addrs: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, Waits: []Waiter{{Process: waits, User: "www", Unit: waits + ".service"}}, Sources: sources}
	for i := range sources {
		d.From = append(d.From, source(sources[i].group))
	}
	return d
}

// everything is a report with something in each part of the page, under the names.
func everything(names ...string) *Report {
	name := func(i int) string { return names[i%len(names)] }
	all := []Source{from(false, ""), from(true, "")}
	web := from(false, "198.51.100.0/24")
	some := web
	some.To, some.group.Dst = []string{"192.0.2.10"}, packet.Ranges{single("192.0.2.10")}
	r := &Report{held: true, Notes: []string{name(0) + " may let packets in, and is not looked into"}, Doors: []Door{
		doorOf(22, name(0), from(false, "198.51.100.0/24"), from(false, "100.0.0.0/8", "eth1")),
		doorOf(80, name(1), all...), doorOf(443, name(2), all...),
		doorOf(5432, name(3), some), doorOf(6379, name(4), all...),
		doorOf(8000, name(5), from(false, "198.51.100.0/24"), from(true, "2001:db8:1::/48")),
		doorOf(8443, name(6), from(false, "198.51.100.128/25 203.0.113.0/24")), doorOf(9000, name(7)), doorOf(9100, name(8)), doorOf(9200, name(9)),
	}}
	r.Doors[1].Services, r.Doors[2].Services, r.Doors[5].Services = []string{"service.web"}, []string{"service.web"}, []string{"service.cromwell"}
	r.Doors[4].Published, r.Doors[2].Speaks = []string{"172.17.0.2:6379 (" + name(3) + ")"}, "tls"
	r.Doors[7].Untold, r.Doors[9].Local = true, true
	r.Doors[9].Addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for i := range 12 {
		r.Doors[6].Sources = append(r.Doors[6].Sources, from(false, fmt.Sprintf("10.%d.0.0/16", 2*i)))
	}
	r.Findings = []Finding{
		{Code: "FW101", Severity: Critical, Door: "6379/tcp", Summary: "6379/tcp is reached, and no service names it: " + name(4), Evidence: []string{"from any IPv4", "from any IPv6"}, Packet: "in eth0 tcp 203.0.113.9:51234 -> 192.0.2.10:6379"},
		{Code: "FW106", Severity: Critical, Door: "443/tcp", Summary: "443/tcp: service.web expects user www, but " + name(2) + " waits there", Evidence: []string{"its user is " + name(1)}, Section: "service.web", At: "policy.toml:4:1"},
		{Code: "FW104", Severity: Warning, Door: "9100/tcp", Summary: "9100/tcp waits for others, but no service names it and nobody reaches it: " + name(8), Evidence: []string{"on all IPv4 addresses, all IPv6 addresses"}},
		{Code: "FW112", Severity: Note, Summary: "service.old has expired at 2026-01-01T00:00:00Z", Section: "service.old", At: "policy.toml:9:1"},
		{Code: "FW104", Severity: Warning, Door: "111/tcp", Summary: "111/tcp waits for others", Accepted: "legacy NFS, " + name(0), Until: "2027-01-31T00:00:00Z"},
	}
	there := []Door{doorOf(80, name(5), all...), doorOf(5432, name(6))}
	there[1].Local = true
	r.Namespaces = []Namespace{
		{Name: name(0), Inode: 4026532281, Holds: []string{"docker container " + name(1)}, Addresses: []string{name(2) + " 172.17.0.2/16"}, Doors: there},
		{Inode: 4026532282, Notes: []string{"its rules could not be read: " + name(3)}},
	}
	r.finish()
	return r
}

// driftOf is a drift with something of each kind, under a name.
func driftOf(name string) *drift.Report {
	example := drift.Example{
		Packet: "in eth0 tcp 203.0.113.9:51234 -> 192.0.2.10:6379", If: []string{"the set " + name + " holds it"},
		Host: drift.Side{Verdict: "accept", Table: "ip filter", Chain: "INPUT", Handle: 7, Rule: name}, Policy: drift.Side{Verdict: "drop", Name: "the default"},
	}
	r := &drift.Report{Verdict: drift.Drift, Compared: []drift.Compared{{Hook: "input", Family: "ip", State: "new"}}}
	for _, k := range drift.Kinds() {
		r.Findings = append(r.Findings, drift.Finding{Kind: k, Summary: k.String() + " " + name, Details: []string{name}})
	}
	r.Findings[0].Packets, r.Findings[0].More, r.Findings[0].Examples = slices.Repeat([]string{name}, 2*mostPackets), true, []drift.Example{example}
	return r
}

func pageOf(t testing.TB, r *Report, host string) string {
	t.Helper()
	return pageAbout(t, r, About{
		Host: host, Drift: driftOf(host), Past: []Event{
			{At: now, Did: "rollback", Policy: "/etc/fwctl/" + host, Digest: "ab12ab12ab12ab12", Backend: "nftables", User: host, Confirmed: host, Changes: 3},
			{At: now.AddDate(0, -1, 0), Did: "off", User: "root"},
		},
	})
}

func pageAbout(t testing.TB, r *Report, about About) string {
	t.Helper()
	about.Version, about.Policy, about.Digest, about.At = "0.1.0", "/etc/fwctl/policy.toml", strings.Repeat("ab12", 16), now
	var b bytes.Buffer
	if err := r.HTML(&b, about); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page is well-formed as XML, has all its parts, loads nothing, and is the same
// whenever it is made.
func TestHTML(t *testing.T) {
	r := everything("nginx", "caddy", "redis-server")
	text := pageOf(t, r, "web1.example.org")
	if text != pageOf(t, everything("nginx", "caddy", "redis-server"), "web1.example.org") {
		t.Error("the same report, another page")
	}
	wellFormed(t, text)
	nodes := parsed(t, text)
	for what, want := range map[string]int{"table": 5, "svg": 1, "article": 12, "details": 5, "h1": 1, "h2": 9, "h3": 14, "main": 1, "caption": 4, "script": 0, "img": 0, "iframe": 0} {
		if got := len(nodes[what]); got != want {
			t.Errorf("%d of <%s>, want %d", got, what, want)
		}
	}
	for _, want := range []string{
		"default-src &#39;none&#39;", "web1.example.org", "2 critical, 1 warning.", "0.1.0", "2026-11-26T12:00:00Z", "/etc/fwctl/policy.toml", "in eth0 tcp 203.0.113.9:51234 -&gt; 192.0.2.10:6379",
		"[service.web]", "policy.toml:4:1", "legacy NFS, nginx", "2027-01-31T00:00:00Z", "<strong>Cure:</strong> Stop what waits there", "any IPv4 reaches 80/tcp, 443/tcp, 6379/tcp;", "some of the others reach 22/tcp, 5432/tcp, 8000/tcp, 8443/tcp; not all could be told of 9000/tcp.", "100.0.0.0/8 in eth1",
		"Drift: the host does not do", "Compared: input; IPv4, IPv6; packets of state new.", "accept by ip filter INPUT, handle 7", "and more", "confirmed by <bdi>web1", "2026-10-26T12:00:00Z", "3 changed",
		"nginx (net:[4026532281])", "docker container caddy", "is not followed here", "Nothing waits there", "its rules could not be read: nginx",
	} {
		if !strings.Contains(strings.ReplaceAll(text, "'none'", "&#39;none&#39;"), want) {
			t.Errorf("nothing of %q", want)
		}
	}
	for _, th := range nodes["th"] {
		if attr(th, "scope") == "" {
			t.Error("a heading of a table without its scope")
		}
	}
	references(t, nodes)
}

// An empty report is a page, too; so is one without a policy.
func TestHTMLOfNothing(t *testing.T) {
	for _, r := range []*Report{{}, {held: true, Verdict: CannotTell, Notes: []string{"not read: x"}}, looked(t, "", nil)} {
		wellFormed(t, pageOf(t, r, ""))
		text := pageAbout(t, r, About{})
		wellFormed(t, text)
		for _, want := range []string{"There is no policy to hold the host against.", "Nothing was applied"} {
			if !strings.Contains(text, want) {
				t.Errorf("nothing of %q", want)
			}
		}
	}
	text := pageAbout(t, &Report{}, About{NoDrift: "no <memory>", NoPast: "it is damaged"})
	if !strings.Contains(text, "no &lt;memory&gt;") || !strings.Contains(text, "it is damaged") {
		t.Error("what could not be read is not told")
	}
}

// Whatever a host calls its processes is text of the page, and all of it is seen.
func TestHTMLOfHostileNames(t *testing.T) {
	clean, dirty := pageOf(t, everything("x"), "x"), pageOf(t, everything(hostile...), hostile[0])
	wellFormed(t, dirty)
	want, got := parsed(t, clean), parsed(t, dirty)
	for _, what := range []string{"script", "img", "style", "title", "table", "tr", "td", "svg", "text", "path", "article", "bdi", "a"} {
		if len(want[what]) != len(got[what]) {
			t.Errorf("%d of <%s>, with harmless names %d", len(got[what]), what, len(want[what]))
		}
	}
	for name, nodes := range got {
		for _, n := range nodes {
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "javascript:") {
					t.Errorf("<%s %s=%q>", name, a.Key, a.Val)
				}
			}
		}
	}
	for _, bad := range []string{"\u202e", "\x1b", "\x00", "\u200b", "\xff"} {
		if strings.Contains(dirty, bad) {
			t.Errorf("%q stands in the page as it is", bad)
		}
	}
	for _, shown := range []string{`a\u202egnp.exe`, `c\u200b\u00a0d`, `b\x1b[2J`, "&lt;script&gt;alert(1)"} {
		if !strings.Contains(dirty, shown) {
			t.Errorf("%s is not shown", shown)
		}
	}
}

// Whatever the name, the page is well-formed and has the elements that it has otherwise.
func FuzzHTML(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		text := pageOf(t, everything(name), name)
		wellFormed(t, text)
		want, got := parsed(t, pageOf(t, everything("x"), "x")), parsed(t, text)
		for what := range got {
			if len(want[what]) != len(got[what]) {
				t.Errorf("%d of <%s>, want %d", len(got[what]), what, len(want[what]))
			}
		}
	})
}

// A page of a thousand published ports and a thousand sources is made at once.
func TestHTMLOfMany(t *testing.T) {
	r := &Report{}
	var sources []Source
	for i := range mostSources {
		sources = append(sources, from(false, fmt.Sprintf("10.%d.%d.0/24", i/256, 2*(i%128))))
	}
	for i := range mostPorts {
		r.Doors = append(r.Doors, doorOf(uint16(10000+i), "proxy", sources...))
	}
	start := time.Now()
	text := pageAbout(t, r, About{})
	t.Logf("%d kB in %v", len(text)/1000, time.Since(start))
	if n := strings.Count(text, "<tr>"); n != 1+mostPorts || len(text) > 3_000_000 {
		t.Errorf("%d rows, %d bytes", n, len(text))
	}
}

// A cell says how much of its column gets in.
func TestMatrix(t *testing.T) {
	net := func(s string, in ...string) packet.Group { return from(false, s, in...).group }
	to := func(s Source, dst string) Source { s.group.Dst = packet.Ranges{single(dst)}; return s }
	any4 := from(false, "")
	for name, c := range map[string]struct {
		column packet.Group
		door   Door
		want   cell
	}{
		"itself":                   {net("10.0.0.0/8"), doorOf(1, "", from(false, "10.0.0.0/8")), cell{level: whole}},
		"within":                   {net("10.1.0.0/16"), doorOf(1, "", any4), cell{level: whole}},
		"wider":                    {net(""), doorOf(1, "", from(false, "10.0.0.0/8")), cell{level: part}},
		"beside":                   {net("10.0.0.0/8"), doorOf(1, "", from(false, "192.0.2.0/24")), cell{}},
		"the other family":         {net(""), doorOf(1, "", from(true, "")), cell{}},
		"two that touch":           {net("10.0.0.0/8"), doorOf(1, "", from(false, "10.0.0.0/9"), from(false, "10.128.0.0/9")), cell{level: whole}},
		"two with a gap":           {net("10.0.0.0/8"), doorOf(1, "", from(false, "10.0.0.0/9"), from(false, "10.128.0.0/10")), cell{level: part}},
		"by one interface":         {net("10.0.0.0/8"), doorOf(1, "", from(false, "10.0.0.0/8", "eth0")), cell{level: part}},
		"by another interface":     {net("10.0.0.0/8", "eth1"), doorOf(1, "", from(false, "10.0.0.0/8", "eth0")), cell{}},
		"by any interface":         {net("10.0.0.0/8", "eth1"), doorOf(1, "", any4), cell{level: whole}},
		"by one of two":            {net("10.0.0.0/8", "eth0", "eth1"), doorOf(1, "", from(false, "10.0.0.0/8", "eth0")), cell{level: part}},
		"to one address":           {net("10.0.0.0/8"), doorOf(1, "", to(any4, "192.0.2.1")), cell{whole, "192.0.2.1"}},
		"to two addresses":         {net("10.0.0.0/8"), doorOf(1, "", to(any4, "192.0.2.1"), to(any4, "192.0.2.2")), cell{part, "192.0.2.1, 192.0.2.2"}},
		"part to one address":      {net(""), doorOf(1, "", to(from(false, "10.0.0.0/8"), "192.0.2.1")), cell{part, "192.0.2.1"}},
		"not told":                 {net("10.0.0.0/8"), Door{Untold: true}, cell{level: untold}},
		"more than are listed":     {net("10.0.0.0/8"), Door{More: true}, cell{level: untold}},
		"a door for one interface": {net("10.0.0.0/8", "eth1"), Door{Interface: "eth0", Sources: []Source{any4}}, cell{}},
	} {
		if got := reaches(c.column, &c.door); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// The widest sources have columns, the others are counted.
func TestMatrixOfMany(t *testing.T) {
	r := everything("x")
	m := newMatrix(r.Doors)
	if len(m.columns) != mostColumns || m.rest == 0 || source(m.columns[0]) != "any IPv4" || source(m.columns[1]) != "any IPv6" {
		t.Errorf("%d columns, %d others: %v", len(m.columns), m.rest, m.columns)
	}
	if !slices.IsSortedFunc(m.columns, func(a, b packet.Group) int { return cmp.Compare(width(b), width(a)) }) {
		t.Error("not by width")
	}
	told := 0
	for _, row := range m.rows {
		if row.door.Port == 8443 {
			told = len(row.drawn) + row.more
		}
	}
	if told != 13 {
		t.Errorf("8443/tcp has %d sources, want 13", told)
	}
	var many []Door
	for i := range 100 {
		many = append(many, doorOf(uint16(1000+i), "x", from(false, "")))
	}
	p := newMatrix(many).draw(map[string][]string{"1099/tcp": {"FW101"}})
	if len(p.Ports) != mostDrawn+1 || !slices.Equal(p.Ports[0].Bad, []string{"FW101"}) || p.Ports[mostDrawn].Text != "70 more ports" {
		t.Errorf("%d ports drawn: %+v", len(p.Ports), p.Ports)
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			line, _ := d.InputPos()
			t.Fatalf("not well-formed: %v\n%s", err, strings.Split(text, "\n")[line-1])
		}
	}
}

func parsed(t *testing.T, text string) map[string][]*html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]*html.Node{}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all[n.Data] = append(all[n.Data], n)
		}
	}
	return all
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// references fails unless each name of a part is there once, and whatever refers to one
// finds it.
func references(t *testing.T, nodes map[string][]*html.Node) {
	t.Helper()
	ids := map[string]int{}
	var wanted []string
	for _, ns := range nodes {
		for _, n := range ns {
			if id := attr(n, "id"); id != "" {
				ids[id]++
			}
			wanted = append(wanted, strings.Fields(attr(n, "aria-labelledby"))...)
			if to := attr(n, "href"); strings.HasPrefix(to, "#") {
				wanted = append(wanted, to[1:])
			} else if to != "" && to != "data:," {
				t.Errorf("a link to %s", to)
			}
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%d parts are called %s", n, id)
		}
	}
	for _, id := range wanted {
		if ids[id] == 0 {
			t.Errorf("no part is called %s", id)
		}
	}
}

// What is written can be read: 4.5 to 1 at least (WCAG 2.2, 1.4.3), light, dark and
// printed.
func TestContrast(t *testing.T) {
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(pageText, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d sets of colours", len(blocks))
	}
	for _, b := range blocks {
		light := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+): #(\w{6});`).FindAllStringSubmatch(b[1], -1) {
			light[m[1]] = luminance(t, m[2])
		}
		for _, ground := range []string{"paper", "panel"} {
			for _, ink := range []string{"ink", "soft", "link", "critical", "warning", "note", "good"} {
				x, y := max(light[ink], light[ground]), min(light[ink], light[ground])
				if ratio := (x + .05) / (y + .05); ratio < 4.5 {
					t.Errorf("%s on %s: %.1f to 1%s", ink, ground, ratio, b[1])
				}
			}
		}
	}
}

// luminance is that of WCAG.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		if c := float64(n) / 255; c <= .04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+.055)/1.055, 2.4)
		}
	}
	return sum
}
