package iptables_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
)

// Another program's library sees our jump first, our chains, and after Remove
// nothing of them.
func TestLibraryOfOthersSeesTheChains(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		path, err := exec.LookPath("iptables" + l.infix)
		if err != nil {
			missing(t, "%v", err)
		}
		ipt, err := iptables.New(iptables.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := ipt.Append("filter", "INPUT", "-i", "other0", "-j", "ACCEPT"); err != nil {
			t.Fatal(err)
		}
		l.apply(l.policy("[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"203.0.113.7\"]\n"))
		input, err := ipt.List("filter", "INPUT")
		if err != nil || len(input) != 3 || !strings.Contains(input[1], "-j FWCTL-INPUT") || !strings.Contains(input[2], "other0") {
			t.Errorf("INPUT: %q, %v", input, err)
		}
		if ours, err := ipt.ChainExists("filter", "FWCTL-INPUT"); err != nil || !ours {
			t.Errorf("FWCTL-INPUT: %v, %v", ours, err)
		}
		if _, err := l.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		chains, err := ipt.ListChains("filter")
		if err != nil || strings.Contains(strings.Join(chains, " "), "FWCTL") {
			t.Errorf("left behind: %q, %v", chains, err)
		}
	})
}
