package rules_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go4.org/netipx"
	"pgregory.net/rapid"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// The policies of these laws are made of sections, each a list of keys; the
// value of a key is a list whose order means nothing, or one text.
type section struct {
	name string // "service.ssh"
	keys []keyValue
}

type keyValue struct {
	name  string
	list  []string // quoted when written
	value string   // written as it is; used if list is nil
}

func list(name string, items ...string) keyValue { return keyValue{name: name, list: items} }

func (k keyValue) write(r *rand.Rand) string {
	if k.list == nil {
		return k.name + " = " + k.value + "\n"
	}
	quoted := make([]string, len(k.list))
	for i, j := range r.Perm(len(k.list)) {
		quoted[i] = fmt.Sprintf("%q", k.list[j])
	}
	glue := []string{", ", ",", ",\n\t# a comment, with ] and \" in it\n\t"}[r.IntN(3)]
	return k.name + " = [" + strings.Join(quoted, glue) + "]\n"
}

func (s section) write(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("[" + s.name + "]\n")
	for _, i := range r.Perm(len(s.keys)) {
		b.WriteString(s.keys[i].write(r))
	}
	return b.String()
}

// files writes the sections in any order, spread over several files.
func files(r *rand.Rand, sections []section) fstest.MapFS {
	parts := make([]string, 1+r.IntN(4))
	for _, i := range r.Perm(len(sections)) {
		parts[r.IntN(len(parts))] += sections[i].write(r)
	}
	fsys := fstest.MapFS{"policy.toml": {Data: []byte("include = [\"conf.d/*.toml\"]\nversion = 1\n" + parts[0])}}
	for _, p := range parts[1:] {
		fsys[fmt.Sprintf("conf.d/%d.toml", r.IntN(1000))] = &fstest.MapFile{Data: []byte(p)}
	}
	if len(fsys) < len(parts) {
		return files(r, sections) // two parts had the same name
	}
	return fsys
}

// drawSections makes a policy that is right: groups refer to earlier ones, every
// service has a port of its own or shares it.
func drawSections(t *rapid.T) []section {
	out := []section{
		{"defaults", []keyValue{
			{name: "inbound", value: oneOf(t, `"drop"`, `"reject"`)}, {name: "outbound", value: `"drop"`},
			{name: "routed", value: `"drop"`}, {name: "icmp", value: oneOf(t, `"minimal"`, `"standard"`, `"all"`)},
		}},
		{"safety", []keyValue{list("keep", "s0")}},
	}
	var groups []string
	for i := range rapid.IntRange(0, 5).Draw(t, "groups") {
		g := drawGroup(t, fmt.Sprintf("g%d", i), groups)
		groups = append(groups, strings.TrimPrefix(g.name, "group."))
		out = append(out, g)
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "services") {
		out = append(out, drawService(t, i, groups))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "blocks") {
		out = append(out, section{fmt.Sprintf("block.b%d", i), []keyValue{list("from", drawMembers(t, groups)...)}})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "outbounds") {
		out = append(out, section{fmt.Sprintf("outbound.o%d", i), []keyValue{list("to", drawMembers(t, groups)...), list("ports", drawPorts(t, i)...)}})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "routes") {
		out = append(out, section{fmt.Sprintf("route.r%d", i),
			[]keyValue{list("from", drawMembers(t, groups)...), list("to", drawMembers(t, groups)...), list("protocols", "gre", "esp")}})
	}
	return out
}

func oneOf(t *rapid.T, words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }

var someAddresses = []string{
	"10.0.0.0/28", "10.0.0.0/30", "10.0.0.4/30", "10.0.0.3-10.0.0.9", "10.0.0.15", "10.0.0.7",
	"fd00::/124", "fd00::/126", "fd00::4/126", "fd00::3-fd00::9", "fd00::f",
}

func drawMembers(t *rapid.T, groups []string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(someAddresses), groups...)), 1, 4, rapid.ID[string]).Draw(t, "members")
}

// drawGroup leaves room for nothing: a group that comes out empty is allowed.
func drawGroup(t *rapid.T, name string, earlier []string) section {
	g := section{"group." + name, []keyValue{list("addresses", drawMembers(t, earlier)...), {name: "allow_empty", value: "true"}}}
	if rapid.Bool().Draw(t, "except") {
		g.keys = append(g.keys, list("except", rapid.SliceOfNDistinct(rapid.SampledFrom(someAddresses), 1, 2, rapid.ID[string]).Draw(t, "except")...))
	}
	if rapid.Bool().Draw(t, "bound") {
		g.keys = append(g.keys, list("interfaces", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eth1", "wg*", "wg0"}), 1, 3, rapid.ID[string]).Draw(t, "interfaces")...))
	}
	return g
}

func drawService(t *rapid.T, i int, groups []string) section {
	s := section{fmt.Sprintf("service.s%d", i), []keyValue{list("ports", drawPorts(t, i)...), list("from", drawMembers(t, groups)...), {name: "shared", value: "true"}}}
	if rapid.Bool().Draw(t, "in") {
		s.keys = append(s.keys, list("in", "eth1", "wg*"))
	}
	if rapid.Bool().Draw(t, "to") {
		s.keys = append(s.keys, list("to", "10.0.0.5", "host", "224.0.0.18"))
	}
	if rapid.Bool().Draw(t, "limit") {
		s.keys = append(s.keys, keyValue{name: "limit", value: `"10/minute"`}, keyValue{name: "expires", value: "2030-01-31"}, keyValue{name: "log", value: "true"})
	}
	return s
}

func drawPorts(t *rapid.T, i int) []string {
	return []string{fmt.Sprintf("%d/tcp", 1000+10*i), fmt.Sprintf("%d-%d/tcp", 1001+10*i, 1003+10*i), "53/udp", fmt.Sprintf("%d/udp", rapid.IntRange(1, 99).Draw(t, "port"))}
}

func resolve(t interface{ Fatalf(string, ...any) }, fsys fstest.MapFS, h *rules.Host) (*rules.Policy, *rules.Ruleset) {
	p, problems := rules.Load(fsys, "policy.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, h)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatalf("%v\n%v", err, fsys)
	}
	return p, rs
}

// Two rulesets are the same but for places.
var butForPlaces = []cmp.Option{
	cmpopts.IgnoreTypes(rules.Pos{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b *netipx.IPSet) bool { return a == b || a != nil && b != nil && a.Equal(b) }),
	cmpopts.EquateComparable(netip.Prefix{}),
}

// Order never matters: not of sections, keys, entries or files.
func TestOrderNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sections := drawSections(t)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		_, one := resolve(t, files(r, sections), nil)
		_, two := resolve(t, files(r, sections), nil)
		if diff := cmp.Diff(one, two, butForPlaces...); diff != "" {
			t.Fatalf("the order changed the meaning:\n%s", diff)
		}
	})
}

