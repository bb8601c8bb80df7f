package nftables_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	apply "github.com/fwctl/fwctl/apply/nftables"
	render "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// namespace moves the test's thread into a network namespace of its own, which
// ends with the thread.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
}

func program(t *testing.T, policy string) *render.Program {
	t.Helper()
	return resolved(t, must(rules.Load(fstest.MapFS{"policy.toml": {Data: []byte(policy)}}, "policy.toml", rules.LoadOptions{}))(t))
}

func must(p *rules.Policy, ps rules.Problems) func(*testing.T) *rules.Policy {
	return func(t *testing.T) *rules.Policy {
		t.Helper()
		if err := ps.Err(); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func resolved(t *testing.T, p *rules.Policy) *render.Program {
	t.Helper()
	rs, ps := rules.Resolve(p, &rules.Host{Time: time.Now(), TimeZone: "UTC"})
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	prog, ps := render.Render(rs)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return prog
}

func nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func mustApply(t *testing.T, p *render.Program) []string {
	t.Helper()
	sent, err := apply.Apply(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sent.Changes
}

const full = `version = 1
[defaults]
inbound = "reject"
outbound = "drop"
routed = "drop"
icmp = "all"
log = "denied"
[safety]
keep = ["ssh"]
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48", "192.0.2.200-192.0.2.220"]
[group.mgmt]
interfaces = ["eth1", "wg*"]
addresses = ["10.20.0.0/16"]
[service.ssh]
ports = ["22/tcp"]
from = ["office", "mgmt"]
shared = true
[service.ssh-world]
ports = ["22/tcp"]
from = ["any"]
limit = "10/minute"
shared = true
log = true
[service.web]
ports = ["80/tcp", "443/tcp", "8000-8010/tcp"]
from = ["any"]
[service.db]
ports = ["5432/tcp"]
from = ["203.0.113.10", "203.0.113.128/25", "2001:db8:7::/64", "office"]
[service.manager]
ports = ["53333/tcp"]
to = ["10.20.0.5"]
from = ["mgmt"]
[service.mdns]
ports = ["5353/udp"]
to = ["224.0.0.251", "ff02::fb"]
in = ["eth1"]
from = ["private"]
[service.vrrp]
protocols = ["vrrp"]
to = ["224.0.0.18"]
from = ["mgmt"]
[service.dhcp]
ports = ["67/udp"]
source_ports = ["68/udp"]
from = ["any"]
[service.migration]
ports = ["9000-9010/tcp"]
from = ["198.51.100.7"]
expires = 2027-03-31
[block.scanners]
from = ["203.0.113.128/25"]
[block.smtp]
from = ["any"]
ports = ["25/tcp"]
[block.metadata]
direction = "outbound"
to = ["169.254.169.254"]
[outbound.dns]
to = ["10.20.0.53"]
ports = ["53/udp", "53/tcp"]
[route.vpn]
from = ["mgmt"]
to = ["10.99.0.0/16"]
ports = ["443/tcp"]
`

// What netlink makes is what `nft -f` makes of the rendered text.
func TestTextAndNetlinkListTheSame(t *testing.T) {
	namespace(t)
	prog := program(t, full)
	if sent := mustApply(t, prog); len(sent) == 0 {
		t.Fatal("nothing was sent to an empty kernel")
	}
	byNetlink := nft(t, "list", "ruleset")
	nft(t, "flush", "ruleset")
	file := t.TempDir() + "/rules.nft"
	if err := os.WriteFile(file, []byte(prog.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	nft(t, "-f", file)
	byText := nft(t, "list", "ruleset")
	if byNetlink != byText {
		t.Errorf("netlink:\n%s\ntext:\n%s", byNetlink, byText)
	}
	if sent := mustApply(t, prog); len(sent) != 0 {
		t.Errorf("after nft -f of the text, apply sends\n%s", strings.Join(sent, "\n"))
	}
}
