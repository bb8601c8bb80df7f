package pf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/rules"
)

// inRule is the number of literal addresses that still stand in a rule; more
// become a table, because each one in a rule is a rule of its own in the kernel.
const inRule = 4

// where is one way in which an address can be what a rule asks for: one of the
// hosts, seen on one of the interfaces.
type where struct {
	on    []string // nil: any
	hosts []Host   // nil: any
}

// sources are the ways to come from r.From by one of r.In; none if nobody can.
func (b *builder) sources(r *rules.Rule) []where {
	in, ok := b.interfaces(r.Pos, r.In)
	if !ok {
		return nil
	}
	if r.From.Any {
		return []where{{on: in}}
	}
	var ws []where
	for _, w := range b.addresses(r, r.From, "from") {
		if on, some := b.both(r.Pos, in, w.on); some {
			ws = append(ws, where{on, w.hosts})
		}
	}
	return ws
}

// addresses splits a set by the interfaces on which it is seen, the part that is
// seen on all of them first.
func (b *builder) addresses(r *rules.Rule, as rules.Addresses, side string) []where {
	if as.Any {
		return []where{{}}
	}
	free := where{hosts: b.freeHosts(r, as, side)}
	ws := b.boundHosts(as)
	if len(free.hosts) > 0 {
		ws = append([]where{free}, ws...)
	}
	return ws
}

// freeHosts are the addresses that are seen on any interface.
func (b *builder) freeHosts(r *rules.Rule, as rules.Addresses, side string) []Host {
	var hosts []Host
	if as.Host || slices.ContainsFunc(as.Groups, func(g *rules.Group) bool { return g.Host }) {
		hosts = append(hosts, b.ownHosts(r.Pos)...)
	}
	for _, g := range as.Groups {
		for i, t := range g.Terms {
			if len(t.In) == 0 {
				hosts = append(hosts, b.termTable(g, i))
			}
		}
		if len(g.Terms) == 0 && !g.Host {
			hosts = append(hosts, b.emptyTable(g))
		}
	}
	return append(hosts, b.literals(r, as.Set, side)...)
}

// boundHosts are the addresses that count on some interfaces only; those of the
// same interfaces stand together.
func (b *builder) boundHosts(as rules.Addresses) []where {
	var ws []where
	for _, g := range as.Groups {
		for i, t := range g.Terms {
			on, ok := b.interfaces(g.Pos, t.In)
			if len(t.In) == 0 || !ok {
				continue
			}
			h := b.termTable(g, i)
			at := slices.IndexFunc(ws, func(w where) bool { return slices.Equal(w.on, on) })
			if at < 0 {
				at, ws = len(ws), append(ws, where{on: on})
			}
			ws[at].hosts = append(ws[at].hosts, h)
		}
	}
	slices.SortFunc(ws, func(v, w where) int { return slices.Compare(v.on, w.on) })
	return ws
}

// ownHosts are the host's own addresses: kept by the kernel, or where it cannot,
// as they are at load.
func (b *builder) ownHosts(at rules.Pos) []Host {
	if b.self {
		return []Host{self}
	}
	b.note(at, b.system+` takes the addresses of "host" when the rules are loaded, not when the packet comes`, "load the rules again when an address changes")
	return []Host{b.table("host", Table{Name: "host", Const: true, Self: true})}
}

func (b *builder) literals(r *rules.Rule, set *netipx.IPSet, side string) []Host {
	if set == nil {
		return nil
	}
	if ps := set.Prefixes(); len(ps) <= inRule {
		return prefixHosts(ps)
	}
	name := r.Name
	if r.Part != "" {
		name += "." + r.Part
	}
	return []Host{b.table("rule "+r.ID()+" "+side, Table{Name: name + "." + side, Const: true, Entries: entries(set)})}
}

// termTable is the table of one term of a group.
func (b *builder) termTable(g *rules.Group, i int) Host {
	name := tableName(g.Name)
	if t := g.Terms[i]; len(t.In) > 0 && len(g.Terms) > 1 {
		name = g.Name + "." + strings.ReplaceAll(strings.Join(t.In, "."), "*", "")
	}
	key := fmt.Sprintf("group %s %q", g.Name, g.Terms[i].In)
	if at, ok := b.byTable[key]; ok {
		return Host{Table: b.tables[at].Name}
	}
	h := b.table(key, Table{Name: name, Const: true, Entries: entries(g.Terms[i].Set)})
	if g.File != "" {
		b.remarks[h.Table] = "group." + g.Name + " is read from " + plain(g.File)
	}
	return h
}

// emptyTable stands for a group of which no name is known yet: nobody.
func (b *builder) emptyTable(g *rules.Group) Host {
	why := fmt.Sprintf("no address is known for %s, so group.%s is nobody", plain(strings.Join(g.Unresolved, ", ")), g.Name)
	b.note(g.Pos, why, "")
	h := b.table("group "+g.Name, Table{Name: tableName(g.Name), Const: true})
	b.remarks[h.Table] = why
	return h
}

// table gives the table a name of its own, once.
func (b *builder) table(key string, t Table) Host {
	if at, ok := b.byTable[key]; ok {
		return Host{Table: b.tables[at].Name}
	}
	t.Name = b.tableName.of(key, t.Name)
	b.byTable[key] = len(b.tables)
	b.tables = append(b.tables, t)
	return Host{Table: t.Name}
}

// families are the address families that one of the hosts can have.
func families(hs []Host) (v4, v6 bool) {
	if len(hs) == 0 {
		return true, true
	}
	for _, h := range hs {
		open := !h.Prefix.IsValid()
		v4 = v4 || open || h.Prefix.Addr().Is4()
		v6 = v6 || open || h.Prefix.Addr().Is6()
	}
	return v4, v6
}

// possible reports whether the lists of the rule multiply out to anything; pfctl
// refuses a rule that does not.
func (r Rule) possible() bool {
	f4, f6 := families(r.From.Hosts)
	t4, t6 := families(r.To.Hosts)
	return f4 && t4 && r.Family != Inet6 || f6 && t6 && r.Family != Inet
}

// thisHostOnly reports whether every address of the set is one for this host,
// without being told so by the rule.
func (b *builder) thisHostOnly(as rules.Addresses) bool {
	sets := []*netipx.IPSet{as.Set}
	for _, g := range as.Groups {
		for _, t := range g.Terms {
			if len(t.In) == 0 {
				sets = append(sets, t.Set)
			}
		}
	}
	return !as.Any && !slices.ContainsFunc(sets, func(s *netipx.IPSet) bool { return s != nil && !b.localSet(s) })
}

func (b *builder) localSet(s *netipx.IPSet) bool {
	for _, p := range s.Prefixes() {
		if !b.localPrefix(p) {
			return false
		}
	}
	return true
}

func (b *builder) localPrefix(p netip.Prefix) bool {
	for _, h := range []Host{limitedBroadcast, multicast4, multicast6, linkLocal6} {
		if h.Prefix.Bits() <= p.Bits() && h.Prefix.Contains(p.Addr()) {
			return true
		}
	}
	return p.IsSingleIP() && (b.rs.Host.Local(p.Addr()) || b.rs.Host.Broadcast(p.Addr()))
}
