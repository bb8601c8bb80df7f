package live_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/live"
)

const (
	webID = "4f1c0a6e2b7d9c835f1e4a7b0c3d6e9f8a2b5c7d1e0f3a6b9c8d7e4f2a1b0c3d"
	dbID  = "00aa11bb22cc33dd44ee55ff66aa77bb88cc99dd00ee11ff22aa33bb44cc55dd"
)

const dockersIPTables = ` <<'EOF'
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-A DOCKER -d 192.0.2.10/32 ! -i docker0 -p udp -m udp --dport 5353 -j DNAT --to-destination 172.17.0.3:53
-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 172.17.0.3:9000
COMMIT
EOF
`

var dockersPorts = []string{
	"0.0.0.0:8080/tcp -> 172.17.0.2:80 (docker container web)", "192.0.2.10:5353/udp -> 172.17.0.3:53", "127.0.0.1:9000/tcp -> 172.17.0.3:9000",
}

// Ports that engines publish are read out of rules in the forms that the engines give
// them, shortened.
var publishedTests = []struct {
	name, rules string
	want        []string
}{
	{"Docker, iptables-nft", "iptables-nft-restore" + dockersIPTables, dockersPorts},
	{"Docker, iptables-legacy", "iptables-legacy-restore" + dockersIPTables, dockersPorts},
	{
		"Docker, ip6tables", `ip6tables-nft -t nat -N DOCKER
			ip6tables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
			ip6tables-nft -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination '[fd00::2]:80'`,
		[]string{"[::]:8080/tcp -> [fd00::2]:80 (docker container web)"},
	},
	{
		"Docker, nftables", `nft -f - <<'EOF'
table ip docker-bridges {
	chain nat-postrouting-out__bridge1 { oifname != "bridge1" ip saddr 172.17.0.0/16 counter masquerade comment "MASQUERADE"; }
	map nat-postrouting-out-jumps { type ifname : verdict; elements = { "bridge1" : jump nat-postrouting-out__bridge1 }; }
	chain nat-prerouting-and-output {
		iifname != "bridge1" tcp dport 8080 counter dnat to 172.17.0.2:80 comment "DNAT"
		ip daddr 192.0.2.10 iifname != "bridge1" udp dport 53 counter dnat to 172.17.0.9:53 comment "DNAT"
	}
	chain nat-PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local counter jump nat-prerouting-and-output; }
	chain nat-OUTPUT { type nat hook output priority -100; policy accept; ip daddr != 127.0.0.0/8 fib daddr type local counter jump nat-prerouting-and-output; }
	chain nat-POSTROUTING { type nat hook postrouting priority srcnat; policy accept; iifname vmap @nat-postrouting-out-jumps; }
}
EOF`, []string{"0.0.0.0:8080/tcp -> 172.17.0.2:80 (docker container web)", "192.0.2.10:53/udp -> 172.17.0.9:53"},
	},
	{
		"Podman, nftables", `nft -f - <<'EOF'
table inet netavark {
	chain NETAVARK-HOSTPORT-SETMARK { meta mark set meta mark | 0x00002000; }
	chain nv_2f259bab_10_88_0_0_nm16_dnat {
		ip saddr 10.88.0.0/16 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
		ip saddr 127.0.0.1 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
		tcp dport 8080 dnat ip to 10.88.0.6:80
		ip daddr 127.0.0.1 tcp dport 8083 dnat ip to 10.88.0.92:8083
		tcp dport 7000-7002 dnat ip to 10.88.0.6
	}
	chain NETAVARK-HOSTPORT-DNAT {
		tcp dport 8080 jump nv_2f259bab_10_88_0_0_nm16_dnat
		ip daddr 127.0.0.1 tcp dport 8083 jump nv_2f259bab_10_88_0_0_nm16_dnat
		tcp dport 7000-7002 jump nv_2f259bab_10_88_0_0_nm16_dnat
	}
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
	chain OUTPUT { type nat hook output priority -100; policy accept; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
}
EOF`, []string{
			"0.0.0.0:8080/tcp -> 10.88.0.6:80 (podman container db)", "127.0.0.1:8083/tcp -> 10.88.0.92:8083",
			"0.0.0.0:7000-7002/tcp -> 10.88.0.6 (podman container db)",
		},
	},
	{
		"Podman, iptables", `iptables-nft-restore <<'EOF'
*nat
:NETAVARK-HOSTPORT-DNAT - [0:0]
:NETAVARK-DN-1D8721804F16F - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8443 -m comment --comment "dnat name: podman id: ` + dbID + `" -j NETAVARK-DN-1D8721804F16F
-A NETAVARK-DN-1D8721804F16F -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.88.0.7:443
COMMIT
EOF
`, []string{"0.0.0.0:8443/tcp -> 10.88.0.7:443 (podman container db)"},
	},
	{
		"a map", `nft 'table ip n { chain pre { type nat hook prerouting priority -100; dnat to tcp dport map { 80 : 10.0.0.2, 81 : 10.0.0.3 }; }; }'`,
		[]string{"0.0.0.0:80/tcp -> 10.0.0.2", "0.0.0.0:81/tcp -> 10.0.0.3"},
	},
	{
		"one of several", `nft 'table ip n { chain pre { type nat hook prerouting priority -100; udp dport { 80, 82 } dnat to 10.0.0.4-10.0.0.9:53; }; }'`,
		[]string{"0.0.0.0:80,82/udp -> several"},
	},
	{"not the host's own", `nft 'table ip n { chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.0.0.4:6443; }; }'`, nil},
	{"to the host", `nft 'table ip n { chain pre { type nat hook prerouting priority -100; tcp dport 8443 redirect to :443; }; }'`, nil},
	{"for the host's own packets", `nft 'table ip n { chain out { type nat hook output priority -100; tcp dport 8443 dnat to 10.0.0.4:443; }; }'`, nil},
	{"nothing", "true", nil},
}

