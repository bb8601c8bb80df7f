package nftables

import (
	"maps"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/packet"
)

// filterOf returns what one rule does at input that accepts what its expressions
// let through.
func filterOf(t *testing.T, exprs ...[]byte) *packet.Filter {
	t.Helper()
	es, err := DecodeExprs(slices.Concat(append(exprs, verdictOf(verdictAccept, ""))...))
	if err != nil {
		t.Fatal(err)
	}
	table := &Table{
		Family: FamilyInet, Name: "t", Chains: []Chain{{Name: "c", Type: "filter", Hook: &Hook{Num: 1}}},
		Rules: []Rule{{Chain: "c", Exprs: es}},
	}
	return Filter([]*Table{table}, packet.Input, false, nil)
}

// An instant is one of the clock that no packet decides, but it is understood.
func TestInstant(t *testing.T) {
	got := filterOf(t, loadMeta(keyTime, 1), compareWith(1, 0, 0, 0xc2, 0x48, 0x6d, 0x1f, 0xad, 0x15, 0)).Unknowns()
	want := map[string]bool{"meta time == 0x00c2486d1fad1500": false}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A test of what nobody knows is an unknown, whatever the number has for bits.
func TestOpaqueEquals(t *testing.T) {
	for _, number := range []byte{0, 1, 255} {
		f := filterOf(t, loadMeta(keyCPU, 1), compareWith(1, 0, number, 0, 0, 0))
		if len(f.Unknowns()) != 1 {
			t.Errorf("meta cpu %d: %v", number, f.Unknowns())
		}
	}
}

// To set an option of TCP, or to take it out, is for TCP alone, which goes on
// whether it has the option or not. So it is on Linux 6.18.
func TestOptionsAreSet(t *testing.T) {
	maxseg := at(exthdrType, 2)
	for _, e := range [][]byte{
		ex("exthdr", u32(exthdrSreg, 1), maxseg, u32(exthdrOffset, 2), u32(exthdrLen, 2), u32(exthdrOp, optionTCP)),
		ex("exthdr", maxseg, u32(exthdrOp, optionTCP)),
	} {
		f := filterOf(t, e)
		if len(f.Unknowns()) > 0 {
			t.Error(f.Unknowns())
		}
		for proto, want := range map[packet.Proto]packet.Outcome{packet.TCP: packet.OutcomeAccept, packet.UDP: packet.OutcomeDrop} {
			if got := f.Decide(packet.Packet{Proto: proto}.Facts()).Outcome; got != want {
				t.Errorf("%v: %v, want %v", proto, got, want)
			}
		}
	}
}

// A write to bytes that a packet may lack ends the rule where it does.
func TestWritesBeyondThePacket(t *testing.T) {
	write := func(base, offset uint32) []byte {
		return ex("payload", u32(payloadSreg, 1), u32(payloadBase, base), u32(payloadOffset, offset), u32(payloadLen, 2))
	}
	if got := filterOf(t, write(baseInner, 6)).Unknowns(); len(got) != 1 {
		t.Errorf("behind the transport header: %v", got)
	}
	if got := filterOf(t, write(baseNetwork, 4)).Unknowns(); len(got) != 0 {
		t.Errorf("in the network header: %v", got)
	}
}

// A change of byte order leaves what is no whole word as it is: nft 1.0.6 writes
// one of a single byte before it looks up a protocol together with a port.
func TestByteorderOfPartsOfWords(t *testing.T) {
	swap := ex("byteorder", u32(byteorderSreg, 1), u32(byteorderDreg, 1), u32(byteorderOp, 1), u32(byteorderLen, 1), u32(byteorderSize, 2))
	f := filterOf(t, loadMeta(keyL4Proto, 1), swap, compareWith(1, 0, byte(packet.TCP)))
	if len(f.Unknowns()) > 0 {
		t.Error(f.Unknowns())
	}
	for proto, want := range map[packet.Proto]packet.Outcome{packet.TCP: packet.OutcomeAccept, packet.UDP: packet.OutcomeDrop} {
		if got := f.Decide(packet.Packet{Proto: proto}.Facts()).Outcome; got != want {
			t.Errorf("%v: %v, want %v", proto, got, want)
		}
	}
}
