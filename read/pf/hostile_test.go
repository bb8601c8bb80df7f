package pf_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// kind compares the meaning of two texts for packets to the host, whatever grammar
// they are in.
func kind(t *testing.T, a, b string, d pf.Dialect, hook packet.Hook, is6 bool, opt pf.Options) packet.Comparison {
	t.Helper()
	fa, fb := pf.Filter(pf.Parse(a, d), hook, is6, opt), pf.Filter(pf.Parse(b, d), hook, is6, opt)
	s := packet.NewSpace(is6, hostAddrs(is6), packet.DefaultBudget, fa, fb)
	na, err := s.Build(fa)
	if err != nil {
		t.Fatal(err)
	}
	nb, err := s.Build(fb)
	if err != nil {
		t.Fatal(err)
	}
	diff, err := s.Compare(na, nb, packet.True)
	if err != nil {
		t.Fatal(err)
	}
	return diff.Kind
}

// loads fails for a text that pfctl refuses.
func loads(t *testing.T, d pf.Dialect, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if ps := pf.Parse(text, d).Problems; len(ps) > 0 {
			t.Errorf("%v, %q: %v", d, text, ps)
		}
	}
}

// Texts that look as if they meant the same, and do not: pf does otherwise, or nobody
// can say what it does.
func TestNotEqual(t *testing.T) {
	known := pf.Options{Links: links, Groups: groups}
	for _, c := range []struct {
		a, b string
		d    pf.Dialect
		hook packet.Hook
		is6  bool
		opt  pf.Options

		refused bool // by pfctl
	}{
		// A file that is read in its place may say anything.
		{a: "block in all\ninclude \"/etc/pf.more\"\n", b: "block in all\n"},
		// Each rule throws its own dice: together these let a quarter in.
		{a: "block in all\npass in proto udp all probability 50%\nblock in proto udp all probability 50%\n", b: "block in all\n"},
		// Rules fill the table, whatever it holds at first.
		{a: "table <bad> persist { }\npass in all\nblock in quick from <bad>\npass in proto tcp to port 22 keep state (max-src-conn 5, overload <bad>)\n",
			b: "pass in all\nblock in quick from 198.51.100.1\npass in proto tcp to port 22 keep state (max-src-conn 5)\n"},
		{a: "table <bad> persist { 198.51.100.1 }\npass in all\nblock in quick from <bad>\npass in proto tcp to port 22 keep state (max-src-conn-rate 5/1, overload <bad>) label x\n",
			b: "table <bad> persist\npass in all\nblock in quick from <bad>\npass in proto tcp to port 22 keep state (max-src-conn-rate 5/1, overload <bad>) label x\n"},
		{a: "pass in all\nblock in quick proto udp from <bad>\npass in proto tcp keep state (max-src-conn 5, overload <bad>)\n",
			b: "pass in all\npass in proto tcp keep state (max-src-conn 5, overload <bad>)\n"},
		// Who is over a limit is a source, and no destination is for it.
		{a: "table <bad> persist\npass in all\nblock in quick to <bad>\npass in proto tcp to port 22 keep state (max-src-conn-rate 5/1, overload <bad>) label x\n",
			b: "table <bad> persist\npass in all\nblock in quick from <bad>\npass in proto tcp to port 22 keep state (max-src-conn-rate 5/1, overload <bad>) label x\n"},
		// The zone of an address is the interface of its rule.
		{a: "block in all\npass in from fe80::1%em0 to any\n", b: "block in all\npass in from fe80::1 to any\n", is6: true},
		// An IPv4 address within IPv6 is none of IPv4.
		{a: "block in all\npass in from ::ffff:10.0.0.1 to any\n", b: "block in all\npass in from 10.0.0.1 to any\n"},
		// On its way in a packet was received where it is.
		{a: "block in all\npass in all received-on em0\n", b: "block in all\n"},
		// Options of every state: sloppy ones are for ICMP answers too, and they count.
		{a: "set state-defaults sloppy\nblock in all\npass in inet proto icmp all\n", b: "block in all\npass in inet proto icmp all\n"},
		{a: "set state-defaults max 10\nblock in all\npass in all\n", b: "block in all\npass in all\n"},
		// binat-to turns packets that come in around.
		{a: "match on em0 inet from 10.0.0.1 to any binat-to 192.0.2.1\nblock in all\npass in to 10.0.0.1\n", b: "block in all\npass in to 10.0.0.1\n"},
		// A match rule that sends packets elsewhere, or turns them into the other family.
		{a: "match in all route-to 10.0.0.9\npass all\n", b: "pass all\n", refused: true},
		{a: "match in inet6 all af-to inet from 192.0.2.1\npass all\n", b: "pass all\n", is6: true, refused: true},
		{a: "pass out all route-to 10.0.0.9\n", b: "pass out all\n", hook: packet.Output},
		// Rules without a name have tables of their own.
		{a: "table <t> { 10.0.0.1 }\nblock in all\nanchor in {\n table <t> { 10.0.0.2 }\n pass in proto udp from <t>\n}\npass in proto tcp from <t>\n",
			b: "block in all\npass in proto udp from 10.0.0.2\npass in proto tcp from 10.0.0.2\n"},
		// A tag that no rule asks for takes the place of one that is asked for.
		{a: "block in all\nmatch in all tag A\nmatch in all tag B\npass in all tagged A\n", b: "block in all\nmatch in all tag A\npass in all tagged A\n"},
		// What an interface has no address for makes no rule.
		{a: "pass in all\nblock in from ! wg0\n", b: "block in all\n", is6: true, opt: known},
		// What comes over the loopback interface has its addresses.
		{a: "pass in all\nantispoof quick for lo0\n", b: "pass in all\nblock in quick from 127.0.0.1\n", opt: known},
		// A link-local address tells no network.
		{a: "block in all\npass in from (em1:network)\n", b: "block in all\npass in from { fd00:20::/64, fe80::/64 }\n", is6: true, opt: known},
		// The line of an anchor asks the tables of the rules around it.
		{a: "table <t> { 10.0.0.1 }\nblock in all\nanchor \"x\" in from <t> {\n table <t> { 10.0.0.2 }\n pass in\n}\n", b: "block in all\npass in from 10.0.0.2\n"},
		// OpenBSD: a quick anchor is left for good if the last rule that matched is its own, and not one of an anchor within.
		{a: "anchor \"x\" in quick {\n anchor \"y\" {\n  pass in proto udp\n }\n}\nblock in all\n", b: "pass in quick proto udp\nblock in all\n"},
		// FreeBSD: it is left for good whether or not a rule matched.
		{a: "anchor \"x\" in quick proto udp {\n pass in from 10.0.0.1\n}\nblock in all\n", b: "pass in quick proto udp from 10.0.0.1\nblock in all\n", d: pf.FreeBSD},
		// Before: an anchor within that is entered behind the rule makes it forget.
		{a: "anchor \"x\" in quick {\n pass in proto udp\n anchor \"y\" {\n  pass in proto tcp\n }\n}\nblock in all\n", b: "pass in quick proto udp\npass in quick proto tcp\nblock in all\n", d: pf.FreeBSDOld},
		{a: "anchor \"x\" in quick {\n pass in proto udp\n anchor \"y\" {\n  pass in proto tcp\n }\n}\nblock in all\n", b: "pass in quick proto udp\npass in quick proto tcp\nblock in all\n", d: pf.MacOS},
		// What matches a match rule that is quick is not asked any further.
		{a: "match in quick proto udp\nblock in all\n", b: "block in all\n"},
		// FreeBSD translates a packet once, and throws it away where two rules do.
		{a: "match in from any to any rdr-to 10.0.0.1\nmatch in proto udp rdr-to 10.0.0.1\npass in all\n", b: "match in from any to any rdr-to 10.0.0.1\npass in all\n", d: pf.FreeBSD},
		{a: "rdr proto udp from any to any -> 10.0.0.1\npass in all rdr-to 10.0.0.1\n", b: "pass in all rdr-to 10.0.0.1\n", d: pf.FreeBSD},
		// The rules of a list are several.
		{a: "match in from { 10.0.0.0/8, 10.1.0.0/16 } rdr-to 10.0.0.1\npass in all\n", b: "match in from 10.0.0.0/8 rdr-to 10.0.0.1\npass in all\n", d: pf.FreeBSD},
		// Who gets an answer.
		{a: "block return in inet proto icmp\n", b: "block drop in inet proto icmp\n"},
		{a: "block return in proto tcp\n", b: "block return-rst in proto tcp\n"},
		{a: "block return in proto esp\n", b: "block drop in proto esp\n"},
		// The tag of what is kept from translation counts.
		{a: "no rdr proto udp from any to any tag A\nblock in all\npass in tagged A\n", b: "block in all\n", d: pf.FreeBSDOld},
		// Translation is for either way.
		{a: "match in nat-to 192.0.2.1\nblock in all\npass in from 192.0.2.1\n", b: "block in all\npass in from 192.0.2.1\n"},
		// OpenBSD's divert-to sends what is on its way elsewhere where it comes in.
		{a: "pass in all divert-to 127.0.0.1 port 700\n", b: "pass in all\n", hook: packet.Forward},
		// The kernel tells a fragment of IPv6 by its own number.
		{a: "block in inet6 proto udp\n", b: "block in inet6 proto { udp, 44 }\n", is6: true},
		// XNU skips the interfaces of a driver, and knows no addresses of the link alone.
		{a: "set skip on em\nblock in all\n", b: "block in all\n", d: pf.MacOS},
		{a: "block in all\npass in from (em1)\n", b: "block in all\npass in from { fd00:20::5, fe80::1 }\n", is6: true, opt: known, d: pf.MacOS},
		// Whoever owns no socket is not asked for its owner.
		{a: "block in user root\n", b: "block in proto { tcp, udp } user root\n", d: pf.FreeBSD},
	} {
		if c.hook == 0 {
			c.hook = packet.Input
		}
		if !c.refused {
			loads(t, c.d, c.a, c.b)
		}
		if k := kind(t, c.a, c.b, c.d, c.hook, c.is6, c.opt); k == packet.Equal {
			t.Errorf("%v: equal:\n%s\n%s", c.d, c.a, c.b)
		}
	}
}

