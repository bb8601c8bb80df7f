package netlab

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"

	"github.com/fwctl/fwctl/packet"
)

// batch is the number of probes that are on their way before their fates are
// read; tags have 16 bits, and 0 is none.
const batch = 30_000

// stale is the number of old tags up to which the sets are not emptied: that
// takes the kernel longer than to show them once more.
const stale = 2_000

// A probe that is not at its hook after resend is sent again: under load the
// kernel's backlog, which all namespaces share, may drop it. After patience it is
// lost for good.
const (
	resend   = 200 * time.Millisecond
	patience = 10 * resend
)

// settle is more than a packet takes from prerouting to where it ends.
const settle = 2 * time.Millisecond

// Probe sends every packet through the host and returns what its kernel did with
// it, in the same order. The packets do not see each other: each is the first of
// its flow, or belongs to a flow of its own where its State asks for one. Only
// packets by the loopback interface, which pass two hooks, may find their flow
// made by another of them.
func (l *Lab) Probe(packets []packet.Packet) ([]packet.Verdict, error) {
	verdicts := make([]packet.Verdict, len(packets))
	var alone, inFlow, looped []int
	for i, p := range packets {
		switch {
		case p.In == "lo" || p.Out == "lo":
			looped = append(looped, i)
		case p.State == packet.Established || p.State == packet.Related:
			inFlow = append(inFlow, i)
		default:
			alone = append(alone, i)
		}
	}
	for _, i := range inFlow {
		if _, err := opener(packets[i]); err != nil {
			return nil, err
		}
	}
	if err := l.probeAll(packets, alone, verdicts); err != nil {
		return nil, err
	}
	for _, at := range [][]int{inFlow, looped} {
		if err := l.probeInFlow(packets, at, verdicts); err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// probeInFlow probes packets whose flows are in the connection tracking table,
// and empties it again.
func (l *Lab) probeInFlow(packets []packet.Packet, at []int, verdicts []packet.Verdict) error {
	if len(at) == 0 {
		return nil
	}
	for _, i := range at {
		if err := l.prime(packets[i]); err != nil {
			return fmt.Errorf("%s: make its flow: %w", packets[i], err)
		}
	}
	return errors.Join(l.probeAll(packets, at, verdicts), l.untrack())
}

// probeAll probes the packets at the indices, a batch at a time.
func (l *Lab) probeAll(packets []packet.Packet, at []int, verdicts []packet.Verdict) error {
	for len(at) > 0 {
		n := min(len(at), batch)
		if err := l.probeBatch(packets, at[:n], verdicts); err != nil {
			return err
		}
		at = at[n:]
	}
	return nil
}

func (l *Lab) probeBatch(packets []packet.Packet, at []int, verdicts []packet.Verdict) error {
	probes, err := l.tagged(packets, at)
	if err != nil {
		return err
	}
	if err := l.bring(probes, l.sets.reached); err != nil {
		return err
	}
	if l.Early {
		time.Sleep(settle)
	}
	passed, err1 := l.sets.read(l.sets.passed)
	left, err2 := l.sets.read(l.sets.left)
	refused, err3 := l.sets.read(l.sets.refused)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for n, i := range at {
		through := passed
		if packets[i].Hook == packet.Output {
			through = left
		}
		verdicts[i] = verdict(probes[n].tag, through, refused)
	}
	return nil
}

// tagged gives the packets at the indices tags that no other has.
func (l *Lab) tagged(packets []packet.Packet, at []int) ([]probe, error) {
	if l.tags > stale {
		if err := l.sets.clear(); err != nil {
			return nil, fmt.Errorf("clear the sets: %w", err)
		}
		l.tags = 0
	}
	first := l.tags + 1
	l.tags += uint16(len(at))
	probes := make([]probe, len(at))
	for n, i := range at {
		probes[n] = probe{first + uint16(n), packets[i]}
	}
	return probes, nil
}

func verdict(tag uint16, through, refused *tags) packet.Verdict {
	switch {
	case through.has(tag):
		return packet.Accept
	case refused.has(tag):
		return packet.Reject
	}
	return packet.Drop
}

// probe is a packet and its tag.
type probe struct {
	tag uint16
	packet.Packet
}

// bring sends the probes until the tag of each is in the set.
func (l *Lab) bring(probes []probe, to *nftables.Set) error {
	for start := time.Now(); ; {
		for _, p := range probes {
			if err := l.send(p.Packet, p.tag); err != nil {
				return fmt.Errorf("%s: send: %w", p.Packet, err)
			}
		}
		missing, err := l.await(probes, to)
		switch {
		case err != nil || len(missing) == 0:
			return err
		case time.Since(start) > patience:
			return fmt.Errorf("%d of %d probes never came to their hook, the first of them: %s", len(missing), len(probes), missing[0].Packet)
		}
		probes = missing
	}
}

// await waits for the probes and returns those that are still missing.
func (l *Lab) await(probes []probe, to *nftables.Set) ([]probe, error) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		reached, err := l.sets.read(to)
		if err != nil {
			return nil, err
		}
		arrived := new(tags)
		if l.Early {
			if arrived, err = l.sets.read(l.sets.arrived); err != nil {
				return nil, err
			}
		}
		var missing []probe
		for _, p := range probes {
			if !reached.has(p.tag) && !arrived.has(p.tag) {
				missing = append(missing, p)
			}
		}
		if len(missing) == 0 || time.Since(start) > resend {
			return missing, nil
		}
	}
}
