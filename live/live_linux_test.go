package live_test

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/fwctl/fwctl/live"
)

// inNamespace runs the test in an unnamed network namespace of its own, which
// the kernel removes with the thread.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the runtime then ends the thread, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
}

func run(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func look(t *testing.T) *live.Survey {
	t.Helper()
	s, err := live.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Unread) > 0 {
		t.Errorf("unread: %q", s.Unread)
	}
	return s
}

func TestLookAtEmptyHost(t *testing.T) {
	inNamespace(t)
	s := look(t)
	if !s.NFTables || len(s.Tables) > 0 || s.IPTablesInUse() || len(s.Translations) > 0 {
		t.Errorf("an empty namespace reads as %+v", s)
	}
}

func TestLookNamesForeignTables(t *testing.T) {
	inNamespace(t)
	run(t, `nft 'table inet filter { chain input { type filter hook input priority 0; }; }
		table inet fwctl { chain input { type filter hook input priority 0; }; }
		table inet f2b-table { chain f2b-chain { type filter hook input priority -1; }; }'`)
	s := look(t)
	if want := []string{"inet f2b-table", "inet filter"}; !slices.Equal(s.Tables, want) {
		t.Errorf("tables %q, want %q", s.Tables, want)
	}
	if len(s.Managers) != 1 || s.Managers[0].Name != "fail2ban" {
		t.Errorf("managers %+v, want fail2ban", s.Managers)
	}
}

// A program that was stopped has no say, whatever chains it leaves empty.
func TestLookPassesOverEmptyChains(t *testing.T) {
	for rules, want := range map[string]int{"": 0, "; iptables-nft -A ufw-user-input -p tcp --dport 22 -j ACCEPT": 1} {
		inNamespace(t)
		run(t, "iptables-nft -N ufw-user-input; iptables-nft -A INPUT -j ufw-user-input"+rules)
		if s := look(t); len(s.Managers) != want {
			t.Errorf("managers %+v, want %d", s.Managers, want)
		}
	}
}

// Every way in which a host's rules translate a port is listed, by whichever
// program it was made.
func TestLookListsTranslations(t *testing.T) {
	tests := map[string]struct {
		rules string
		want  []string
	}{
		"iptables-nft": {
			`iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
			iptables-nft -t nat -A OUTPUT -p tcp --dport 9 -j DNAT --to-destination 172.17.0.2:80
			iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE`,
			[]string{"8080/tcp (table ip nat, chain PREROUTING)"},
		},
		"iptables-legacy": {
			`iptables-legacy -t nat -N DOCKER
			iptables-legacy -t nat -A DOCKER -p udp --dport 53:54 -j REDIRECT --to-ports 1053`,
			[]string{"53-54/udp (legacy table ip nat, chain DOCKER)"},
		},
		"nft": {
			`nft 'table inet n { chain pre { type nat hook prerouting priority -100; tcp dport 8443 redirect to :443; }; }'`,
			[]string{"8443/tcp (table inet n, chain pre)"},
		},
		"nft map": {
			`nft 'table ip n { chain pre { type nat hook prerouting priority -100; dnat to tcp dport map { 80 : 10.0.0.2, 81 : 10.0.0.3 }; }; }'`,
			[]string{"tcp (table ip n, chain pre)"},
		},
		"source only": {
			`nft 'table ip n { chain post { type nat hook postrouting priority 100; masquerade; }; }'`,
			nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			run(t, tt.rules)
			var got []string
			for _, tr := range look(t).Translations {
				got = append(got, tr.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("translations %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLookSeesIPTablesInUse(t *testing.T) {
	tests := map[string]struct {
		rules string
		modes []string // of the variants in use
	}{
		"foreign rule":     {"iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT", []string{"nf_tables"}},
		"only listed":      {"iptables-nft -L; iptables-legacy -L", nil},
		"only fwctl's":     {"iptables-nft -N FWCTL-INPUT; iptables-nft -A INPUT -j FWCTL-INPUT; iptables-nft -A FWCTL-INPUT -p tcp -j DROP", nil},
		"legacy":           {"iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT", []string{"legacy"}},
		"legacy, fwctl's":  {"iptables-legacy -N FWCTL-INPUT; iptables-legacy -A INPUT -j FWCTL-INPUT", nil},
		"nft's own filter": {"nft 'table ip filter { chain input { type filter hook input priority 0; tcp dport 22 accept; }; }'", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			run(t, tt.rules+" >/dev/null")
			var modes []string
			for _, v := range look(t).IPTables {
				if v.InUse {
					modes = append(modes, v.Mode)
				}
			}
			if !slices.Equal(modes, tt.modes) {
				t.Errorf("in use: %q, want %q", modes, tt.modes)
			}
		})
	}
}

func TestFactsOfANamespace(t *testing.T) {
	inNamespace(t)
	run(t, `ip link set lo up
		ip link add eth1 type veth peer name eth0
		ip address add 192.0.2.10/24 dev eth0
		ip address add 2001:db8::10/64 dev eth0 nodad`)
	h, err := live.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range h.Interfaces {
		for _, a := range i.Addrs {
			got = append(got, i.Name+" "+a.String())
		}
	}
	want := "eth0 192.0.2.10/24, eth0 2001:db8::10/64, lo 127.0.0.1/8, lo ::1/128"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("addresses %s, want %s", s, want)
	}
}