// Texts that look as if they meant different things, and do not.
func TestEqual(t *testing.T) {
	known := pf.Options{Links: links, Groups: groups}
	for _, c := range []struct {
		a, b string
		d    pf.Dialect
		is6  bool
		opt  pf.Options
	}{
		{a: "block in all\npass in proto udp received-on em0\n", b: "block in all\npass in on em0 proto udp\n"},
		{a: "pass in all\nblock in from ! wg0\n", b: "pass in all\n", is6: true, opt: known},
		{a: "pass in all\nantispoof for lo0\n", b: "pass in all\nblock in on ! lo0 inet from 127.0.0.0/8\n", opt: known},
		{a: "block in all\npass in from (em1:network)\n", b: "block in all\npass in from fd00:20::/64\n", is6: true, opt: known},
		{a: "set state-defaults sloppy\nblock in all\npass in all\n", b: "block in all\npass in all keep state (sloppy)\n"},
		{a: "block in all\npass in from fe80::1%em0\n", b: "block in all\npass in on em0 from fe80::1\n", is6: true},
		{a: "anchor \"x/*\" {\n anchor \"y\" {\n  table <t> { 10.0.0.2 }\n  block in from <t>\n }\n}\n", b: "block in from 10.0.0.2\n"},
		{a: "table <t> { 10.0.0.1 }\nblock in all\nanchor \"x\" in from <t> {\n table <t> { 10.0.0.2 }\n pass in\n}\n", b: "block in all\npass in from 10.0.0.1\n"},
		{a: "match on em0 inet from 10.0.0.1 to 203.0.113.9 binat-to 192.0.2.1\nblock in all\npass in to 10.0.0.1\n",
			b: "match in on em0 inet from 203.0.113.9 to 192.0.2.1 rdr-to 10.0.0.1\nblock in all\npass in to 10.0.0.1\n"},
		// The line of an anchor is asked once, whatever its rules do to the packet.
		{a: "block in all\nanchor \"x\" in to 192.0.2.1 {\n match in rdr-to 10.0.0.1\n pass in\n}\n", b: "block in all\npass in to 192.0.2.1\n"},
		{a: "block in all\nmatch in proto udp tag A\nanchor \"x\" in tagged A {\n match in tag B\n pass in\n}\n", b: "block in all\npass in proto udp\n"},
		// Quick anchors: see above.
		{a: "anchor \"x\" in quick {\n anchor \"y\" {\n  pass in proto udp\n }\n}\nblock in all\n", b: "block in all\n"},
		{a: "anchor \"x\" in quick {\n anchor \"y\" {\n  block in\n }\n pass in proto udp\n}\nblock in all\n", b: "pass in quick proto udp\nblock in all\n"},
		{a: "anchor \"x/*\" in quick {\n anchor \"y\" {\n  pass in proto udp\n }\n anchor \"z\" {\n  pass in proto tcp\n }\n}\nblock in all\n", b: "pass in quick proto { udp, tcp }\nblock in all\n"},
		{a: "anchor \"x\" in quick proto udp {\n pass in from 10.0.0.1\n}\nblock in all\n", b: "block in all\npass in proto udp\n", d: pf.FreeBSD},
		{a: "anchor \"x/*\" in quick {\n anchor \"y\" {\n  pass in proto udp\n }\n anchor \"z\" {\n  block in\n }\n}\nblock in all\n", b: "pass in all\n", d: pf.FreeBSD},
		{a: "anchor \"x\" in quick {\n pass in proto udp\n anchor \"y\" {\n  pass in proto tcp\n }\n}\nblock in all\n", b: "pass in quick proto tcp\nblock in all\n", d: pf.FreeBSDOld},
		{a: "anchor \"x\" in {\n anchor \"y\" quick {\n  pass in proto udp\n }\n}\nblock in all\n", b: "block in all\n", d: pf.MacOS},
		{a: "anchor \"x\" in {\n anchor \"y\" quick {\n  pass in proto udp\n }\n block in proto tcp\n}\nblock in all\n", b: "pass in quick proto udp\nblock in all\n", d: pf.MacOS},
		// A match rule that is quick keeps what was decided.
		{a: "match in quick proto udp\nblock in all\n", b: "block in all\npass in proto udp\n"},
		// Answers of routers and of listeners to multicasts are none that need a question.
		{a: "block in all\npass in inet6 proto icmp6 icmp6-type { routeradv, grouprep, 143 }\n", b: "block in all\npass in inet6 proto icmp6 icmp6-type { routeradv, grouprep, 143 } no state\n", is6: true},
		// A fragment without a header gets no answer.
		{a: "block return in proto udp\n", b: "block return in proto udp\nblock drop in proto udp all fragment\n"},
		// OpenBSD answers questions of ICMP, and FreeBSD none.
		{a: "block return in inet proto icmp icmp-type timex\n", b: "block drop in inet proto icmp icmp-type timex\n"},
		{a: "block return in inet proto icmp\n", b: "block drop in inet proto icmp\n", d: pf.FreeBSD},
		{a: "block return in proto { esp, ah }\n", b: "block drop in proto { esp, ah }\n", d: pf.MacOS},
		// Where fragments are asked on their own, rules give them no tag, and no other address.
		{a: "block in all\npass in proto udp all fragment tag A\nblock in all fragment\npass in all tagged A\n", b: "block in all\n", d: pf.FreeBSDOld},
		{a: "rdr proto udp from any to any -> 10.0.0.1\nblock in all\npass in to 10.0.0.1 fragment\n", b: "block in all\npass in to 10.0.0.1 fragment\n", d: pf.FreeBSDOld},
	} {
		loads(t, c.d, c.a, c.b)
		if k := kind(t, c.a, c.b, c.d, packet.Input, c.is6, c.opt); k != packet.Equal {
			t.Errorf("%v, %v:\n%s\n%s", c.d, k, c.a, c.b)
		}
	}
}

