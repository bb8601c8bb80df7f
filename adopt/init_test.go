package adopt

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite the expected policies")

func facts(extra ...rules.Interface) *rules.Host {
	return &rules.Host{
		Name: "web1", OS: "linux", TimeZone: "UTC", Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Interfaces: append([]rules.Interface{
			{Name: "lo", Loopback: true, Addrs: prefixes("127.0.0.1/8", "::1/128")},
			{Name: "eth0", Addrs: prefixes("192.0.2.10/24", "2001:db8:1::10/64", "fe80::10/64")},
			{Name: "eth1", Addrs: prefixes("10.20.0.5/16")},
		}, extra...),
	}
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// listener makes one of "0.0.0.0:22/tcp".
func listener(where, program, user, unit string) live.Listener {
	addr, proto, _ := strings.Cut(where, "/")
	ap := netip.MustParseAddrPort(addr)
	l := live.Listener{Proto: packet.TCP, Addr: ap.Addr(), Port: ap.Port(), User: user, Inode: 7}
	l.Proto, _ = packet.ParseProto(proto)
	if program != "" {
		l.Owners = []live.Owner{{PID: 9, Process: program[:min(15, len(program))], Exe: "/usr/sbin/" + program, Place: live.Place{Unit: unit}}}
	}
	return l
}

func contained(l live.Listener, name string) live.Listener {
	l.Owners[0].Container = live.Container{Engine: "docker", ID: strings.Repeat("ab", 32), Name: name}
	return l
}

func on(link string, l live.Listener) live.Listener {
	l.Interface = link
	return l
}

func conn(local, remote string) live.TCPConnection {
	return live.TCPConnection{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
}

var ephemeralPorts = packet.PortRange{Lo: 32768, Hi: 60999}

func seenServer() *Seen {
	wireguard := live.Listener{Proto: packet.UDP, Addr: netip.MustParseAddr("::"), Port: 51820}
	proxied := listener("[::]:8080/tcp", "docker-proxy", "root", "docker.service")
	proxied.Proxy = live.Proxy{Program: "docker-proxy", To: netip.MustParseAddrPort("172.17.0.2:80"), Container: live.Container{Engine: "docker", ID: "cd", Name: "web"}}
	held := listener("0.0.0.0:8443/tcp", "conmon", "root", "")
	held.Proxy = live.Proxy{Program: "conmon"}
	s := &Seen{
		Facts: facts(rules.Interface{Name: "docker0", Addrs: prefixes("172.17.0.1/16")}, rules.Interface{Name: "br-1f2e", Addrs: prefixes("172.18.0.1/16")},
			rules.Interface{Name: "virbr0", Addrs: prefixes("192.168.122.1/24")}),
		Ephemeral: ephemeralPorts,
		Managers:  []string{"ufw"},
		Notes:     []string{"something that could not be seen"},
		Published: []live.PublishedPort{{Proto: packet.TCP, Ports: packet.Ranges{packet.Single(packet.Number(8080))}, To: netip.MustParseAddr("172.17.0.2"), ToPort: 80}},
		Reach:     live.Reach{Kind: live.ReachConnection, Remote: netip.MustParseAddrPort("203.0.113.9:51234"), Local: netip.MustParseAddrPort("192.0.2.10:22")},
		Listeners: []live.Listener{
			listener("0.0.0.0:22/tcp", "sshd", "root", "ssh.service"), listener("[::]:22/tcp", "sshd", "root", "ssh.service"),
			listener("[::]:80/tcp", "nginx", "root", "nginx.service"), listener("0.0.0.0:443/tcp", "nginx", "root", "nginx.service"),
			listener("0.0.0.0:443/udp", "nginx", "root", "nginx.service"),
			listener("10.20.0.5:5432/tcp", "postgres", "postgres", "postgresql@15-main.service"),
			listener("127.0.0.1:5432/tcp", "postgres", "postgres", "postgresql@15-main.service"),
			listener("0.0.0.0:9100/tcp", "prometheus-node-exporter", "prometheus", "prometheus-node-exporter.service"),
			listener("[::]:8000/tcp", "java", "cromwell", "cromwell.service"),
			contained(listener("0.0.0.0:6379/tcp", "redis-server", "999", "docker-abab.scope"), "cache"),
			proxied, held, wireguard,
			listener("0.0.0.0:68/udp", "dhclient", "root", "networking.service"),
			listener("0.0.0.0:41000/udp", "chronyd", "_chrony", "chrony.service"),
			listener("[fe80::10]:546/udp", "systemd-networkd", "systemd-network", "systemd-networkd.service"),
			listener("192.168.122.1:53/udp", "dnsmasq", "nobody", "libvirtd.service"), listener("192.168.122.1:53/tcp", "dnsmasq", "nobody", "libvirtd.service"),
			on("virbr0", listener("0.0.0.0:67/udp", "dnsmasq", "nobody", "libvirtd.service")),
			listener("0.0.0.0:2049/tcp", "", "", ""),
		},
		Connections: []live.TCPConnection{
			conn("192.0.2.10:22", "203.0.113.9:51234"), conn("10.20.0.5:5432", "10.20.0.7:40000"), conn("10.20.0.5:5432", "10.20.0.8:40000"),
			conn("10.20.0.5:5432", "10.20.0.8:40001"), conn("172.17.0.1:6379", "172.17.0.9:40001"), conn("172.17.0.1:6379", "172.17.0.3:40001"), conn("192.0.2.10:443", "198.51.100.7:1234"), conn("[2001:db8:1::10]:8000", "[2001:db8:1::77]:999"),
			conn("192.0.2.10:55555", "198.51.100.7:443"), conn("127.0.0.1:5432", "127.0.0.1:9999"), conn("192.0.2.10:443", "192.0.2.10:9999"),
		},
	}
	for i := range 20 {
		s.Connections = append(s.Connections, conn("10.20.0.5:9100", fmt.Sprintf("10.20.%d.%d:5000", i/8, i+1)))
	}
	return s
}

// Somebody who is not root sees sockets, but no programs.
func seenByNobody() *Seen {
	return &Seen{
		Facts: facts(), Ephemeral: ephemeralPorts, Notes: []string{"owners of sockets may be missing"},
		Listeners: []live.Listener{
			listener("0.0.0.0:22/tcp", "", "root", ""), listener("[::]:80/tcp", "", "root", ""), listener("0.0.0.0:7001/tcp", "", "app", ""),
			listener("0.0.0.0:45000/udp", "", "app", ""), listener("10.20.0.5:53/udp", "", "root", ""),
		},
	}
}

// A daemon of systemd's sockets, two programs at one port, and an inetd that has
// closed its socket while it serves.
func seenOdd() *Seen {
	s := &Seen{
		Facts: facts(), Ephemeral: ephemeralPorts,
		Reach: live.Reach{Kind: live.ReachConnection, Remote: netip.MustParseAddrPort("[2001:db8:9::9]:51234"), Local: netip.MustParseAddrPort("[2001:db8:1::10]:2222")},
		Listeners: []live.Listener{
			listener("[::]:22/tcp", "systemd", "root", "init.scope"),
			listener("192.0.2.10:443/tcp", "haproxy", "haproxy", "haproxy.service"), listener("10.20.0.5:443/tcp", "sniproxy", "daemon", "sniproxy.service"),
			on("eth1", listener("0.0.0.0:7000/tcp", "one", "a", "")), listener("192.0.2.10:7000/tcp", "two", "b", ""),
			listener("224.0.0.251:5353/udp", "avahi-daemon", "avahi", "avahi-daemon.service"),
			listener("0.0.0.0:9000/tcp", "ev\x1b[2Jil\"] \n[service.x]", "a\"b", "x\ny.service"),
			listener("[fe80::10]:9001/tcp", "Über Prog", "root", ""),
			listener("0.0.0.0:9002/sctp", "100%", "root", ""),
			on("#7", listener("0.0.0.0:9003/tcp", "gone", "root", "")),
		},
		Connections: []live.TCPConnection{conn("10.20.0.5:7000", "10.20.0.9:1000"), conn("192.0.2.10:7000", "192.0.2.9:1000"), conn("[fe80::10]:9001", "[fe80::99]:1000")},
	}
	return s
}

func TestGoldenStarters(t *testing.T) {
	for name, c := range map[string]struct {
		seen *Seen
		use  []string
	}{
		"server": {seen: seenServer()}, "nobody": {seen: seenByNobody()}, "odd": {seen: seenOdd()}, "empty": {seen: &Seen{Facts: facts()}},
		"profiles": {seenServer(), []string{"ssh", "postgresql", "cromwell", "libvirt-guests", "cloudify-manager", "omero"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := started(t, c.seen, c.use)
			path := filepath.Join("testdata", "init", name+".toml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || string(want) != got {
				t.Errorf("%s: not as expected (%v):\n%s", path, err, got)
			}
		})
	}
}

// started writes the policy, and holds it to its promises.
func started(t *testing.T, s *Seen, use []string) string {
	t.Helper()
	st, err := Start(s, Options{Profiles: policies.Profiles(), Use: use})
	if err != nil {
		t.Fatal(err)
	}
	route := func(a netip.Addr) string {
		for _, i := range s.Facts.Interfaces {
			if slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Contains(a) }) {
				return i.Name
			}
		}
		return "eth0"
	}
	refused, ps := st.Refused(s, policies.Profiles(), route)
	if len(refused) > 0 {
		t.Errorf("it refuses %v\n%s", refused, st.Text)
	}
	for _, p := range ps {
		t.Errorf("%s\n%s", p.Text(), st.Text)
	}
	loaded, _ := rules.Load(oneFile(st.Text), policyName, rules.LoadOptions{Profiles: policies.Profiles()})
	rs, _ := rules.Resolve(loaded, s.Facts)
	if rs == nil {
		return st.Text
	}
	for _, p := range rules.Lint(loaded, rs, s.Facts.Time) {
		if p.Severity != rules.Note {
			t.Errorf("%s\n%s", p.Text(), st.Text)
		}
	}
	if n := strings.Count(st.Text, "DECIDE:"); n != st.Decide {
		t.Errorf("%d places are marked, %d counted\n%s", n, st.Decide, st.Text)
	}
	for line := range strings.Lines(st.Text) {
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\r\n") {
			t.Errorf("a line has what is no text: %q", line)
		}
	}
	return st.Text
}

