package pf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"
	"pgregory.net/rapid"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// A table holds exactly the addresses of its set, in no more lines than the set
// has prefixes.
func TestEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b netipx.IPSetBuilder
		for i := range rapid.IntRange(1, 12).Draw(t, "n") {
			p := drawPrefix(t, i)
			if rapid.IntRange(0, 2).Draw(t, "out") == 0 {
				b.RemovePrefix(p)
			} else {
				b.AddPrefix(p)
			}
		}
		set, err := b.IPSet()
		if err != nil {
			t.Fatal(err)
		}
		es := entries(set)
		if n := len(set.Prefixes()); len(es) > n {
			t.Fatalf("%d entries for %d prefixes", len(es), n)
		}
		f, table := filter{}, Table{Entries: es}
		for a := range 256 {
			for _, addr := range []netip.Addr{
				netip.AddrFrom4([4]byte{192, 0, 2, byte(a)}),
				netip.AddrFrom16([16]byte{0x20, 1, 15: byte(a)}),
			} {
				if f.inTable(table, addr) != set.Contains(addr) {
					t.Fatalf("%v: %v, set %v", addr, es, set.Prefixes())
				}
			}
		}
	})
}

func drawPrefix(t *rapid.T, i int) netip.Prefix {
	last := byte(rapid.IntRange(0, 255).Draw(t, fmt.Sprint("last", i)))
	up := rapid.IntRange(0, 9).Draw(t, fmt.Sprint("up", i))
	if rapid.Bool().Draw(t, fmt.Sprint("is6", i)) {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: last}), 128-up).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 32-up).Masked()
}

func TestEntriesOfSets(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.0/24 -192.0.2.7", "192.0.2.0/24 !192.0.2.7"},
		{"192.0.2.0/25 192.0.2.128/26", "192.0.2.0/25 192.0.2.128/26"},
		{"0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0"},
		{"0.0.0.0/0 -10.0.0.0/8 10.1.0.0/16", "0.0.0.0/0 !10.0.0.0/8 10.1.0.0/16"},
		{"10.0.0.0/8 -10.1.0.0/16 10.1.2.0/24 -10.1.2.9", "10.0.0.0/8 !10.1.0.0/16 10.1.2.0/24 !10.1.2.9"},
		{"2001:db8::/32 -2001:db8:5::/48", "2001:db8::/32 !2001:db8:5::/48"},
		{"192.0.2.1 192.0.2.9", "192.0.2.1 192.0.2.9"},
	} {
		var b netipx.IPSetBuilder
		for _, w := range strings.Fields(c.set) {
			if out, ok := strings.CutPrefix(w, "-"); ok {
				b.RemovePrefix(prefixOf(out))
			} else {
				b.AddPrefix(prefixOf(w))
			}
		}
		set, _ := b.IPSet()
		var words []string
		for _, e := range entries(set) {
			words = append(words, e.word())
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.set, got, c.want)
		}
	}
}

func prefixOf(s string) netip.Prefix {
	if !strings.Contains(s, "/") {
		a := netip.MustParseAddr(s)
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.MustParsePrefix(s)
}

// Names fit, are never shared, and stay what they are.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNames(31)
		byName := map[string]string{}
		for i := range 20 {
			key := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "key"))
			want := rapid.StringMatching(`[a-b]{1,2}(\.[a-b]{30,60})?`).Draw(t, fmt.Sprint("want", i))
			name := n.of(key, want)
			if len(name) > 31 || name == "" || n.of(key, "other") != name {
				t.Fatalf("%q for %q", name, want)
			}
			if other, ok := byName[name]; ok && other != key {
				t.Fatalf("%q is shared by %q and %q", name, key, other)
			}
			byName[name] = key
		}
	})
}

func TestKeywords(t *testing.T) {
	if !slices.IsSorted(keywords) || len(slices.Compact(slices.Clone(keywords))) != len(keywords) {
		t.Error("keywords must be sorted, each once")
	}
	for _, w := range []string{"user", "group", "in", "all", "any", "table", "drop", "load", "file", "state", "max-src-conn-rate"} {
		if !isKeyword(w) {
			t.Errorf("%s is a keyword", w)
		}
	}
	for _, m := range []string{thisHostMacro, ownMacro, inboundTag, routedTag, "host", "self", "lo", "wg", "reassemble-not"} {
		if isKeyword(m) {
			t.Errorf("%s is no keyword", m)
		}
	}
}

