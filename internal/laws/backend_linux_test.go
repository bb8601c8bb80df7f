package laws

import (
	"context"
	"fmt"
	"strings"

	applyiptables "github.com/fwctl/fwctl/apply/iptables"
	applynftables "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// backend is a way to put a ruleset into a kernel, in place of the one that it
// put there before.
type backend struct {
	name string
	load func(*netlab.Lab, *rules.Ruleset) error
}

var backends = []backend{
	{"nftables by netlink", byNetlink},
	{"nftables by text", byText},
	{"iptables over nf_tables", byIptables(applyiptables.NFT)},
	{"iptables legacy", byIptables(applyiptables.Legacy)},
}

// byNetlink sends the difference from whatever is there.
func byNetlink(l *netlab.Lab, rs *rules.Ruleset) error {
	prog, problems := nftables.Render(rs)
	if problems.Err() != nil {
		return problems.Err()
	}
	return l.Do(func() error {
		if _, err := applynftables.Apply(context.Background(), prog, nil); err != nil {
			return err
		}
		again, err := applynftables.Apply(context.Background(), prog, nil)
		return idle(again.Changes, err)
	})
}

// idle makes an error of what a second apply of the same program sent.
func idle(changes []string, err error) error {
	if err == nil && len(changes) > 0 {
		return fmt.Errorf("a second apply sends\n%s", strings.Join(changes, "\n"))
	}
	return err
}

// byText loads the text, in a transaction that removes what was there.
func byText(l *netlab.Lab, rs *rules.Ruleset) error {
	prog, problems := nftables.Render(rs)
	if problems.Err() != nil {
		return problems.Err()
	}
	_, err := l.NFT("table inet fwctl\ndelete table inet fwctl\n"+prog.Text(), "-f", "-")
	return err
}

// mostRules is how many rules a policy may make without ipset to be tried so: with
// networks by networks there may be hundreds of thousands, over which the
// programs, not the kernel, take minutes.
const mostRules = 2000

// byIptables sends the difference from whatever is there; every second policy
// without ipset.
func byIptables(variant applyiptables.Variant) func(*netlab.Lab, *rules.Ruleset) error {
	return func(l *netlab.Lab, rs *rules.Ruleset) error {
		noIPSet := len(rs.Services)%2 == 1 && rulesWithoutIPSet(rs) <= mostRules
		return l.Do(func() error {
			ctx := context.Background()
			c, err := applyiptables.Open(ctx, applyiptables.Options{Variant: variant, NoIPSet: noIPSet})
			if err != nil {
				return err
			}
			prog, problems := iptables.Render(rs, iptables.Options{IPSet: c.IPSet})
			if problems.Err() != nil {
				return problems.Err()
			}
			if _, err = c.Apply(ctx, prog); err != nil {
				return err
			}
			return idle(c.Plan(ctx, prog))
		})
	}
}

func rulesWithoutIPSet(rs *rules.Ruleset) int {
	p, _ := iptables.Render(rs, iptables.Options{})
	n := 0
	for _, f := range []*iptables.Family{&p.V4, &p.V6} {
		for _, c := range f.Chains {
			n += len(c.Rules)
		}
	}
	return n
}
