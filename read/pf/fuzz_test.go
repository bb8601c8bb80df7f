package pf_test

import (
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// Whatever the text is, it is read to the end, what is printed reads the same, and
// its meaning can be asked for.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 24))
	for i := range 40 {
		d := &draw{Rand: r, dialect: dialects[i%len(dialects)]}
		f.Add(d.file(), uint8(i%len(dialects)))
	}
	f.Add("a=\"$a\"\n$a", uint8(0))
	f.Add("anchor \"x\" {\nanchor {\n}}\n", uint8(1))
	f.Add("table <t> file \"x\" { 10/8 ! em0:network }\nset limit { states 1, frags 2 }\n", uint8(2))
	f.Add("pass out route-to (em0 10.0.0.1) inet all set (prio 3, queue q) scrub (max-mss 1)\n", uint8(0))
	f.Add("rdr proto tcp all -> 0.0.0.0%em0\n", uint8(2))
	f.Fuzz(func(t *testing.T, text string, dialect uint8) {
		if len(text) > 4000 {
			return // time for many texts rather than for one
		}
		d := dialects[int(dialect)%len(dialects)]
		c := pf.Parse(text, d)
		c.Lint()
		printed := c.Print()
		again := pf.Parse(printed, d)
		if len(c.Problems) == 0 && (len(again.Problems) > 0 || again.Print() != printed) {
			t.Fatalf("%q prints as %q, and that as %q: %v", text, printed, again.Print(), again.Problems)
		}
		fl := pf.Filter(c, packet.Forward, dialect%2 == 0, pf.Options{Links: links, Groups: groups})
		p := packet.Packet{Hook: packet.Forward, In: "em0", Out: "em1", Proto: packet.TCP}
		p.Src, p.Dst = links[0].Addrs[0].Addr(), links[1].Addrs[0].Addr()
		fl.Decide(p.Facts())
	})
}
