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
