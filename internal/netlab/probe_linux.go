package netlab

import (
	"errors"
	"fmt"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// batch is the number of probes that are on their way before their fates are
// read; tags have 16 bits, and 0 is none.
const batch = 30_000

// patience is how long a probe may take to its hook.
const patience = 2 * time.Second

// Probe sends every packet through the host and returns what its kernel did with
// it, in the same order. The packets do not see each other: each is the first of
// its flow, or belongs to a flow of its own where its State asks for one.
func (l *Lab) Probe(packets []packet.Packet) ([]packet.Verdict, error) {
	verdicts := make([]packet.Verdict, len(packets))
	var alone, inFlow []int
	for i, p := range packets {
		if p.State == packet.Established || p.State == packet.Related {
			inFlow = append(inFlow, i)
		} else {
			alone = append(alone, i)
		}
	}
	if err := l.probeAll(packets, alone, verdicts); err != nil {
		return nil, err
	}
	if len(inFlow) == 0 {
		return verdicts, nil
	}
	for _, i := range inFlow {
		if err := l.prime(packets[i]); err != nil {
			return nil, fmt.Errorf("%s: make its flow: %w", packets[i], err)
		}
	}
	return verdicts, errors.Join(l.probeAll(packets, inFlow, verdicts), l.untrack())
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
	if err := l.sets.clear(); err != nil {
		return fmt.Errorf("clear the sets: %w", err)
	}
	for n, i := range at {
		if err := l.send(packets[i], uint16(n+1)); err != nil {
			return fmt.Errorf("%s: send: %w", packets[i], err)
		}
	}
	if err := l.await(packets, at); err != nil {
		return err
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
		verdicts[i] = verdict(uint16(n+1), through, refused)
	}
	return nil
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

// await waits until every probe has come to its hook.
func (l *Lab) await(packets []packet.Packet, at []int) error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		reached, err := l.sets.read(l.sets.reached)
		if err != nil {
			return err
		}
		missing := 0
		lost := packet.Packet{}
		for n, i := range at {
			if !reached.has(uint16(n + 1)) {
				missing++
				lost = packets[i]
			}
		}
		switch {
		case missing == 0:
			return nil
		case time.Since(start) > patience:
			return fmt.Errorf("%d of %d probes never came to their hook, the last of them: %s", missing, len(at), lost)
		}
	}
}
