package pf_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// Files that others wrote are read whole, but for what pfctl refuses too, and have a
// meaning without anything that is not understood.
func TestCorpus(t *testing.T) {
	refused := []string{ // a rule with icmp-type that does not say its family
		"PacketFilterTest.testIcmpTypes.stdout.ref", "PacketFilterTest.testIcmpv6Types.stdout.ref",
		"PacketFilterTest.testMultipleHeader.stdout.ref", // `inet6 proto { icmp }`
	}
	rules := 0
	for _, name := range gen.CorpusFiles(t, "aerleon/packetfilter/*", "aerleon/demo/*.pf.ref") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c := pf.Parse(string(text), pf.FreeBSDOld)
		if bad := slices.Contains(refused, filepath.Base(name)); bad != (len(c.Problems) > 0) {
			t.Errorf("%s: %v", name, c.Problems)
		}
		for _, l := range c.Lines {
			if _, ok := l.(*pf.Rule); ok {
				rules++
			}
		}
		for _, is6 := range []bool{false, true} {
			f := pf.Filter(c, packet.Input, is6, pf.Options{})
			for key, unsupported := range f.Unknowns() {
				if unsupported && len(c.Problems) == 0 {
					t.Errorf("%s: not understood: %s", name, key)
				}
			}
		}
	}
	if rules < 30 {
		t.Errorf("only %d rules", rules)
	}
}
