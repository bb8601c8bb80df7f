package laws

import (
	"net/netip"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	readnft "github.com/fwctl/fwctl/read/nftables"
)

const flagRules = `table inet t0 {
	chain in {
		type filter hook input priority 0; policy drop;
		tcp flags syn accept
		tcp flags ack accept
	}
}
`

// The optimizer of nft makes one exact comparison of two tests for a bit. The
// engine finds that this is something else, and shows a packet for which the
// kernel says so, too.
func TestOptimizerChangesTheMeaning(t *testing.T) {
	f := &foreignCheck{T: t, lab: netlab.New(t, gen.Host())}
	f.load(flagRules)
	asWritten, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.lab.NFT(f.unload()+flagRules, "-o", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	merged, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	plain, optimized := inputOf(asWritten), inputOf(merged)
	w := differing(t, plain, optimized, asWritten.Addrs(false))
	if w == nil {
		t.Fatal("no difference found: was the optimizer mended?")
	}
	p := w.Packet
	p.State = gen.KernelState(p)
	t.Logf("%s: %v, optimized %v", p, plain.Decide(w.Facts).Outcome, optimized.Decide(w.Facts).Outcome)
	after, err := f.lab.Probe([]packet.Packet{p}) // the optimized rules are loaded
	if err != nil {
		t.Fatal(err)
	}
	f.load(flagRules)
	before, err := f.lab.Probe([]packet.Packet{p})
	if err != nil {
		t.Fatal(err)
	}
	if before[0] != packet.Accept || after[0] == packet.Accept {
		t.Errorf("the kernel says %v, optimized %v", before[0], after[0])
	}
}

func inputOf(h *live.HostRules) *packet.Filter {
	return readnft.Filter(h.Tables, packet.Input, false, h.Links)
}

// differing returns a packet that the laboratory can send and that the filters
// decide differently, nil if there is none.
func differing(t *testing.T, a, b *packet.Filter, host packet.HostAddrs) *packet.Witness {
	t.Helper()
	s := packet.NewSpace(false, host, packet.DefaultBudget, a, b)
	x, err := s.Build(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := s.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	one := func(f packet.Field, v packet.Value) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(v)}}
	}
	over, err := s.Set(packet.All{
		s.Frame(packet.Input), packet.Not{Cond: packet.Iface{Pattern: "lo"}}, one(packet.FieldDst, packet.AddrValue(netip.MustParseAddr("192.0.2.10"))),
		one(packet.FieldState, packet.Number(uint64(packet.Invalid))), // what the kernel calls odd flags
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Compare(x, y, over)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind == packet.Equal {
		return nil
	}
	return d.Witness
}
