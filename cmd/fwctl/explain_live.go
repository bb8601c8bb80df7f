package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// liveExplanation is the answer of explain --live.
type liveExplanation struct {
	Changed bool         `json:"changed"`
	Packet  string       `json:"packet"`
	Host    *drift.Fate  `json:"host"`
	Policy  *explanation `json:"policy,omitempty"` // absent where none was confirmed and none named
	Agree   *bool        `json:"agree,omitempty"`
}

func (g *global) explainLive(ctx context.Context, words, policy string) error {
	e, err := packet.ParseExpr(words)
	if err != nil {
		return packetError(words, err)
	}
	if err := live.Readable(); err != nil {
		return err
	}
	h, err := live.Facts(ctx)
	if err != nil {
		return err
	}
	p, err := e.Packet(hostAddr(h))
	if err != nil {
		return packetError(words, err)
	}
	callLoopback(&p, h)
	if err := arrive(&p, h); err != nil {
		return err
	}
	kernel, err := g.hostRules(ctx)
	if err != nil {
		return err
	}
	a := &liveExplanation{Packet: p.String()}
	a.Host, err = drift.Follow(kernel, p, drift.Routes{To: live.RouteTo, Back: live.RouteBack}, drift.DefaultBudget)
	if err != nil {
		return err
	}
	texts := ruleTexts(ctx)
	a.Host.By.Text(texts)
	for i := range a.Host.Way {
		a.Host.Way[i].Text(texts)
	}
	if err := g.besidePolicy(ctx, a, p, policy); err != nil {
		return err
	}
	if err := g.ui.answer(a, func() { g.ui.liveExplanation(a) }); err != nil {
		return err
	}
	if a.Host.CannotTell {
		return status(exitUnknown)
	}
	return nil
}

// arrive adds the interface by which the packet comes or goes, where the
// notation left it out: the one that the routing uses for its other end.
func arrive(p *packet.Packet, h *rules.Host) error {
	switch p.Hook {
	case packet.Input:
		if !h.Local(p.Dst) && !h.Broadcast(p.Dst) && !p.Dst.IsMulticast() && !p.Dst.IsLoopback() {
			return usage(fmt.Sprintf("%s is no address of this host", p.Dst), "a packet through this host is written with both interfaces: in IF out IF …")
		}
		if p.In == "" {
			p.In = cmp.Or(live.RouteTo(p.Src), owner(h, p.Dst))
		}
	case packet.Output:
		if p.Out == "" {
			p.Out = live.RouteTo(p.Dst)
		}
	}
	return nil
}

// owner is the interface that has the address, "" if none has.
func owner(h *rules.Host, a netip.Addr) string {
	for _, i := range h.Interfaces {
		if slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return i.Name
		}
	}
	return ""
}

// besidePolicy adds what the policy says: the one that was named, else the
// confirmed one.
func (g *global) besidePolicy(ctx context.Context, a *liveExplanation, p packet.Packet, policy string) error {
	var args []string
	if policy != "" {
		args = []string{policy}
	}
	m, err := g.meant(ctx, args)
	if errors.Is(err, apply.ErrNotConfirmed) {
		return nil
	}
	if err != nil {
		return err
	}
	x := explained(p, m.Ruleset.Decide(p, time.Now()))
	agree := x.Verdict.String() == a.Host.Verdict
	a.Policy, a.Agree = &x, &agree
	return nil
}

// liveExplanation prints the verdict of the host, what made it, and the policy's
// beside it.
func (u *ui) liveExplanation(a *liveExplanation) {
	u.print("%s  %s\n", u.paint(u.stdout, verdictColor(a.Host.Verdict), a.Host.Verdict), a.Packet)
	line := func(name, text string) { u.print("  %-8s %s\n", name, text) }
	by := a.Host.By.String()
	if c := a.Host.Counter; c != nil {
		by += fmt.Sprintf(" (%s, %s so far)", plural64(c.Packets, "packet"), plural64(c.Bytes, "byte"))
	}
	line("host", a.Host.Verdict+after(" by ", by))
	for _, s := range a.Host.Way {
		if s != a.Host.By {
			line("also", s.Verdict+after(" by ", s.String()))
		}
	}
	for _, o := range a.Host.Else {
		for i, cond := range o.If {
			if i == 0 {
				line("else", o.Verdict+" if "+cond)
			} else {
				line("", "and "+cond)
			}
		}
	}
	if a.Policy == nil {
		line("policy", "none is confirmed")
		return
	}
	line("policy", a.Policy.Verdict.String()+" by "+a.Policy.by())
	if !*a.Agree {
		u.print("%s: the host does not do what the policy says; `fwctl drift` tells more\n", u.paint(u.stdout, red, "drift"))
	}
}

func verdictColor(verdict string) string {
	if verdict == packet.Accept.String() {
		return green
	}
	return red
}

func plural64(n uint64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// by names what decided in the policy.
func (x explanation) by() string {
	if x.Rule == "" {
		return reasons(x.Reason)
	}
	return x.Rule + ", " + x.Pos.String()
}