// Where OpenBSD takes more for a broadcast than the policy's facts know, the rules
// must know it too, or a closed port would be open to the link.
func TestClassBroadcast(t *testing.T) {
	for _, c := range [][2]string{
		{"10.20.0.5", "10.255.255.255"}, {"172.16.4.1", "172.16.255.255"}, {"192.168.1.1", "192.168.1.255"},
		{"127.0.0.1", "127.255.255.255"}, {"223.255.255.1", "223.255.255.255"}, {"224.0.0.1", ""}, {"fe80::1", ""},
	} {
		got, ok := classBroadcast(netip.MustParseAddr(c[0]))
		if ok != (c[1] != "") || ok && got.String() != c[1] {
			t.Errorf("%s: %v %v", c[0], got, ok)
		}
	}
	rs := resolve(t, sshService)
	rs.Host = &rules.Host{Interfaces: []rules.Interface{{Name: "em0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.20.0.5/16")}}}}
	for _, d := range allDialects {
		prog, _ := Render(rs, Options{Dialect: d})
		f := newFilter(statements(prog), d, rs.Host)
		for dst, open := range map[string]bool{"10.255.255.255": d == FreeBSD || d == FreeBSDOld, "10.20.255.255": false, "0.0.0.0": false} {
			p := packet.Packet{In: "em0", Src: netip.MustParseAddr("10.20.0.6"), Dst: netip.MustParseAddr(dst), Proto: packet.UDP, DstPort: 161}
			if v, _, label := f.judge(p); (v == packet.Accept) != open {
				t.Errorf("%v %s: %v by %q", d, dst, v, label)
			}
		}
	}
}

// Free text stands in a comment of one line, whatever it is.
func TestPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &rules.Rule{Name: "a", From: rules.Addresses{Any: true}, To: rules.Addresses{Any: true}}
		r.Owner, r.Reason = rapid.String().Draw(t, "owner"), rapid.String().Draw(t, "reason")
		rs := &rules.Ruleset{Services: []*rules.Rule{r}}
		prog, problems := Render(rs, Options{})
		if problems.Err() != nil {
			t.Fatal(problems)
		}
		if strings.Contains(prog.Text(), `\`) {
			t.Fatal("backslash")
		}
		if lines, err := parse(prog.Text(), OpenBSD, File); err != nil || len(lines) != len(statements(prog)) {
			t.Fatalf("%v\n%s", err, prog.Text())
		}
	})
}

// A list of a million addresses is rendered in seconds, with room made for it.
func TestLargeTable(t *testing.T) {
	if testing.Short() {
		t.Skip("a million addresses")
	}
	var b netipx.IPSetBuilder
	for i := range uint32(1_000_000) {
		n := i * 2
		b.Add(netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)}))
	}
	for i := range uint32(100_000) {
		b.Add(netip.AddrFrom16([16]byte{0x20, 1, 13: byte(i >> 15), 14: byte(i >> 7), 15: byte(i << 1)}))
	}
	set, err := b.IPSet()
	if err != nil {
		t.Fatal(err)
	}
	n := len(set.Prefixes())
	g := &rules.Group{Name: "cdn", File: "cdn.txt", Terms: []rules.Term{{Set: set}}}
	rs := &rules.Ruleset{Services: []*rules.Rule{{Name: "a", From: rules.Addresses{Groups: []*rules.Group{g}}, To: rules.Addresses{Any: true}}}}
	start := time.Now()
	prog, _ := Render(rs, Options{})
	text := prog.Text()
	t.Logf("%d prefixes, %d bytes, %v", n, len(text), time.Since(start))
	if !strings.Contains(text, fmt.Sprintf("set limit table-entries %d\n", 2*(n+5)+200_000)) || !strings.Contains(text, "# group.cdn is read from cdn.txt\ntable <cdn> const {\n") {
		t.Error(text[:500])
	}
	if _, problems := Render(rs, Options{Form: Anchor}); !strings.Contains(problems.Error(), "set limit table-entries") {
		t.Error(problems)
	}
}
