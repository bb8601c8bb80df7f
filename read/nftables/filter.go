package nftables

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Links are the interfaces by their numbers. Nil means that they are not known,
// but for loopback, which is number 1 everywhere: what a number stands for is
// left open then. An interface that is not among them counts as an Ethernet one
// of group 0 whose addresses are not known.
type Links map[uint32]packet.Link

// loopback are the links of every network namespace.
var loopback = Links{1: {Name: "lo", Type: 772}}

// Attributes of links, as bit.ref.
const (
	linkType  = 1
	linkGroup = 2
)

func attribute(l packet.Link, which uint16) uint32 {
	if which == linkType {
		return uint32(l.Type)
	}
	return l.Group
}

// Families of tables (NFPROTO_*, linux/netfilter.h).
const (
	FamilyInet = 1
	FamilyIPv4 = 2
	FamilyIPv6 = 10
)

// hooks are NF_INET_* (linux/netfilter.h).
var hooks = map[packet.Hook]uint32{packet.Prerouting: 0, packet.Input: 1, packet.Forward: 2, packet.Output: 3, packet.Postrouting: 4}

// Filter returns what the tables do with packets of a family at a hook: all base
// chains there, by priority. What cannot be modelled is an unknown in it, never
// left out.
func Filter(tables []*Table, hook packet.Hook, is6 bool, links Links) *packet.Filter {
	return packet.At(hook, Source(tables, is6, links))
}

