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
		f := newFamily(p.filter, p.is6, im.lim, of)
		accepts := must(f.Where(must(f.Build(of)), packet.OutcomeAccept))
		for _, e := range f.events {
			if l, bad := f.against(e, accepts, p.why); bad {
				ls = append(ls, l)
			}
		}
		own = append(own, f.differsInOwn(accepts)...)
	}
	ls = slices.CompactFunc(ls, func(a, b Left) bool { return a == b })
	slices.SortStableFunc(ls, func(a, b Left) int { return cmp.Compare(a.Line, b.Line) })
	return ls, own, nil
}

// against returns what the policy decides otherwise of what a rule decides.
func (f *family) against(e *event, accepts packet.Node, why map[packet.Place]string) (Left, bool) {
	bad := packet.False
	of := f.and(e.decided, f.frame)
	switch {
	case refuses(e.outcome):
		bad = f.and(of, accepts)
	case e.outcome == packet.OutcomeAccept:
		bad = f.less(f.and(of, f.accepted), accepts)
	}
	if bad == packet.False {
		return Left{}, false
	}
	l := left(e.place, cmp.Or(why[e.place], "the order of the rules decides, which a policy does not have"))
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
	return l, true
}

// acceptsEcho reports whether some echo request is accepted that no service says.
func (p *plan) acceptsEcho() bool {
	return p.less(p.and(p.answered(rules.ICMPStandard), p.accepted), p.covered) != packet.False
}

// differsInOwn names what every policy decides by itself, and the ruleset otherwise.
func (f *family) differsInOwn(accepts packet.Node) []string {
	all := f.and(f.first, f.set(f.Frame(packet.Input)))
	ever := must(f.Always(f.accepted))
	var out []string
	family := "IPv4"
	if f.is6 {
		family = "IPv6"
	}
	for _, o := range f.own {
		set := f.and(all, f.set(o.cond))
		verdict := "refuse"
		if f.within(f.less(set, ever), accepts) && f.less(set, ever) != packet.False {
			verdict = "accept"
		} else if f.within(f.and(set, ever), accepts) {
			continue
		}
		if line := family + ", " + o.name + ": policies " + verdict + " this"; !slices.Contains(out, line) {
			out = append(out, line)
		}
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

