package main

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
)

// A published port passes by each firewall that looks at input alone, and the audit says
// so, with a packet; where published ports are enforced it does not, and what is allowed
// gets in.
func TestPublishedPortsBypass(t *testing.T) {
	if os.Getenv("FWCTL_ROOT") == "" {
		t.Skip("needs other managers: make coexist")
	}
	d := newDockerBox(t, boxBackend{"nftables", "true", "true", "true"})
	d.serve("0.0.0.0:2223") // which nobody opens
	ignored := d.write("ignored.toml", strings.Replace(publishedPolicy, "enforce", "ignore", 1))
	d.policy = d.write("enforced.toml", publishedPolicy)
	for _, w := range []struct{ name, set, unset string }{
		{
			"nftables for input",
			"nft 'table inet plain { chain in { type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept; meta l4proto { icmp, ipv6-icmp } accept; tcp dport 2222 accept; }; }'",
			"nft delete table inet plain",
		},
		{"ufw", "ufw default deny incoming && ufw allow 2222/tcp && ufw --force enable", "ufw disable"},
	} {
		if said, ok := d.docker(w.set); !ok {
			d.Fatal(said)
		}
		d.bypassed(w.name, ignored)
		if said, ok := d.docker(w.unset); !ok {
			d.Fatal(said)
		}
	}
	d.want(0, "apply", "--no-confirm", "--backend", "nftables", ignored)
	d.bypassed("fwctl that ignores published ports", ignored)
	d.apply()
	if found := d.exposed(d.policy); len(found) > 0 {
		d.Errorf("enforced, the audit finds %v", found)
	}
	for _, p := range published {
		if got := d.asks(p.from, p.addr); got != p.in {
			d.Errorf("enforced: %s to %s: %v, want %v", p.from, p.addr, got, p.in)
		}
	}
	d.serves("10.77.0.2:9999")
	d.goesOn("enforced")
}

// serves answers at an address of the peer.
func (d *dockerBox) serves(addr string) {
	d.Helper()
	var l net.Listener
	if err := within(d.peer.ns, func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { l.Close() })
	answerAll(l)
}

// bypassed fails unless the firewall keeps nobody from the published ports who should
// not be there, its other port is as it should be, and the audit says so.
func (d *dockerBox) bypassed(when, policy string) {
	d.Helper()
	found := d.exposed(policy)
	for _, door := range []string{"FW101 8081/tcp", "FW102 8080/tcp"} {
		if found[door] == "" {
			d.Errorf("%s: the audit does not say %s, with a packet: %v", when, door, found)
		}
	}
	for _, addr := range []string{"10.77.0.1:8081", "10.77.0.1:8080", "10.77.0.1:2222"} {
		if !d.asks("10.77.0.3", addr) {
			d.Errorf("%s: 10.77.0.3 does not get in to %s", when, addr)
		}
	}
	if d.asks("10.77.0.3", "10.77.0.1:2223") {
		d.Errorf("%s: it lets in to what nobody opened", when)
	}
}

// exposed are the packets of what the audit finds that somebody reaches who should not,
// by code and door.
func (d *dockerBox) exposed(policy string) map[string]string {
	d.Helper()
	_, said := d.run("--json", "audit", policy)
	var r struct {
		Findings []struct{ Code, Door, Packet string }
	}
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		d.Fatalf("%v\n%s", err, said)
	}
	out := map[string]string{}
	for _, f := range r.Findings {
		if f.Code == "FW101" || f.Code == "FW102" {
			out[f.Code+" "+f.Door] = f.Packet
		}
	}
	return out
}