// Every profile can be asked for, alone and beside all others.
func TestStartersOfEveryProfile(t *testing.T) {
	all, err := readCatalogue(policies.Profiles(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all.names() {
		started(t, seenServer(), []string{name})
		started(t, &Seen{Facts: facts()}, []string{name})
	}
	started(t, seenServer(), all.names())
	for _, use := range [][]string{{"no-such"}, {"ssh", "ssh"}} {
		if _, err := Start(seenServer(), Options{Profiles: policies.Profiles(), Use: use}); err == nil {
			t.Errorf("--profile %v is no error", use)
		}
	}
}

// Whatever listens and whoever is connected: the policy can be used, lets in everybody
// who is there, and is the same whatever the order of what was seen.
func TestStartersOfAnyHost(t *testing.T) {
	first := gen.Seed(t)
	for i := range gen.Dose(t, "FWCTL_HOSTS", 200) {
		seed := first + uint64(i) //nolint:gosec // not negative
		r := rand.New(rand.NewPCG(seed, 1))
		s := &Seen{Facts: facts(), Ephemeral: ephemeralPorts}
		addrs := []string{"0.0.0.0", "[::]", "192.0.2.10", "10.20.0.5", "[2001:db8:1::10]", "[fe80::10]", "127.0.0.1", "224.0.0.251", "255.255.255.255"}
		programs := []string{"sshd", "nginx", "java", "python3.11", "systemd", "", "x y", "dnsmasq"}
		ports := []int{22, 53, 80, 443, 5353, 7000, 7001, 7002, 40000, 51820, 65535}
		for range r.IntN(12) {
			proto, a := "tcp", addrs[r.IntN(7)]
			if r.IntN(3) == 0 {
				proto, a = "udp", addrs[r.IntN(len(addrs))]
			}
			l := listener(fmt.Sprintf("%s:%d/%s", a, ports[r.IntN(len(ports))], proto), programs[r.IntN(len(programs))], "u", "")
			l.V6Only = r.IntN(2) == 0 && l.Addr.Is6()
			if r.IntN(5) == 0 {
				l.Interface = []string{"eth0", "eth1", "lo"}[r.IntN(3)]
			}
			s.Listeners = append(s.Listeners, l)
		}
		for _, l := range s.Listeners {
			for range r.IntN(4) * r.IntN(10) {
				s.Connections = append(s.Connections, drawConnection(r, l.Port))
			}
		}
		var use []string
		if r.IntN(3) == 0 {
			use = []string{"https", "ssh"}
		}
		a := started(t, s, use)
		r.Shuffle(len(s.Listeners), func(i, j int) { s.Listeners[i], s.Listeners[j] = s.Listeners[j], s.Listeners[i] })
		r.Shuffle(len(s.Connections), func(i, j int) { s.Connections[i], s.Connections[j] = s.Connections[j], s.Connections[i] })
		if b := started(t, s, use); a != b {
			t.Errorf("the order decides:\n%s\n%s", a, b)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func drawConnection(r *rand.Rand, port uint16) live.TCPConnection {
	ends := [][2]string{{"192.0.2.10", "192.0.2.%d"}, {"192.0.2.10", "203.0.113.%d"}, {"10.20.0.5", "10.20.3.%d"}, {"[2001:db8:1::10]", "[2001:db8:1::%d]"}, {"[fe80::10]", "[fe80::%d]"}}
	e := ends[r.IntN(len(ends))]
	return conn(fmt.Sprintf("%s:%d", e[0], port), fmt.Sprintf(e[1]+":%d", 100+r.IntN(30), 1024+r.IntN(60000)))
}

// A server with many connections is looked through in little time.
func TestStarterOfABusyHost(t *testing.T) {
	s := seenServer()
	for i := range 100_000 {
		s.Connections = append(s.Connections, conn("192.0.2.10:443", fmt.Sprintf("198.18.%d.%d:%d", i/250%250, i%250, 1024+i/250)),
			conn("10.20.0.5:5432", fmt.Sprintf("10.20.%d.%d:%d", i/250%250, i%250, 1024+i/250)))
	}
	began := time.Now()
	st, err := Start(s, Options{Profiles: policies.Profiles()})
	if err != nil {
		t.Fatal(err)
	}
	refused, ps := st.Refused(s, policies.Profiles(), func(netip.Addr) string { return "eth0" })
	if len(refused) > 0 || ps.Err() != nil {
		t.Errorf("%d refused, %v", len(refused), ps)
	}
	took := time.Since(began)
	t.Logf("%d connections: %s, %d lines", len(s.Connections), took.Round(time.Millisecond), strings.Count(st.Text, "\n"))
	if took > 20*time.Second {
		t.Errorf("it takes %s", took)
	}
}
