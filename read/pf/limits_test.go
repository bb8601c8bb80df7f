package pf_test

import (
	"testing"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// A table that rules with several limits fill has a meaning: who is in it is not known.
func TestTableOfSeveralLimits(t *testing.T) {
	const text = `table <crowd> persist
block in quick from <crowd>
pass in proto tcp to port 22 keep state (max-src-conn-rate 4/40, overload <crowd> flush)
pass in proto tcp to port 443 keep state (max-src-conn 90, overload <crowd>) label "web"
`
	for _, d := range []pf.Dialect{pf.OpenBSD, pf.FreeBSD} {
		f := pf.Filter(pf.Parse(text, d), packet.Input, false, pf.Options{})
		if _, asked := f.Unknowns()["the source is in table <crowd>"]; !asked {
			t.Errorf("%v: %v", d, f.Unknowns())
		}
	}
}
