package packet

import "testing"

// Linux takes 0.0.0.0/8 for broadcast addresses; they count as sources only, for
// nothing is sent there.
func TestThisNetworkIsBroadcast(t *testing.T) {
	h := HostAddrs{Known: true, Local: Ranges{Single(Number(0xc0000201))}, Broadcast: Ranges{Single(Number(0xffffffff))}}
	s := NewSpace(false, h, 1<<16)
	for _, f := range []struct{ addr, kind Field }{{FieldSrc, FieldSrcType}, {FieldDst, FieldDstType}} {
		set, err := s.Set(In{f.kind, kindRanges(AddrBroadcast)})
		if err != nil {
			t.Fatal(err)
		}
		for v, want := range map[uint64]bool{0: f.addr == FieldSrc, 0x00ffffff: f.addr == FieldSrc, 0x01000000: false, 0xc0000201: false, 0xffffffff: true} {
			facts := &Facts{}
			facts.Fields[f.addr] = Number(v)
			facts.SetKinds(h)
			concrete := facts.Fields[f.kind] == Number(uint64(AddrBroadcast))
			if diagram := s.Eval(set, facts) == True; diagram != want || concrete != want {
				t.Errorf("%v %#x: diagram %v, concrete %v, want %v", f.addr, v, diagram, concrete, want)
			}
		}
	}
}