// Source returns what the tables have at each hook, for packets of a family, to
// be put together with other rules of the host. A table of iptables-nft belongs
// among the tables only if its text is not read, too.
func Source(tables []*Table, is6 bool, links Links) packet.Source {
	tables = slices.Clone(tables)
	slices.SortStableFunc(tables, func(a, b *Table) int { return cmp.Compare(a.Handle, b.Handle) })
	filled := map[*Table]map[string]bool{}
	for _, t := range tables {
		filled[t] = filledSets(t)
	}
	open := links == nil
	if open {
		links = loopback
	}
	order := slices.Sorted(maps.Keys(links))
	return func(hook packet.Hook) *packet.Filter {
		f := &packet.Filter{Hook: hook, Chains: map[string]*packet.Chain{}}
		seen := map[string]int{}
		// Of equals, the chain that was registered last comes first.
		for _, t := range slices.Backward(tables) {
			if !ofFamily(t, is6) || t.Flags&tableDormant != 0 {
				continue
			}
			r := reader{
				Filter: f, table: t, hook: hook, is6: is6, links: links, linkOrder: order, open: open, seen: seen, filled: filled[t],
				sets: map[string]*Set{}, rules: map[string][]Rule{}, writes: writes(t),
				entries: map[string][]entry{}, members: map[string]packet.Cond{},
			}
			r.read()
		}
		slices.SortStableFunc(f.Base, func(a, b *packet.Chain) int { return cmp.Compare(a.Priority, b.Priority) })
		return f
	}
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

// reader translates one table at one hook.
type reader struct {
	*packet.Filter
	table     *Table
	hook      packet.Hook
	early     bool // the chain stands before tracking
	is6       bool
	sets      map[string]*Set
	rules     map[string][]Rule
	links     Links
	linkOrder []uint32
	open      bool            // the links are not known
	seen      map[string]int  // how often each text of an unknown occurred
	filled    map[string]bool // sets that rules fill
	writes    bool            // rules give fields new values
	depth     int             // of the chain that is being read
	entries   map[string][]entry
	members   map[string]packet.Cond // of large sets, by set and key
}

// priorityTracking is where tracking stands at prerouting and output
// (NF_IP_PRI_CONNTRACK, linux/netfilter_ipv4.h).
const priorityTracking = -200

func (r *reader) read() {
	for i := range r.table.Sets {
		r.sets[r.table.Sets[i].Name] = &r.table.Sets[i]
	}
	for _, rule := range r.table.Rules {
		r.rules[rule.Chain] = append(r.rules[rule.Chain], rule)
	}
	for _, c := range slices.Backward(r.table.Chains) {
		if c.Hook != nil && c.Hook.Num == hooks[r.hook] {
			r.base(c)
		}
	}
}

func (r *reader) base(c Chain) {
	tracked := r.hook == packet.Prerouting || r.hook == packet.Output
	r.early = tracked && c.Hook.Priority < priorityTracking
	out := &packet.Chain{
		Name: r.chainName(c.Name), Policy: packet.OutcomeAccept, Rules: r.steps(c.Name),
		Priority: int(c.Hook.Priority), NAT: c.Type == "nat",
	}
	if c.Policy == 0 {
		out.Policy = packet.OutcomeDrop
	}
	r.Base = append(r.Base, out)
}

// mostDepth is more than the chains that nf_tables allows one below the other. A
// chain below it is missing, which decides nothing.
const mostDepth = 64

// called returns the name under which a chain is called, and reads it if it was
// not read.
func (r *reader) called(name string) string {
	full := r.chainName(name)
	if r.Chains[full] == nil && r.depth < mostDepth {
		r.depth++
		defer func() { r.depth-- }()
		c := &packet.Chain{Name: full, Policy: packet.OutcomeAccept}
		r.Chains[full] = c
		c.Rules = r.steps(name)
	}
	return full
}

// chainName is unique among all tables. Before tracking, rules mean something
// else.
func (r *reader) chainName(name string) string {
	full := familyName(r.table.Family) + " " + r.table.Name + " " + name
	if r.early {
		full += " before tracking"
	}
	return full
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

func (r *reader) steps(chain string) []packet.Step {
	var out []packet.Step
	for i := range r.rules[chain] {
		out = append(out, r.ruleSteps(&r.rules[chain][i])...)
	}
	return out
}

// ruleSteps returns what one rule does.
func (r *reader) ruleSteps(rule *Rule) []packet.Step {
	place := packet.Place{
		Source: "nftables", Table: familyName(r.table.Family) + " " + r.table.Name, Chain: rule.Chain,
		Handle: rule.Handle, Name: Comment(rule.UserData), Text: r.table.RuleText(rule, r.links),
	}
	state := &ruleState{keys: map[string]string{}}
	var out []packet.Step
	for _, class := range protoClasses(rule.Exprs) {
		x := &exec{reader: r, class: class, place: place, rule: state, exprs: rule.Exprs}
		if class.protos != nil {
			x.require(packet.In{Field: packet.FieldProto, Set: class.protos})
		}
		out = append(out, x.run()...)
	}
	if !r.writes {
		return flat(out, nil, nil)
	}
	return out
}

// flat makes steps of cases, which is the same where nothing is written.
func flat(steps, out []packet.Step, before packet.All) []packet.Step {
	for _, s := range steps {
		conds := before
		if s.Cond != nil {
			conds = append(slices.Clip(before), s.Cond)
			if all, ok := s.Cond.(packet.All); ok {
				conds = append(slices.Clip(before), all...)
			}
		}
		if len(s.Cases) > 0 {
			out = flat(s.Cases, out, conds)
			continue
		}
		s.Cond = conds
		out = append(out, s)
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
	return transportClasses
}

var transportClasses = func() []protoClass {
	tcp := protos(packet.TCP)
	ports := protos(packet.UDP, packet.DCCP, packet.SCTP, packet.UDPLite)
	icmp := protos(packet.ICMP, packet.ICMPv6)
	all := packet.NewRanges(slices.Concat(tcp, ports, icmp)...)
	return []protoClass{{classTCP, tcp}, {classPorts, ports}, {classICMP, icmp}, {classOther, all.Complement(8)}}
}()

func protos(ps ...packet.Proto) packet.Ranges {
	rs := make([]packet.Range, len(ps))
	for i, p := range ps {
		rs[i] = packet.Single(packet.Number(uint64(p)))
	}
	return packet.NewRanges(rs...)
}

func readsTransport(e Expr) bool {
	if e.Name != "payload" {
		return false
	}
	a := argsOf(e)
	return a.num(payloadBase) == baseTransport
}

// filledSets returns the sets that rules add to or take from: what is in them
// depends on the packets that came before.
func filledSets(t *Table) map[string]bool {
	out := map[string]bool{}
	for _, r := range t.Rules {
		for _, e := range r.Exprs {
			if e.Name == "dynset" {
				out[e.SetName()] = true
			}
		}
	}
	return out
}

// writes reports whether a rule of the table gives a field a new value.
func writes(t *Table) bool {
	return slices.ContainsFunc(t.Rules, func(r Rule) bool { return slices.ContainsFunc(r.Exprs, Expr.writes) })
}

func (e Expr) writes() bool {
	a := argsOf(e)
	switch e.Name {
	case "meta":
		return a.has(metaSreg)
	case "ct":
		return a.has(ctSreg)
	case "payload":
		return a.has(payloadSreg)
	case "nat", "masq", "redir", "notrack", "target":
		return true
	}
	return false
}
