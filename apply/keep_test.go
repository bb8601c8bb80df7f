package apply

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// testHost is a host with one address of each family on eth0.
func testHost() *rules.Host {
	return &rules.Host{
		OS: "linux", TimeZone: "UTC",
		Interfaces: []rules.Interface{
			{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64")}},
			{Name: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/8")}},
		},
	}
}

func resolved(t *testing.T, text string) *rules.Ruleset {
	t.Helper()
	p, ps := rules.Load(fstest.MapFS{"p.toml": {Data: []byte(text)}}, "p.toml", rules.LoadOptions{})
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	rs, ps := rules.Resolve(p, testHost())
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return rs
}

// The kept set lets in what the kept services let in, by the same addresses and
// interfaces, and nothing of the others.
func TestKeepPolicyMeansTheKeptServices(t *testing.T) {
	rs := resolved(t, `version = 1
[safety]
keep = ["ssh", "vpn"]
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48", "192.0.2.200-192.0.2.220"]
[group.mgmt]
interfaces = ["eth1", "wg*"]
addresses = ["10.0.0.0/8"]
[service.ssh]
ports = ["22/tcp", "2222-2224/tcp"]
from = ["office", "mgmt", "203.0.113.7"]
to = ["host"]
[service.vpn]
ports = ["51820/udp"]
protocols = ["gre"]
from = ["any"]
in = ["eth0"]
limit = "10/minute"
expires = 2099-12-31
[service.web]
ports = ["80/tcp"]
from = ["any"]
[defaults]
published = "ignore"
`)
	s, err := keepBundle(rs, testHost()).encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := decodeBundle("keep", s)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := b.ruleset()
	if err != nil {
		t.Fatalf("%v\n%s", err, keepPolicy(rs))
	}
	tests := map[packet.Verdict][]string{
		packet.Accept: {
			"in eth0 tcp 198.51.100.9 -> 192.0.2.10:22",
			"in eth0 tcp 192.0.2.220 -> 192.0.2.10:2224",
			"in eth0 tcp [2001:db8:1::9] -> [2001:db8::10]:22",
			"in eth1 tcp 10.1.1.1 -> 10.0.0.10:22",
			"in wg7 tcp 10.1.1.1 -> 10.0.0.10:22",
			"in eth0 tcp 203.0.113.7 -> 192.0.2.10:22",
			"in eth0 udp 203.0.113.9 -> 192.0.2.10:51820",
			"in eth0 gre 203.0.113.9 -> 192.0.2.10",
			"in eth0 tcp 203.0.113.9 -> 192.0.2.10:9 established",
			"in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-request",
		},
		packet.Drop: {
			"in eth0 tcp 10.1.1.1 -> 192.0.2.10:22",
			"in eth0 tcp 203.0.113.9 -> 192.0.2.10:22",
			"in eth0 tcp 198.51.100.9 -> 192.0.2.11:22",
			"in eth0 tcp 198.51.100.9 -> 192.0.2.10:2225",
			"in eth1 udp 203.0.113.9 -> 192.0.2.10:51820",
			"in eth0 tcp 203.0.113.9 -> 192.0.2.10:80",
		},
	}
	for want, packets := range tests {
		for _, text := range packets {
			p, err := packet.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if d := kept.Decide(p, time.Now()); d.Verdict != want {
				t.Errorf("%s: %v by %s, want %v\n%s", text, d.Verdict, d.Reason, want, keepPolicy(rs))
			}
		}
	}
	for _, r := range kept.Services {
		if r.Name == "vpn" && (r.Limit.Count != 10 || r.Limit.Per != time.Minute || r.Expires.Year() != 2100) {
			t.Errorf("limit %v, expires %v", r.Limit, r.Expires)
		}
	}
}

// Without [safety] the service called ssh is kept.
func TestKeepPolicyWithoutSafetyKeepsSSH(t *testing.T) {
	text := string(keepPolicy(resolved(t, "version = 1\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.web]\nports = [\"80/tcp\"]\nfrom = [\"any\"]\n")))
	if !strings.Contains(text, "[service.ssh]") || strings.Contains(text, "web") {
		t.Errorf("kept:\n%s", text)
	}
}

func TestBundleRoundTrip(t *testing.T) {
	b := Bundle{
		Manifest: Manifest{Policy: "/etc/fwctl/policy.toml", Backend: NFTables, User: "alice (sudo)"},
		Host:     testHost(),
		Sources: []rules.Source{
			{Path: "etc/fwctl/policy.toml", Data: []byte("version = 1\ninclude = [\"conf.d/*.toml\"]\n")},
			{Path: "etc/fwctl/conf.d/ssh.toml", Kind: rules.IncludeSource, Data: []byte("[service.ssh]\nprofile = \"ssh\"\nfrom = [\"any\"]\n")},
			{Path: "ssh.toml", Kind: rules.BuiltinSource, Data: []byte("product = \"OpenSSH\"\nversions = \"any\"\nsource = \"sshd(8)\"\n[audience.clients]\ndoc = \"clients\"\n[port.ssh]\nports = [\"22/tcp\"]\naudience = \"clients\"\n")},
		},
	}
	payload, err := b.encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := decodeBundle("x", payload)
	if err != nil {
		t.Fatal(err)
	}
	if s.Manifest != b.Manifest || len(s.Host.Interfaces) != 2 {
		t.Errorf("read %+v", s)
	}
	rs, err := s.ruleset()
	if err != nil {
		t.Fatal(err)
	}
	if len(rs.Services) != 1 || rs.Services[0].Profile != "ssh" {
		t.Errorf("services %+v", rs.Services)
	}
}

// The digest tells policies apart by content and by path, whatever the order.
func TestDigest(t *testing.T) {
	a := rules.Source{Path: "a", Data: []byte("1")}
	b := rules.Source{Path: "b", Data: []byte("2")}
	if Digest([]rules.Source{a, b}) != Digest([]rules.Source{b, a}) {
		t.Error("the order of reading matters")
	}
	for _, other := range [][]rules.Source{
		{a}, {a, {Path: "b", Data: []byte("3")}}, {a, {Path: "c", Data: []byte("2")}}, {a, {Path: "b", Kind: rules.IncludeSource, Data: []byte("2")}},
	} {
		if Digest(other) == Digest([]rules.Source{a, b}) {
			t.Errorf("%+v has the same digest", other)
		}
	}
}

// The kept set of any policy loads, and lets in just what the policy's services
// let in.
func TestKeepPolicyOfAnyPolicy(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	h := gen.Host()
	for range 100 {
		text := gen.Policy(r, gen.Options{})
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		services := &rules.Ruleset{Services: rs.Services, Host: h}
		for _, s := range rs.Services {
			services.Keep = append(services.Keep, s.Name)
		}
		if len(services.Keep) == 0 {
			continue
		}
		payload, err := keepBundle(services, h).encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := decodeBundle(keepFile, payload)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := b.ruleset()
		if err != nil {
			t.Fatalf("%v\n%s\nof\n%s", err, keepPolicy(services), text)
		}
		for _, p := range gen.Packets(services, r, 200) {
			if p.Hook != packet.Input {
				continue
			}
			if got, want := kept.Decide(p, h.Time), services.Decide(p, h.Time); got.Verdict != want.Verdict {
				t.Fatalf("%v: %v by %s, want %v by %s\n%s\nof\n%s", p, got.Verdict, got.Reason, want.Verdict, want.Reason, keepPolicy(services), text)
			}
		}
	}
}