// Resolving changes nothing: not the policy, not an earlier ruleset.
func TestResolveIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		h := &rules.Host{Interfaces: []rules.Interface{{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")}}}}
		p, first := resolve(t, files(r, drawSections(t)), nil)
		before := describe(first)
		withHost, _ := rules.Resolve(p, h)
		rules.Lint(p, withHost, now)
		again, _ := rules.Resolve(p, nil)
		if describe(first) != before || describe(again) != before {
			t.Fatalf("before:\n%s\nafter:\n%s\nagain:\n%s", before, describe(first), describe(again))
		}
	})
}

// model is a group as the documentation tells it, asked address by address.
type model struct {
	addresses []netip.Prefix
	nested    []*model
	except    []netip.Prefix
	patterns  []string
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func onAny(patterns []string, iface string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return rules.MatchInterface(p, iface) })
}

// free reports whether the address is in the group on every interface.
func (m *model) free(a netip.Addr) bool { return len(m.patterns) == 0 && m.own(a) }

// own reports whether the address is in the group before its interfaces are
// looked at, by itself or by a nested group without interfaces.
func (m *model) own(a netip.Addr) bool {
	return !holds(m.except, a) && (holds(m.addresses, a) || slices.ContainsFunc(m.nested, func(n *model) bool { return n.free(a) }))
}

func (m *model) bound(a netip.Addr, iface string) bool {
	return !holds(m.except, a) && (onAny(m.patterns, iface) && m.own(a) ||
		slices.ContainsFunc(m.nested, func(n *model) bool { return n.bound(a, iface) }))
}

func (m *model) contains(a netip.Addr, iface string) bool { return m.free(a) || m.bound(a, iface) }

func drawModel(t *rapid.T, earlier []*model) *model {
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		if rapid.Bool().Draw(t, "six") {
			return netip.PrefixFrom(netip.MustParseAddr("fd00::").Next(), 128).Masked()
		}
		a := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "last") & 15})
		p, _ := a.Prefix(rapid.IntRange(28, 32).Draw(t, "bits"))
		return p
	})
	m := &model{addresses: rapid.SliceOfN(prefix, 0, 3).Draw(t, "addresses"), except: rapid.SliceOfN(prefix, 0, 1).Draw(t, "except")}
	if len(earlier) > 0 {
		m.nested = rapid.SliceOfN(rapid.SampledFrom(earlier), 0, 2).Draw(t, "nested")
	}
	m.patterns = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eth0", "eth*", "wg0"}), 0, 2, rapid.ID[string]).Draw(t, "patterns")
	return m
}

func (m *model) section(name string, names map[*model]string) section {
	addresses := []string{}
	for _, p := range m.addresses {
		addresses = append(addresses, p.String())
	}
	for _, n := range m.nested {
		addresses = append(addresses, names[n])
	}
	except := []string{}
	for _, p := range m.except {
		except = append(except, p.String())
	}
	s := section{"group." + name, []keyValue{list("addresses", addresses...), list("except", except...), {name: "allow_empty", value: "true"}}}
	if len(m.patterns) > 0 {
		s.keys = append(s.keys, list("interfaces", m.patterns...))
	}
	return s
}

// A group holds what its parts hold, less what it excepts, where it may be seen.
func TestGroupsHoldWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*model
		var sections []section
		names := map[*model]string{}
		for i := range rapid.IntRange(1, 5).Draw(t, "groups") {
			m := drawModel(t, all)
			all = append(all, m)
			names[m] = fmt.Sprintf("g%d", i)
			sections = append(sections, m.section(names[m], names),
				section{fmt.Sprintf("service.s%d", i), []keyValue{list("ports", fmt.Sprintf("%d/tcp", 100+i)), list("from", names[m])}})
		}
		_, rs := resolve(t, files(rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))), sections), nil)
		for i, m := range all {
			m.check(t, rs, uint16(100+i))
		}
	})
}

func (m *model) check(t *rapid.T, rs *rules.Ruleset, port uint16) {
	p := packet.Packet{Proto: packet.TCP, DstPort: port, Flags: packet.SYN}
	for last := range 17 {
		for _, iface := range []string{"eth0", "eth1", "wg0", "wg1"} {
			p.In, p.Src, p.Dst = iface, netip.AddrFrom4([4]byte{10, 0, 0, byte(last)}), netip.MustParseAddr("192.0.2.1")
			if last == 16 {
				p.Src, p.Dst = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::1")
			}
			want := m.contains(p.Src, iface)
			if got := rs.Decide(p, now).Verdict == packet.Accept; got != want {
				t.Fatalf("%v: accepted %v, want %v", p, got, want)
			}
		}
	}
}
