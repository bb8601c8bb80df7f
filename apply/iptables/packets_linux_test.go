package iptables_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apply "github.com/fwctl/fwctl/apply/iptables"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	render "github.com/fwctl/fwctl/render/iptables"
)

// manyServices are so many plain services that they share one set, beside one
// that is not plain.
func manyServices() string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range 100 {
		from := []string{`"any"`, `"192.0.2.0/26"`, `"2001:db8:1::/48", "198.51.100.7"`, `"10.0.0.0/8", "fe80::/10"`}[i%4]
		fmt.Fprintf(&b, "[service.plain%d]\nports = [\"%d/tcp\", \"%d-%d/udp\", \"%d/sctp\"]\nfrom = [%s]\nshared = true\n", i, i+1, 100+i, 101+i, 7*i+1, from)
	}
	b.WriteString("[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\nin = [\"eth1\"]\nshared = true\n")
	return b.String()
}

// manySources has groups that are long enough for sets, and the longest without.
func manySources() string {
	var list []string
	for i := range 40 {
		list = append(list, fmt.Sprintf(`"198.51.100.%d", "2001:db8:1:%x::/64", "10.%d.0.0/16"`, 2*i, 2*i, 2*i))
	}
	return "version = 1\n[group.many]\naddresses = [" + strings.Join(list, ", ") + "]\n" + `
[service.web]
ports = ["80/tcp", "443/udp"]
from  = ["many"]
[service.here]
ports = ["25/tcp"]
from  = ["many"]
to    = ["192.0.2.10", "192.0.2.11", "2001:db8:1::10", "224.0.0.251", "ff02::1", "192.0.2.255"]
[block.some]
from  = ["many"]
ports = ["53/udp"]
[service.names]
ports = ["53/udp"]
from  = ["any"]
`
}

// The kernel does what the policy means, also where services or sources are too
// many for a rule each, and where there is no ipset for them.
func TestKernelAgreesOnMany(t *testing.T) {
	for name, text := range map[string]string{"services": manyServices(), "sources": manySources()} {
		for _, opt := range []apply.Options{
			{Variant: apply.NFT}, {Variant: apply.Legacy}, {Variant: apply.NFT, NoIPSet: true}, {Variant: apply.Legacy, NoIPSet: true},
		} {
			t.Run(fmt.Sprintf("%s,%s,noipset=%v", name, opt.Variant, opt.NoIPSet), func(t *testing.T) { tryPackets(t, text, opt) })
		}
	}
}

func tryPackets(t *testing.T, text string, opt apply.Options) {
	host := gen.Host()
	lab := netlab.New(t, host)
	rs, problems := gen.Load(text, host)
	if rs == nil {
		t.Fatal(problems)
	}
	if err := lab.Do(func() error {
		c, err := apply.Open(context.Background(), opt)
		if err != nil {
			return err
		}
		p, problems := render.Render(rs, render.Options{IPSet: c.IPSet})
		if problems.Err() != nil {
			return problems
		}
		if (len(p.Sets) > 0) == opt.NoIPSet {
			t.Errorf("%d sets", len(p.Sets))
		}
		_, err = c.Apply(context.Background(), p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	packets := gen.Packets(rs, rand.New(rand.NewPCG(9, 9)), 2000)
	got, err := lab.Probe(packets)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i, p := range packets {
		want := rs.Decide(p, time.Now())
		if want.Rule != nil {
			accepted++
		}
		if got[i] != want.Verdict {
			t.Errorf("%s: the kernel says %s, expected %+v", p, got[i], want)
		}
	}
	t.Logf("%d packets, %d decided by a rule of the policy", len(packets), accepted)
}
