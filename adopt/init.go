package adopt

import (
	"cmp"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/live"
)

// Options are what whoever asks for a starter policy wants of it.
type Options struct {
	Profiles fs.FS    // NAME.toml of each built-in profile
	Use      []string // names of profiles that services are to be written with
}

// Starter is a policy for a host as it was seen.
type Starter struct {
	Text     string
	Services []string             // their names, as they stand in it
	Decide   int                  // how many places are marked DECIDE, for a person to look at
	Kept     []live.TCPConnection // that come in now, and may begin anew by this policy

	ways map[live.TCPConnection][]string // interfaces by which they may come
}

// Start writes a policy by which every connection that a host has now may begin anew,
// and each socket that takes packets from outside goes on taking them: from who is
// connected to it where that tells who uses it, from everybody else.
//
// The same Seen gives the same text, whatever the order of what is in it.
func Start(s *Seen, o Options) (*Starter, error) {
	catalogue, err := readCatalogue(o.Profiles, o.Use)
	if err != nil {
		return nil, err
	}
	w := &start{Seen: s, catalogue: catalogue, ways: map[live.TCPConnection][]string{}}
	w.sort()
	w.connect()
	w.administrator()
	w.choose()
	w.share()
	for _, name := range o.Use {
		if err := catalogue[name].fit(o.Profiles, w.openings); err != nil {
			return nil, err
		}
	}
	w.assemble(o.Use)
	t := &Starter{Text: w.text(), Decide: w.decisions, Kept: w.kept, ways: w.ways}
	for _, v := range w.services {
		t.Services = append(t.Services, v.name)
	}
	return t, nil
}

// start is the work of Start.
type start struct {
	*Seen
	catalogue catalogue
	openings  []*opening
	local     []live.Listener // that only the host itself reaches
	clients   []leftOut
	kept      []live.TCPConnection
	ways      map[live.TCPConnection][]string
	services  []*service
	decisions int
}

// opening is a port of the host that packets from outside reach.
type opening struct {
	key
	in      string       // the one interface by which they come; empty: any
	addrs   []netip.Addr // that it is bound to, sorted; nil: all of the host's
	sockets []live.Listener
	peers   []netip.Addr // connected to it now, sorted
	from    audience
	shared  bool // another opening has the same port
	yours   bool // whoever asks came in by it
}

// audience is who a policy lets in.
type audience struct {
	peers   []netip.Prefix // nil: everybody
	wider   bool           // some are networks, because there were too many addresses
	bridged bool           // some are networks of containers or guests
}

// sort tells apart what is reached from outside, what is not, and what is a client.
func (w *start) sort() {
	all := slices.Clone(w.Listeners)
	slices.SortFunc(all, compareListeners)
	resolvers := resolversOf(all)
	byPort := map[key][]live.Listener{}
	var order []key
	for _, l := range all {
		if w.isLocal(l) {
			w.local = append(w.local, l)
			continue
		}
		if why := w.client(l, resolvers); why != "" {
			w.clients = append(w.clients, leftOut{l, why})
			continue
		}
		k := key{l.Proto, l.Port}
		if byPort[k] == nil {
			order = append(order, k)
		}
		byPort[k] = append(byPort[k], l)
	}
	for _, k := range order {
		w.openings = append(w.openings, openingsOf(k, byPort[k])...)
	}
}

// compareListeners is an order that does not depend on what the kernel numbers anew.
func compareListeners(a, b live.Listener) int {
	return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr),
		cmp.Compare(a.Interface, b.Interface), cmp.Compare(program(a), program(b)), cmp.Compare(a.UID, b.UID), cmp.Compare(who(a), who(b)),
		cmp.Compare(where(a), where(b)), cmp.Compare(process(a), process(b)), cmp.Compare(a.User, b.User))
}

// openingsOf makes openings of the sockets of one port: one for those that take what
// comes to any address, and one for each program that is bound to some.
func openingsOf(k key, sockets []live.Listener) (out []*opening) {
	type place struct{ in, program string }
	wide := map[string]bool{}
	for _, l := range sockets {
		wide[l.Interface] = wide[l.Interface] || l.Addr.IsUnspecified()
	}
	found := map[place]*opening{}
	for _, l := range sockets {
		p := place{in: l.Interface}
		switch {
		case wide[""]:
			p.in = ""
		case !wide[l.Interface]:
			p.program = who(l)
		}
		o := found[p]
		if o == nil {
			o = &opening{key: k, in: p.in}
			found[p] = o
			out = append(out, o)
		}
		o.sockets = append(o.sockets, l)
		if !wide[""] && !wide[l.Interface] && !slices.Contains(o.addrs, l.Addr) {
			o.addrs = append(o.addrs, l.Addr)
		}
	}
	for _, o := range out {
		slices.SortFunc(o.addrs, netip.Addr.Compare)
	}
	return merged(out)
}

// merged puts into an opening those that lie within it.
func merged(all []*opening) (out []*opening) {
	covered := func(i int) bool { // of two that are alike the first one stays
		for j, b := range all {
			if j != i && b.covers(all[i]) && (j < i || !all[i].covers(b)) {
				return true
			}
		}
		return false
	}
	for i, o := range all {
		if !covered(i) {
			out = append(out, o)
		}
	}
	for _, o := range all {
		if !slices.Contains(out, o) {
			w := out[slices.IndexFunc(out, func(b *opening) bool { return b.covers(o) })]
			w.sockets = append(w.sockets, o.sockets...)
		}
	}
	for _, o := range out {
		slices.SortFunc(o.sockets, compareListeners)
	}
	return out
}

// covers reports whether every packet for the other opening, of the same port, is one
// for this.
func (o *opening) covers(b *opening) bool {
	return (o.in == "" || o.in == b.in) && (len(o.addrs) == 0 ||
		len(b.addrs) > 0 && !slices.ContainsFunc(b.addrs, func(a netip.Addr) bool { return !slices.Contains(o.addrs, a) }))
}

// isLocal reports whether only the host itself reaches the socket.
func (w *start) isLocal(l live.Listener) bool {
	if l.Addr.IsLoopback() {
		return true
	}
	for _, i := range w.Facts.Interfaces {
		if i.Loopback && i.Name == l.Interface {
			return true
		}
	}
	return false
}

// share marks openings that overlap: a policy wants to read that this is meant.
func (w *start) share() {
	for i, a := range w.openings {
		for _, b := range w.openings[:i] {
			if a.key != b.key {
				continue
			}
			meet := len(a.addrs) == 0 || len(b.addrs) == 0 || slices.ContainsFunc(a.addrs, func(x netip.Addr) bool { return slices.Contains(b.addrs, x) })
			if meet && (a.in == b.in || a.in == "" || b.in == "") {
				a.shared, b.shared = true, true
			}
		}
	}
}
