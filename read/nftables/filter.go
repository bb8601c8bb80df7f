package nftables

import (
	"cmp"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Links are the names of interfaces by index, for rules that compare indices.
type Links map[uint32]string

// Families of tables (NFPROTO_*, linux/netfilter.h).
const (
	FamilyInet = 1
	FamilyIPv4 = 2
	FamilyIPv6 = 10
)

// hooks are NF_INET_* (linux/netfilter.h).
var hooks = map[packet.Hook]uint32{packet.Input: 1, packet.Forward: 2, packet.Output: 3}

// Filter returns what the tables do with packets of a family at a hook: all base
// chains there, by priority. What cannot be modelled is an unknown in it, never
// left out.
func Filter(tables []*Table, hook packet.Hook, is6 bool, links Links) *packet.Filter {
	f := &packet.Filter{Hook: hook, Chains: map[string]*packet.Chain{}}
	var base []baseChain
	for _, t := range tables {
		if !ofFamily(t, is6) || t.Flags&tableDormant != 0 {
			continue
		}
		r := newReader(t, hook, is6, links)
		for _, c := range t.Chains {
			switch {
			case c.Hook == nil:
				f.Chains[r.chainName(c.Name)] = r.chain(c)
			case c.Hook.Num == hooks[hook] && c.Type != "nat":
				base = append(base, baseChain{c.Hook.Priority, r.chain(c)})
			}
		}
	}
	slices.SortStableFunc(base, func(a, b baseChain) int { return cmp.Compare(a.priority, b.priority) })
	for _, b := range base {
		f.Base = append(f.Base, b.chain)
	}
	return f
}

type baseChain struct {
	priority int32
	chain    *packet.Chain
}

const tableDormant = 1 // NFT_TABLE_F_DORMANT

func ofFamily(t *Table, is6 bool) bool {
	switch t.Family {
	case FamilyInet:
		return true
	case FamilyIPv4:
		return !is6
	case FamilyIPv6:
		return is6
	}
	return false
}

// reader translates one table.
type reader struct {
	table *Table
	sets  map[string]*Set
	rules map[string][]Rule
	hook  packet.Hook
	is6   bool
	links Links
	seen  map[string]int // how often each text of an unknown occurred
}

func newReader(t *Table, hook packet.Hook, is6 bool, links Links) *reader {
	r := &reader{table: t, sets: map[string]*Set{}, rules: map[string][]Rule{}, hook: hook, is6: is6, links: links, seen: map[string]int{}}
	for i := range t.Sets {
		r.sets[t.Sets[i].Name] = &t.Sets[i]
	}
	for _, rule := range t.Rules {
		r.rules[rule.Chain] = append(r.rules[rule.Chain], rule)
	}
	return r
}

// chainName is unique among all tables.
func (r *reader) chainName(name string) string {
	return familyName(r.table.Family) + " " + r.table.Name + " " + name
}

func familyName(f uint8) string {
	switch f {
	case FamilyIPv4:
		return "ip"
	case FamilyIPv6:
		return "ip6"
	}
	return "inet"
}

func (r *reader) chain(c Chain) *packet.Chain {
	out := &packet.Chain{Name: r.chainName(c.Name), Policy: packet.OutcomeAccept}
	if c.Hook != nil && c.Policy == 0 {
		out.Policy = packet.OutcomeDrop
	}
	for _, rule := range r.rules[c.Name] {
		out.Rules = append(out.Rules, r.steps(rule)...)
	}
	return out
}

// steps returns what one rule does.
func (r *reader) steps(rule Rule) []packet.Step {
	place := packet.Place{Source: "nftables", Table: familyName(r.table.Family) + " " + r.table.Name, Chain: rule.Chain,
		Handle: rule.Handle, Name: Comment(rule.UserData), Text: Text(rule.Exprs)}
	var out []packet.Step
	for _, class := range protoClasses(rule.Exprs) {
		x := &exec{reader: r, class: class, place: place}
		x.run(rule.Exprs)
		out = append(out, x.steps...)
	}
	return out
}

// protoClass is a set of protocols whose transport headers are alike. What a
// rule reads behind the network header means something else in each.
type protoClass struct {
	kind   classKind
	protos packet.Ranges // nil: all
}

type classKind uint8

const (
	classAny classKind = iota // the rule does not look
	classTCP
	classPorts // ports, but no flags
	classICMP
	classOther
)

// protoClasses returns the classes under which a rule has to be read: one, if it
// does not look into transport headers.
func protoClasses(exprs []Expr) []protoClass {
	if !slices.ContainsFunc(exprs, readsTransport) {
		return []protoClass{{}}
	}
	tcp := protos(packet.TCP)
	ports := protos(packet.UDP, packet.DCCP, packet.SCTP, packet.UDPLite)
	icmp := protos(packet.ICMP, packet.ICMPv6)
	all := packet.NewRanges(slices.Concat(tcp, ports, icmp)...)
	return []protoClass{{classTCP, tcp}, {classPorts, ports}, {classICMP, icmp}, {classOther, all.Complement(8)}}
}

func protos(ps ...packet.Proto) packet.Ranges {
	rs := make([]packet.Range, len(ps))
	for i, p := range ps {
		rs[i] = packet.Single(packet.Number(uint64(p)))
	}
	return packet.NewRanges(rs...)
}

func readsTransport(e Expr) bool {
	const base, transport = 2, 2 // NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER
	return e.Name == "payload" && attrNumber(e, base) == transport
}

// attr returns the bytes of an expression's attribute, nil if it has none.
func attr(e Expr, typ uint16) []byte {
	var out []byte
	_ = eachAttr(e.Data, func(a Attr) error { // a cut-off attribute is an absent one
		if a.Type == typ {
			out = a.Data
		}
		return nil
	})
	return out
}

func attrNumber(e Expr, typ uint16) uint64 { return number(attr(e, typ)) }
