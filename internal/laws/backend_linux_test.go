package laws

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	applyiptables "github.com/fwctl/fwctl/apply/iptables"
	applynftables "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// backend is a way to put a ruleset into a kernel, in place of the one that it
// put there before. It returns errUnsupported, wrapped, for what it says that it
// cannot express.
type backend struct {
	name string
	load func(*netlab.Lab, *rules.Ruleset) error
}

var backends = []backend{
	{"nftables by netlink", byNetlink},
	{"nftables by text", byText},
	{"iptables over nf_tables", func(l *netlab.Lab, rs *rules.Ruleset) error { return byIptables(l, rs, applyiptables.NFT) }},
	{"iptables legacy", func(l *netlab.Lab, rs *rules.Ruleset) error { return byIptables(l, rs, applyiptables.Legacy) }},
}

// unsupported are the problems for which a backend refuses a policy.
type unsupported struct{ problems rules.Problems }

func (u unsupported) Error() string { return "not supported: " + u.problems.Error() }

// byNetlink sends the difference from whatever is there.
func byNetlink(l *netlab.Lab, rs *rules.Ruleset) error {
	prog, problems := nftables.Render(rs)
	if problems.Err() != nil {
		return unsupported{problems.Of(rules.Error)}
	}
	return l.Do(func() error {
		_, err := applynftables.Apply(context.Background(), prog, nil)
		return err
	})
}

// byText loads the text, in a transaction that removes what was there.
func byText(l *netlab.Lab, rs *rules.Ruleset) error {
	prog, problems := nftables.Render(rs)
	if problems.Err() != nil {
		return unsupported{problems.Of(rules.Error)}
	}
	_, err := nft(l, "table inet fwctl\ndelete table inet fwctl\n"+prog.Text(), "-f", "-")
	return err
}

func byIptables(l *netlab.Lab, rs *rules.Ruleset, variant applyiptables.Variant) error {
	ctx := context.Background()
	return l.Do(func() error {
		c, err := applyiptables.Open(ctx, applyiptables.Options{Variant: variant})
		if err != nil {
			return err
		}
		prog, problems := iptables.Render(rs, iptables.Options{IPSet: c.IPSet})
		if problems.Err() != nil {
			return unsupported{problems.Of(rules.Error)}
		}
		_, err = c.Apply(ctx, prog)
		return err
	})
}

func nft(l *netlab.Lab, stdin string, args ...string) (string, error) {
	var out []byte
	err := l.Do(func() (err error) {
		cmd := exec.Command("nft", args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("nft %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