// Files that are included are read in their place, with the macros before them and for
// those behind them; a place in them is named, and files without an end are refused.
func TestIncludes(t *testing.T) {
	files := map[string]string{
		"/etc/a": "pass in proto tcp to $web port 80\ninclude \"/etc/b\"\nset block-policy return",
		"/etc/b": "ssh = 22\n# \\\ncomment\npass in proto tcp to port $nobody\n",
		"/etc/c": "include \"/etc/c\"\n",
		"/etc/d": "pass in\x00all\n",
	}
	open := func(name string) ([]byte, error) {
		text, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	c := pf.ParseFile("web = 192.0.2.1\ninclude \"/etc/a\"\nblock in\npass in proto tcp to port $ssh\ninclude \"/etc/none\"", pf.OpenBSD, open)
	const want = "pass in proto tcp from any to 192.0.2.1 port = 80\n# not read: pass in proto tcp to port macro \"nobody\" is not defined\nset block-policy return\nblock return in all\n" +
		"pass in proto tcp from any to any port = 22\ninclude \"/etc/none\"\n"
	if got := c.Print(); got != want {
		t.Errorf("%s", got)
	}
	if len(c.Problems) != 1 || c.Problems[0].Line != 2 || !strings.HasPrefix(c.Problems[0].Text, "/etc/b:4: ") {
		t.Errorf("%+v", c.Problems)
	}
	if l := c.Lines[len(c.Lines)-3].(*pf.Rule).Line; l != 3 {
		t.Errorf("the line behind is %d", l)
	}
	for file, says := range map[string]string{"/etc/c": "include each other", "/etc/d": "NUL byte"} {
		c := pf.ParseFile("include \""+file+"\"\npass in all\n", pf.OpenBSD, open)
		if len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Text, says) || !strings.Contains(c.Print(), "pass in all") {
			t.Errorf("%s: %v\n%s", file, c.Problems, c.Print())
		}
	}
}