// Packets that come by the port of a bridge come by the bridge.
func TestLinkNames(t *testing.T) {
	inNamespace(t)
	run(t, "ip link add br0 type bridge; ip link add e0 type veth peer name e1; ip link set e0 master br0")
	h, err := live.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := h.LinkNames(); !slices.Equal(got, []string{"br0", "e1", "lo"}) {
		t.Errorf("%q", got)
	}
}

// Links that take packets for loopback addresses are known, whether one is told to or all.
func TestLocalnet(t *testing.T) {
	for set, want := range map[string][]string{"": nil, "e.0": {"e.0"}, "all": {"br0", "e.0", "e1"}} {
		inNamespace(t)
		run(t, "ip link add br0 type bridge; ip link add e.0 type veth peer name e1; ip link add p0 type veth peer name p1; ip link set p0 master br0; ip link set p1 master br0")
		if set != "" {
			run(t, "echo 1 >/proc/sys/net/ipv4/conf/"+set+"/route_localnet")
		}
		h, err := live.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(h.Localnet, want) {
			t.Errorf("set for %q: %q", set, h.Localnet)
		}
	}
}

// Ports that lead to others of the host itself are listed apart.
func TestRedirected(t *testing.T) {
	inNamespace(t)
	run(t, `ip link set lo up; ip link add e0 type veth peer name e1; ip addr add 192.0.2.10/24 dev e0; ip link set e0 up; ip addr add 198.51.100.1/24 dev e1; ip link set e1 up
		iptables-nft -t nat -A PREROUTING -p tcp --dport 8444 -j REDIRECT --to-ports 22
		iptables-nft -t nat -A PREROUTING -d 192.0.2.10 -p tcp --dport 8445 -j DNAT --to-destination 198.51.100.1:80
		iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
		nft 'table ip6 n { chain pre { type nat hook prerouting priority -100; udp dport 53 redirect to :5353; }; }'`)
	h, err := live.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range live.Redirected(h) {
		got = append(got, p.String())
	}
	want := []string{"0.0.0.0:8444/tcp -> port 22 of this host", "192.0.2.10:8445/tcp -> port 80 of this host", "[::]:53/udp -> port 5353 of this host"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q; unread %q", got, want, h.Unread)
	}
	if ps := live.Published(h, nil); len(ps) != 1 || ps[0].Own {
		t.Errorf("published: %v", ps)
	}
}

func TestPublished(t *testing.T) {
	running := []live.Running{
		{Container: live.Container{Engine: "docker", ID: webID, Name: "web"}, Addrs: []netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00::2")}},
		{Container: live.Container{Engine: "podman", ID: dbID, Name: "db"}, Addrs: []netip.Addr{netip.MustParseAddr("10.88.0.6")}},
	}
	for _, tt := range publishedTests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			run(t, "ip link set lo up; ip link add e0 type veth peer name e1; ip addr add 192.0.2.10/24 dev e0; ip link set e0 up\n"+tt.rules)
			h, err := live.Rules(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range live.Published(h, running) {
				got = append(got, p.String())
				if p.Place.Source == "" {
					t.Errorf("%v has no place", p)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q\nwant %q; unread %q", got, tt.want, h.Unread)
			}
		})
	}
}
