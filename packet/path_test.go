package packet

import (
	"net/netip"
	"testing"
)

func addrIs(f Field, a string) Cond {
	return In{f, Ranges{Single(AddrValue(netip.MustParseAddr(a)))}}
}

func portIs(f Field, n uint64) Cond { return In{f, Ranges{Single(Number(n))}} }

// dockerLike has the shape of a host that publishes 8080 of its own address as
// port 80 of a container, beside a filter that lets nothing in.
func dockerLike(h Hook) *Filter {
	f := &Filter{Hook: h, Chains: map[string]*Chain{}}
	switch h {
	case Prerouting:
		f.Base = []*Chain{{Name: "nat", Policy: OutcomeAccept, NAT: true, Rules: []Step{{
			Cond: All{local, portIs(FieldDstPort, 8080)},
			Writes: []Write{
				{Field: FieldDst, Mask: Ones(32), Value: AddrValue(netip.MustParseAddr("172.17.0.2"))},
				{Field: FieldDstPort, Mask: Ones(16), Value: Number(80)},
				{Field: FieldCTStatus, Mask: Number(DstNAT | DstTranslated), Value: Number(DstNAT | DstTranslated)},
			},
			Outcome: OutcomeAccept, Place: Place{Name: "dnat"},
		}}}}
	case Input:
		f.Base = []*Chain{{Name: "input", Policy: OutcomeDrop}}
	case Forward:
		f.Base = []*Chain{{Name: "forward", Policy: OutcomeDrop, Rules: []Step{
			{Cond: All{Bits{FieldCTStatus, Number(DstNAT), Number(DstNAT)}, portIs(FieldOrigPort, 8081)}, Outcome: OutcomeDrop},
			{Cond: All{Iface{Out: true, Pattern: "docker0"}, addrIs(FieldDst, "172.17.0.2"), portIs(FieldDstPort, 80)}, Outcome: OutcomeAccept, Place: Place{Name: "published"}},
		}}}
	}
	return f
}

// A published port is open although the input chain drops everything.
func TestPublishedPortIsOpen(t *testing.T) {
	host := HostAddrs{Known: true, Local: Ranges{Single(AddrValue(netip.MustParseAddr("192.0.2.10")))}}
	fl := Arrival(dockerLike)
	s := NewSpace(false, host, DefaultBudget, fl)
	n, err := s.Build(fl)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		packet Packet
		want   Outcome
	}{
		{Packet{In: "eth0", Out: "docker0", Proto: TCP, Dst: netip.MustParseAddr("192.0.2.10"), DstPort: 8080, Flags: SYN}, OutcomeAccept},
		{Packet{In: "eth0", Out: "docker0", Proto: TCP, Dst: netip.MustParseAddr("192.0.2.10"), DstPort: 80, Flags: SYN}, OutcomeDrop},
		{Packet{In: "eth0", Out: "docker0", Proto: TCP, Dst: netip.MustParseAddr("172.17.0.2"), DstPort: 80, Flags: SYN}, OutcomeAccept},
		{Packet{In: "eth0", Out: "docker0", Proto: TCP, Dst: netip.MustParseAddr("172.17.0.2"), DstPort: 8080, Flags: SYN}, OutcomeDrop},
		{Packet{In: "eth0", Out: "eth1", Proto: TCP, Dst: netip.MustParseAddr("192.0.2.10"), DstPort: 8080, Flags: SYN}, OutcomeDrop},
		// What enters by loopback passed output before: its translation is decided.
		{Packet{In: "lo", Out: "docker0", Proto: TCP, Dst: netip.MustParseAddr("192.0.2.10"), DstPort: 8080, Flags: SYN}, OutcomeDrop},
	} {
		c.packet.Src = netip.MustParseAddr("203.0.113.9")
		f := c.packet.Facts()
		f.SetKinds(host)
		diagram := Outcome(s.Eval(n, f))
		if got := fl.Decide(f); got.Outcome != c.want || diagram != c.want {
			t.Errorf("%s: %v by %v, in the diagram %v, expected %v", c.packet, got.Outcome, got.By, diagram, c.want)
		}
	}
}

// Packets of an established connection may have been translated, or not.
func TestOlderTranslations(t *testing.T) {
	fl := Arrival(dockerLike)
	host := HostAddrs{Known: true, Local: Ranges{Single(AddrValue(netip.MustParseAddr("192.0.2.10")))}}
	s := NewSpace(false, host, DefaultBudget, fl)
	n, err := s.Build(fl)
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[uint64]Outcome{0: OutcomeDrop, DstNAT: OutcomeAccept, SrcNAT: OutcomeAccept} {
		p := Packet{In: "eth0", Out: "docker0", State: Established, Proto: TCP, Src: netip.MustParseAddr("203.0.113.9"), Dst: netip.MustParseAddr("192.0.2.10"), DstPort: 8080}
		f := p.Facts()
		f.Fields[FieldCTStatus] = Number(status)
		f.Fields[FieldNATDst], f.Fields[FieldNATPort] = AddrValue(netip.MustParseAddr("172.17.0.2")), Number(80)
		f.SetKinds(host)
		diagram := Outcome(s.Eval(n, f))
		if got := fl.Decide(f).Outcome; got != want || diagram != want {
			t.Errorf("status %x: %v, in the diagram %v, expected %v", status, got, diagram, want)
		}
	}
}
