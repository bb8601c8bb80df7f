package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/beside"
)

// What reloads an unchanged policy that opens a port and closes all others, by other
// programs: the script that sets it up, and the reload.
var othersReload = []struct{ name, setUp, reload string }{
	{"ufw", "ufw --force enable; ufw default deny incoming; ufw allow 22/tcp", "ufw reload"},
	{
		"firewalld", `mkdir -p /run/dbus; dbus-daemon --system --fork; firewalld --nopid
for try in $(seq 100); do firewall-cmd --state && break; sleep 0.1; done
firewall-cmd -q --permanent --zone=public --add-service=ssh; firewall-cmd -q --reload`, "firewall-cmd -q --reload",
	},
	{
		"ferm", `cat >/etc/ferm/ferm.conf <<'FERM'
domain (ip ip6) table filter {
  chain INPUT {
    policy DROP;
    mod state state (ESTABLISHED RELATED) ACCEPT;
    interface lo ACCEPT;
    proto tcp dport 22 ACCEPT;
  }
  chain OUTPUT policy ACCEPT;
  chain FORWARD policy DROP;
}
FERM
ferm /etc/ferm/ferm.conf`, "ferm /etc/ferm/ferm.conf",
	},
}

// othersReloads is how often each of them reloads, othersTime how long it is watched.
const (
	othersReloads = 5
	othersTime    = 40 * time.Second
)

// The prober of TestReloads, held against other programs: a table for the README.
// Nothing is asked of them; what fwctl does beside them has to be right.
func TestReloadsOfOthers(t *testing.T) {
	if os.Getenv("FWCTL_ROOT") == "" {
		t.Skip("needs other managers: make bench-reload")
	}
	fmt.Println("| program | reloads | closed port: packets that got in | closed port: connections that got in | open port: connections that failed |")
	fmt.Println("|---|---|---|---|---|")
	for _, o := range othersReload {
		b := bare(t, boxBackend{o.name, "true", "true", "true"})
		script := fmt.Sprintf("%s\n( for i in $(seq %d); do sleep 3; %s; done ) >/dev/null 2>&1 &\n", o.setUp, othersReloads, o.reload)
		beside.Enter(t, b.do, script, nil)
		p := newProber(b)
		time.Sleep(othersTime)
		p.end()
		p.row(o.name, othersReloads)
	}
	for _, backend := range []boxBackend{{"nftables", "true", "true", "true"}, {"iptables over nf_tables", "true", "true", "true"}} {
		b := bare(t, backend)
		policy := b.write("0.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n"+reloads[0])
		b.want(0, "apply", "--no-confirm", policy)
		p := newProber(b)
		for range othersReloads {
			time.Sleep(3 * time.Second)
			_ = os.Remove(filepath.Join(b.dir, "run", "applied.json"))
			b.want(0, "apply", "--no-confirm", policy)
		}
		for _, wrong := range p.end() {
			t.Error(wrong)
		}
		p.row("fwctl, "+backend.name, othersReloads)
	}
}

// row prints what the prober saw.
func (p *prober) row(name string, reloads int) {
	fmt.Printf("| %s | %d | %d of %d | %d of %d | %d of %d |\n", name, reloads,
		p.gotIn, p.flooded.Load(), p.wrong[1].Load(), p.tried[1].Load(), p.wrong[0].Load(), p.tried[0].Load())
}
