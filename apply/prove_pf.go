package apply

import (
	"errors"
	"sync"
	"time"

	"github.com/fwctl/fwctl/packet"
	pfread "github.com/fwctl/fwctl/read/pf"
	"github.com/fwctl/fwctl/rules"
)

// provePF compares what the anchor holds with the policy: for every first packet of a
// flow, of those for which pf can say what a policy says ([pfread.Config.Comparable]),
// as it is decided now and with no limit spent; and that what is accepted leaves a state
// behind, so that its answers pass. Of the main rules it knows nothing.
func provePF(rs *rules.Ruleset, held *pfread.Config, limit time.Duration) (*Proof, error) {
	until := time.Now().Add(limit)
	var why [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i, is6 := range []bool{false, true} {
		both.Go(func() { why[i], errs[i] = proveFamily(rs, held, is6, until) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for _, w := range why {
		if w != "" {
			return &Proof{Why: w}, nil
		}
	}
	return &Proof{Proved: true}, nil
}

func proveFamily(rs *rules.Ruleset, held *pfread.Config, is6 bool, until time.Time) (why string, err error) {
	for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
		if hook == packet.Forward && held.Dialect == pfread.MacOS {
			continue // it cannot tell them from packets for the host
		}
		err := newPFSide(rs, held, hook, is6).prove(until)
		var open *openError
		switch {
		case errors.Is(err, packet.ErrTime), errors.Is(err, packet.ErrBudget), errors.As(err, &open):
			return err.Error(), nil
		case err != nil:
			return "", err
		}
	}
	return "", nil
}

// pfSide is the policy beside the rules of pf at one hook.
type pfSide struct {
	rs            *rules.Ruleset
	want, got     *packet.Filter
	keeping       *packet.Filter // what passes and leaves a state
	now           packet.Cond
	which         packet.Cond // the packets that are compared
	conversations packet.Cond // that have answers
	hook          packet.Hook
	space         *packet.Space
}

func newPFSide(rs *rules.Ruleset, held *pfread.Config, hook packet.Hook, is6 bool) *pfSide {
	s := &pfSide{
		rs: rs, hook: hook, want: rs.Filter(hook, is6),
		got:     pfread.Filter(held, hook, is6, pfread.Options{}),
		keeping: pfread.Filter(held, hook, is6, pfread.Options{Keeping: true}),
	}
	at := time.Now()
	s.now = packet.All{packet.During(at, at, s.want), unspent(rs, s.got)}
	s.which = packet.All{packet.FirstPackets(), held.Comparable(hook, is6)}
	s.conversations = packet.All{
		packet.Not{Cond: pfread.Baseline(is6)},
		packet.Not{Cond: packet.Iface{Pattern: "lo"}}, packet.Not{Cond: packet.Iface{Out: true, Pattern: "lo"}},
	}
	asks := &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{{Cond: s.which}, {Cond: s.conversations}}}}}
	s.space = packet.NewSpace(is6, rs.Host.HostAddrs(is6), proofNodes, s.want, s.got, s.keeping, asks)
	return s
}

func (s *pfSide) prove(until time.Time) error {
	for key, unsupported := range s.got.Unknowns() {
		if unsupported {
			return &openError{"the rules ask for what was not read: " + key}
		}
	}
	s.space.Until(until)
	if err := s.space.Assume(s.now); err != nil {
		return err
	}
	over, err := s.space.Set(packet.All{s.space.Frame(s.hook), s.which})
	if err != nil {
		return err
	}
	nodes, err := s.build(s.want, s.got)
	if err != nil {
		return err
	}
	d, err := s.space.Compare(nodes[0], nodes[1], over)
	if err != nil {
		return err
	}
	if d.Kind != packet.Equal {
		return s.refuted(d.Witness, s.got)
	}
	return s.answers(nodes[0], over)
}

func (s *pfSide) build(filters ...*packet.Filter) (out []packet.Node, err error) {
	for _, f := range filters {
		n, err := s.space.Build(f)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// answers fails where something is accepted and its answers would not pass.
func (s *pfSide) answers(want, over packet.Node) error {
	if s.hook == packet.Forward && s.rs.Routed == rules.RoutedIgnore {
		return nil // not ours to track
	}
	keeping, err := s.build(s.keeping)
	if err != nil {
		return err
	}
	kept, err := s.space.Where(keeping[0], packet.OutcomeAccept)
	if err != nil {
		return err
	}
	lost, err := s.space.Where(want, packet.OutcomeAccept)
	for _, c := range []packet.Cond{s.conversations, s.now} {
		if err == nil {
			var n packet.Node
			if n, err = s.space.Set(c); err == nil {
				lost, err = s.space.And(lost, n)
			}
		}
	}
	if err == nil {
		lost, err = s.space.And(lost, over)
	}
	if err == nil {
		lost, err = s.space.Minus(lost, kept)
	}
	if err != nil || lost == packet.False {
		return err
	}
	w, err := s.space.Witness(lost)
	if err != nil {
		return err
	}
	return s.refuted(w, s.keeping)
}

func (s *pfSide) refuted(w *packet.Witness, by *packet.Filter) error {
	f, g := *w.Facts, *w.Facts
	return &RefutedError{w.Packet, s.want.Decide(&f), by.Decide(&g)}
}

// unspent assumes that no limit is used up, where pf refuses a source over it
// otherwise than the policy: before other services are asked, and without an answer.
func unspent(rs *rules.Ruleset, f *packet.Filter) packet.Cond {
	limited := 0
	for _, r := range rs.Services {
		if r.Limit.Count > 0 {
			limited++
		}
	}
	c := packet.All{}
	if limited < 2 && rs.Inbound == packet.Drop {
		return c
	}
	for key := range f.Unknowns() {
		owner, count, per, ok := packet.ReadUnspent(key)
		if !ok {
			continue
		}
		for _, is6 := range []bool{false, true} {
			if u := packet.Unspent(owner, count, per, is6); u.(packet.Unknown).Key == key {
				c = append(c, u)
			}
		}
	}
	return c
}
