package packet

import (
	"testing"
)

// A set of packets reads like a sentence.
func TestGroups(t *testing.T) {
	num := func(f Field, lo, hi uint64) Cond { return In{f, Ranges{{Number(lo), Number(hi)}}} }
	net := num(FieldSrc, 0x0a000000, 0x0affffff)
	s := NewSpace(false, HostAddrs{}, DefaultBudget, &Filter{Base: []*Chain{{Rules: []Step{{Cond: Iface{Pattern: "eth1"}}}}}})
	for _, c := range []struct {
		cond Cond
		want []string
	}{
		{All{num(FieldProto, 6, 6), num(FieldDstPort, 8000, 8000), net}, []string{"8000/tcp from 10.0.0.0/8"}},
		{All{Any{num(FieldProto, 6, 6), num(FieldProto, 17, 17)}, num(FieldDstPort, 53, 53)}, []string{"53/tcp+udp from any"}},
		{All{num(FieldProto, 1, 1), num(FieldType, 8, 8), net, Iface{Pattern: "eth1"}}, []string{"icmp type 8 from 10.0.0.0/8 in eth1"}},
		{All{num(FieldProto, 112, 112), num(FieldDst, 0xe0000012, 0xe0000012)}, []string{"vrrp from any to 224.0.0.18"}},
		{net, []string{"any protocol from 10.0.0.0/8"}},
		{All{num(FieldProto, 6, 6), Any{All{num(FieldDstPort, 22, 22), net}, num(FieldDstPort, 80, 81)}},
			[]string{"80-81/tcp from any", "22/tcp from 10.0.0.0/8"}},
	} {
		set, err := s.Set(c.cond)
		if err != nil {
			t.Fatal(err)
		}
		groups, more, err := s.Groups(set, 10)
		if err != nil || more {
			t.Fatal(err, more)
		}
		var got []string
		for _, g := range groups {
			got = append(got, g.String())
		}
		if len(got) != len(c.want) {
			t.Errorf("%q, want %q", got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%q, want %q", got[i], c.want[i])
			}
		}
	}
}
