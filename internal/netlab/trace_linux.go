package netlab

import (
	"errors"
	"fmt"

	"github.com/fwctl/fwctl/packet"
)

// Fate is where the way of a packet through the host ended.
type Fate struct {
	Hook    packet.Hook // prerouting: it never came to input or forward
	Verdict packet.Verdict
	Sent    bool // it came through postrouting
	Moved   bool // and its source was translated
}

// Trace sends packets of the hook prerouting, which enter the host by In and
// leave it by Out if it turns out that they are not for it, and returns the fate
// of each. The verdict is that of input or forward; Sent and Moved say what comes
// behind it.
func (l *Lab) Trace(packets []packet.Packet) ([]Fate, error) {
	fates := make([]Fate, len(packets))
	var at []int
	for i, p := range packets {
		if p.Hook != packet.Prerouting || p.In == "lo" {
			return nil, fmt.Errorf("%s: only what enters from outside can be traced", p)
		}
		at = append(at, i)
		if err := l.prime(p); err != nil {
			return nil, fmt.Errorf("%s: make its flow: %w", p, err)
		}
	}
	for len(at) > 0 {
		n := min(len(at), batch)
		if err := l.traceBatch(packets, at[:n], fates); err != nil {
			return nil, err
		}
		at = at[n:]
	}
	return fates, l.untrack()
}

func (l *Lab) traceBatch(packets []packet.Packet, at []int, fates []Fate) error {
	probes, err := l.tagged(packets, at)
	if err != nil {
		return err
	}
	if err := l.bring(probes, l.sets.arrived); err != nil {
		return err
	}
	reached, err1 := l.sets.read(l.sets.reached)
	routed, err2 := l.sets.read(l.sets.routed)
	passed, err3 := l.sets.read(l.sets.passed)
	refused, err4 := l.sets.read(l.sets.refused)
	sent, err5 := l.sets.read(l.sets.sent)
	moved, err6 := l.sets.read(l.sets.moved)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	for n, i := range at {
		tag := probes[n].tag
		fates[i] = Fate{Hook: packet.Prerouting, Verdict: verdict(tag, passed, refused), Sent: sent.has(tag), Moved: moved.has(tag)}
		switch {
		case routed.has(tag):
			fates[i].Hook = packet.Forward
		case reached.has(tag):
			fates[i].Hook = packet.Input
		}
	}
	return nil
}

// Facts returns what the host's kernel knows of a probe at its hook: also what
// its packet does not say. It has no mark.
func (l *Lab) Facts(p packet.Packet) *packet.Facts {
	f := p.Facts()
	set := func(field packet.Field, n uint64) { f.Fields[field] = packet.Number(n) }
	set(packet.FieldDSCP, probeClass>>2)
	set(packet.FieldTTL, hops)
	if p.Hook == packet.Forward {
		set(packet.FieldTTL, hops-1)
	}
	set(packet.FieldLength, uint64(len(ipPacket(p, 1))))
	if p.Hook != packet.Output && p.In != "lo" {
		if c, err := l.card(p.In); err == nil {
			if frame, err := l.frame(c, p, 1); err == nil {
				f.Fields[packet.FieldMAC] = packet.BytesValue(frame[6:12])
			}
		}
	}
	l.trackFacts(f, p)
	return f
}

// trackFacts are those of the flow to which a packet belongs.
func (l *Lab) trackFacts(f *packet.Facts, p packet.Packet) {
	first, err := opener(p)
	if err != nil {
		return
	}
	f.Fields[packet.FieldCTStatus] = packet.Number(statusSeenReply | statusAssured | statusConfirmed)
	f.Fields[packet.FieldOrigDst] = packet.AddrValue(first.Dst)
	f.Fields[packet.FieldOrigPort] = packet.Number(uint64(first.DstPort))
}