// The table of rules in an anchor is asked for by the anchor's whole name.
func TestTablesOfAnchors(t *testing.T) {
	c := pf.Parse("anchor \"f2b/*\" all {\n anchor \"sshd\" all {\n  block drop quick from <bad> to any\n }\n}\nanchor \"a\" all {\n anchor \"/b\" all {\n  pass from <good> to any\n }\n anchor all {\n  pass from <none> to any\n }\n}\n", pf.OpenBSD)
	var got []string
	c.EachTable(func(anchor, name string) { got = append(got, anchor+":"+name) })
	if want := "f2b/sshd:bad b:good a/_5:none"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// Text that is made to cost much costs little.
func TestCheapToRefuse(t *testing.T) {
	long := strings.Repeat("x ", 500_000)
	for name, text := range map[string]string{
		"a long macro":           "a = " + long + "\n",
		"a long macro, often":    "a = \"" + strings.Repeat("x", 1_000_000) + "\"\n" + strings.Repeat("pass from { $a $a $a $a }\n", 5000),
		"empty macros":           "a = \"\"\n" + strings.Repeat("$a", 500_000) + "\n",
		"anchors in anchors":     strings.Repeat("anchor \"x\" {\n", 100_000),
		"braces":                 strings.Repeat("{", 1_000_000),
		"one long line":          "pass from { " + strings.Repeat("10.0.0.1, ", 100_000) + "10.0.0.1 } to any\n",
		"much behind a NUL byte": "\x00" + long,
	} {
		begin := time.Now()
		c := pf.Parse(text, pf.OpenBSD)
		pf.Filter(c, packet.Input, false, pf.Options{})
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}
