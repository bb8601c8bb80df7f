package adopt

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// meaning reads a policy as every command does.
func meaning(text string) (*rules.Ruleset, error) {
	p, ps := rules.Load(oneFile(text), policyName, rules.LoadOptions{})
	rs, more := rules.Resolve(p, nil)
	return rs, append(ps, more...).Err()
}

// check holds each rule against the policy: it returns those of which it decides
// some packet otherwise, and how the ruleset differs in what every policy decides by
// itself.
func (im *importing) check(rs *rules.Ruleset, plans []*plan) (ls []Left, own []string, err error) {
	defer guard(&err)
	ls = append(ls, im.source.Left...)
	ls = append(ls, im.left...)
	for _, p := range plans {
		of := rs.Filter(packet.Input, p.is6)
		f := newFamily(p.filter, p.is6, im.source.over(p.is6), im.lim, of)
		accepts := must(f.Where(must(f.Build(of)), packet.OutcomeAccept))
		ls = append(ls, f.against(accepts, p.why)...)
		if !im.source.Part {
			own = append(own, f.differsInOwn(accepts)...)
		}
	}
	return tidy(ls), own, nil
}

// tidy sorts by line, and leaves out what is said twice: a line may stand for rules
// of both families.
func tidy(ls []Left) []Left {
	slices.SortStableFunc(ls, func(a, b Left) int { return cmp.Compare(a.Line, b.Line) })
	var out []Left
	for _, l := range ls {
		same := func(o Left) bool { return o.Line == l.Line && o.Rule == l.Rule && (l.Line > 0 || o.place == l.place) }
		if i := slices.IndexFunc(out, same); i >= 0 && l.Line > 0 {
			out[i].Packets, out[i].Packet = cmp.Or(out[i].Packets, l.Packets), cmp.Or(out[i].Packet, l.Packet)
			out[i].also = append(out[i].also, l.place)
			continue
		}
		out = append(out, l)
	}
	return out
}

// against returns the rules of which the policy decides some packet otherwise.
func (f *family) against(accepts packet.Node, why map[packet.Place]string) []Left {
	otherwise := map[packet.Place]packet.Node{}
	var order []packet.Place
	for _, e := range f.events {
		bad := f.wrong(e, accepts)
		if bad == packet.False {
			continue
		}
		if _, have := otherwise[e.place]; !have {
			order = append(order, e.place)
		}
		otherwise[e.place] = f.or(otherwise[e.place], bad)
	}
	var out []Left
	for _, p := range order {
		l := left(p, cmp.Or(why[p], "the order of the rules decides, which a policy does not have"))
		f.example(&l, otherwise[p])
		out = append(out, l)
	}
	return out
}

// wrong returns what a rule decides and the policy decides otherwise.
func (f *family) wrong(e *event, accepts packet.Node) packet.Node {
	of := f.and(e.decided, f.frame)
	switch {
	case refuses(e.outcome):
		return f.and(of, accepts)
	case e.outcome == packet.OutcomeAccept:
		return f.less(f.and(of, f.accepted), accepts)
	}
	return packet.False
}

// example says which packets of a rule are decided otherwise.
func (f *family) example(l *Left, bad packet.Node) {
	if groups, more, err := f.GroupsWithin(must(f.Ever(bad)), f.frame, 2); err == nil {
		for _, g := range groups {
			l.Packets = strings.TrimPrefix(l.Packets+"; "+g.String(), "; ")
		}
		if more {
			l.Packets += "; and more"
		}
	}
	if w, err := f.Witness(bad); err == nil && w != nil {
		l.Packet = w.Packet.String()
	}
}

// acceptsEcho reports whether some echo request is accepted that no service says.
func (p *plan) acceptsEcho() bool {
	return p.less(p.and(p.answered(rules.ICMPStandard), p.accepted), p.covered) != packet.False
}

// differsInOwn names what every policy decides by itself, and the ruleset otherwise.
func (f *family) differsInOwn(accepts packet.Node) []string {
	all := f.and(f.first, f.set(f.Frame(packet.Input)))
	always := must(f.Always(must(f.Where(must(f.Build(f.filter)), packet.OutcomeAccept))))
	var accepted, refused []string
	for _, o := range f.own {
		set := f.and(all, f.set(o.cond))
		all = f.less(all, set)
		switch {
		case !f.within(f.and(set, accepts), always) && !slices.Contains(accepted, o.name):
			accepted = append(accepted, o.name)
		case !f.within(f.and(set, always), accepts):
			refused = append(refused, o.name)
		}
	}
	inFlow := packet.Any{one(packet.FieldState, uint64(packet.Established)), one(packet.FieldState, uint64(packet.Related))}
	if whole := one(packet.FieldFragment, 0); !f.within(f.set(packet.All{inFlow, whole, f.Frame(packet.Input)}), always) {
		accepted = append(accepted, rules.ReasonEstablished)
	}
	family := "IPv4"
	if f.is6 {
		family = "IPv6"
	}
	var out []string
	if accepted != nil {
		out = append(out, family+": policies accept what the rules refuse of: "+strings.Join(accepted, ", "))
	}
	if refused != nil {
		out = append(out, family+": policies refuse what the rules accept of: "+strings.Join(refused, ", "))
	}
	return out
}

// policyName is the name of the text in oneFile.
const policyName = "policy.toml"

// oneFile is a file system of one policy.
type oneFile string

// Open opens the policy.
func (t oneFile) Open(name string) (fs.File, error) {
	if name != policyName {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memory{strings.NewReader(string(t))}, nil
}

type memory struct{ *strings.Reader }

// Close has nothing to close.
func (*memory) Close() error { return nil }

// Stat describes the file.
func (m *memory) Stat() (fs.FileInfo, error) { return info(m.Size()), nil }

type info int64

// Name is that of the policy.
func (info) Name() string { return policyName }

// Size is the length of the text in bytes.
func (i info) Size() int64 { return int64(i) }

// Mode is that of a regular file.
func (info) Mode() fs.FileMode { return 0o400 }

// ModTime is not known.
func (info) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (info) IsDir() bool { return false }

// Sys is nil.
func (info) Sys() any { return nil }
