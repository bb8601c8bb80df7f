package netlab

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

func iface(name string, addrs ...string) rules.Interface {
	i := rules.Interface{Name: name, Loopback: name == "lo"}
	for _, a := range addrs {
		i.Addrs = append(i.Addrs, netip.MustParsePrefix(a))
	}
	return i
}

func facts() *rules.Host {
	return &rules.Host{Interfaces: []rules.Interface{
		iface("lo", "127.0.0.1/8", "::1/128"),
		iface("eth0", "192.0.2.10/24", "2001:db8::10/64", "fe80::10/64"),
		iface("eth1", "10.20.0.5/16"),
		iface("wg0", "10.9.0.1/24"),
	}}
}

func run(t *testing.T, l *Lab, stdin, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := l.Do(func() (err error) {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// expect reads lines "PACKET = VERDICT" and probes them all at once.
func expect(t *testing.T, l *Lab, text string) {
	t.Helper()
	var ps []packet.Packet
	var want []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		notation, verdict, _ := strings.Cut(line, " = ")
		p, err := packet.Parse(notation)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		ps, want = append(ps, p), append(want, verdict)
	}
	got, err := l.Probe(ps)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		if got[i].String() != want[i] {
			t.Errorf("%s: got %s, want %s", p, got[i], want[i])
		}
	}
}

// Without rules everything that can come to a hook is accepted: the forms of
// packets that the kernel itself is picky about.
func TestEverythingPasses(t *testing.T) {
	l := New(t, facts())
	expect(t, l, `
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:22 = accept
		in eth1 tcp 203.0.113.9 -> 192.0.2.10:22 = accept
		in eth0 udp 203.0.113.9 -> 192.0.2.255:137 = accept
		in eth0 udp 0.0.0.0:68 -> 255.255.255.255:67 = accept
		in eth0 udp 192.0.2.10:5353 -> 224.0.0.251:5353 = accept
		in wg0 vrrp 10.9.0.7 -> 224.0.0.18 = accept
		in eth0 igmp 192.0.2.1 -> 224.0.0.1 = accept
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 sctp 203.0.113.9:5 -> 192.0.2.10:6 = accept
		in eth0 dccp 203.0.113.9:5 -> 192.0.2.10:6 = accept
		in eth0 udplite 203.0.113.9:5 -> 192.0.2.10:6 = accept
		in eth0 gre 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 esp 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 ah 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 ipv6 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 0 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 255 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 tcp [2001:db8:1::9]:1 -> [2001:db8::10]:22 = accept
		in wg0 tcp [2001:db8:1::9]:1 -> [2001:db8::10]:22 = accept
		in eth0 udp [fe80::9]:547 -> [fe80::10]:546 = accept
		in eth0 icmpv6 :: -> ff02::1:ff00:10 nd-neighbor-solicit = accept
		in eth0 icmpv6 fe80::9 -> ff02::1 nd-router-advert = accept
		in eth0 icmpv6 fe80::9 -> ff02::16 mld2-listener-report = accept
		in eth0 udp [fe80::9]:5353 -> [ff02::fb]:5353 = accept
		in eth0 58 203.0.113.9 -> 192.0.2.10 128 = accept
		in lo tcp 127.0.0.1 -> 127.0.0.1:25 = accept
		in lo tcp [::1]:9 -> [::1]:25 = accept
		in lo tcp 192.0.2.10 -> 192.0.2.10:25 = accept
		out eth0 tcp 192.0.2.10 -> 203.0.113.9:443 = accept
		out eth1 tcp 192.0.2.10 -> 203.0.113.9:443 = accept
		out wg0 udp 192.0.2.10 -> 255.255.255.255:67 = accept
		out eth1 udp 192.0.2.10 -> 224.0.0.251:5353 = accept
		out eth0 tcp [2001:db8::10]:9 -> [2001:db8:1::9]:443 = accept
		out wg0 tcp [2001:db8::10]:9 -> [2001:db8:1::9]:443 = accept
		out wg0 icmpv6 fe80::10 -> ff02::2 nd-router-solicit = accept
		out lo tcp 127.0.0.1 -> 127.0.0.1:25 = accept
		in eth0 out eth1 tcp 203.0.113.9 -> 198.51.100.1:80 = accept
		in eth0 out wg0 tcp 203.0.113.9 -> 198.51.100.1:80 = accept
		in wg0 out eth0 icmp 203.0.113.9 -> 198.51.100.1 = accept
		in eth0 out wg0 udp [2001:db8:1::9]:1 -> [2001:db8:2::9]:22 = accept
	`)
}

const obvious = `
table inet test {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		ct state invalid drop
		iifname "lo" accept
		iifname "eth1" tcp dport 23 accept
		ct state new tcp dport 22 accept
		ct state untracked udp dport 53 accept
		ip saddr 203.0.113.0/24 udp dport 1000-2000 accept
		icmpv6 type nd-neighbor-solicit accept
		icmp type echo-request accept
		meta l4proto tcp reject with tcp reset
		udp dport 7 reject
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
		meta mark != 0 drop
		ct state established,related accept
		iifname "eth0" oifname "wg0" tcp dport 80 accept
		iifname "eth0" oifname "eth1" tcp dport 81 reject with tcp reset
	}
	chain output {
		type filter hook output priority 0; policy accept;
		ct state established,related accept
		oifname "eth1" tcp dport 25 drop
		oifname "eth1" tcp dport 26 reject with tcp reset
		oifname "eth1" udp dport 26 reject
	}
}`

const obviousPackets = `
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:22 = accept
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:23 = reject
		in eth1 tcp 203.0.113.9 -> 192.0.2.10:23 = accept
		in eth0 tcp [2001:db8:1::9]:1 -> [2001:db8::10]:22 = accept
		in eth0 tcp [2001:db8:1::9]:1 -> [2001:db8::10]:23 = reject
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:22 flags fin,syn = drop
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:9 flags ack = reject
		in eth0 udp 203.0.113.9 -> 192.0.2.10:7 = reject
		in eth0 udp [2001:db8:1::9]:1 -> [2001:db8::10]:7 = reject
		in eth0 udp 203.0.113.9 -> 192.0.2.10:999 = drop
		in eth0 udp 203.0.113.9 -> 192.0.2.10:1000 = accept
		in eth0 udp 203.0.113.9 -> 192.0.2.10:2000 = accept
		in eth0 udp 203.0.113.9 -> 192.0.2.10:2001 = drop
		in eth0 udp 203.0.112.255 -> 192.0.2.10:2000 = drop
		in eth0 udp 203.0.113.9 -> 192.0.2.10:53 = drop
		in eth0 udp 203.0.113.9 -> 192.0.2.10:53 untracked = accept
		in eth0 udp 203.0.113.9 -> 192.0.2.255:7 = drop
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 = accept
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 redirect = drop
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 redirect related = accept
		in eth0 icmpv6 2001:db8:1::9 -> 2001:db8::10 packet-too-big = drop
		in eth0 icmpv6 2001:db8:1::9 -> 2001:db8::10 packet-too-big related = accept
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-reply = drop
		in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-reply established = accept
		in eth0 icmpv6 2001:db8:1::9 -> 2001:db8::10 echo-reply established = accept
		in eth0 tcp 203.0.113.9 -> 192.0.2.10:5000 established flags ack = accept
		in eth0 udp [2001:db8:1::9]:1 -> [2001:db8::10]:5000 established = accept
		in eth0 icmpv6 2001:db8:1::9 -> ff02::1:ff00:10 nd-neighbor-solicit = accept
		in lo tcp 127.0.0.1 -> 127.0.0.1:23 = accept
		in eth0 out wg0 tcp 203.0.113.9 -> 198.51.100.1:80 = accept
		in eth0 out eth1 tcp 203.0.113.9 -> 198.51.100.1:80 = drop
		in wg0 out eth0 tcp 203.0.113.9 -> 198.51.100.1:80 = drop
		in eth0 out wg0 tcp [2001:db8:1::9]:1 -> [2001:db8:2::9]:80 = accept
		in eth0 out eth1 tcp 203.0.113.9 -> 198.51.100.1:81 = reject
		in wg0 out eth1 tcp 203.0.113.9 -> 198.51.100.1:9 established flags ack = accept
		out eth1 tcp 192.0.2.10 -> 203.0.113.9:25 = drop
		out eth0 tcp 192.0.2.10 -> 203.0.113.9:25 = accept
		out eth1 tcp 192.0.2.10 -> 203.0.113.9:26 = reject
		out eth1 udp 192.0.2.10 -> 203.0.113.9:26 = reject
		out eth1 tcp [2001:db8::10]:9 -> [2001:db8:1::9]:26 = reject
		out eth1 udp [2001:db8::10]:9 -> [2001:db8:1::9]:26 = reject
		out eth1 udp 192.0.2.10 -> 203.0.113.9:27 = accept
		out eth1 tcp 192.0.2.10:7 -> 203.0.113.9:25 established flags ack = accept
`

func TestObviousVerdictsOfNftables(t *testing.T) {
	l := New(t, facts())
	run(t, l, obvious, "nft", "-f", "-")
	expect(t, l, obviousPackets)
	expect(t, l, obviousPackets) // nothing of the first run is left
}

const obviousIptables = `*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -i eth1 -p tcp --dport 23 -j ACCEPT
-A INPUT -m conntrack --ctstate NEW -p tcp --dport 22 -j ACCEPT
-A INPUT -m conntrack --ctstate UNTRACKED -p udp --dport 53 -j ACCEPT
FAMILY
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp --dport 7 -j REJECT
-A FORWARD -m mark ! --mark 0 -j DROP
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i eth0 -o wg0 -p tcp --dport 80 -j ACCEPT
-A FORWARD -i eth0 -o eth1 -p tcp --dport 81 -j REJECT --reject-with tcp-reset
-A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A OUTPUT -o eth1 -p tcp --dport 25 -j DROP
-A OUTPUT -o eth1 -p tcp --dport 26 -j REJECT --reject-with tcp-reset
-A OUTPUT -o eth1 -p udp --dport 26 -j REJECT
COMMIT
`

func TestObviousVerdictsOfIptables(t *testing.T) {
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			l := New(t, facts())
			four := strings.Replace(obviousIptables, "FAMILY", "-A INPUT -s 203.0.113.0/24 -p udp --dport 1000:2000 -j ACCEPT\n-A INPUT -p icmp --icmp-type echo-request -j ACCEPT", 1)
			six := strings.Replace(obviousIptables, "FAMILY", "-A INPUT -p ipv6-icmp --icmpv6-type neighbour-solicitation -j ACCEPT", 1)
			run(t, l, four, "iptables-"+variant+"-restore", "-w")
			run(t, l, six, "ip6tables-"+variant+"-restore", "-w")
			expect(t, l, obviousPackets)
		})
	}
}

// The kernel gives each packet the state that gen says: one ruleset for each
// state accepts it alone.
func TestKernelState(t *testing.T) {
	l := New(t, facts())
	ps := slices.DeleteFunc(everyHeader(), func(p packet.Packet) bool { return !gen.Deliverable(p, facts()) })
	for _, state := range []packet.State{packet.New, packet.Invalid, packet.Untracked} {
		run(t, l, "table inet test\ndelete table inet test\ntable inet test { chain input { type filter hook input priority 0; policy drop; ct state "+state.String()+" accept; }; }", "nft", "-f", "-")
		got, err := l.Probe(ps)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range ps {
			if want := gen.KernelState(p) == state; want != (got[i] == packet.Accept) {
				t.Errorf("%s: is it %s? gen says %v, the kernel %v", p, state, want, !want)
			}
		}
	}
}

// everyHeader returns a packet of every protocol, with all TCP flags and ICMP types.
func everyHeader() []packet.Packet {
	var ps []packet.Packet
	for n := range 2 * 256 {
		p := packet.Packet{In: "eth0", Proto: packet.Proto(n), Src: netip.MustParseAddr("203.0.113.9"), Dst: netip.MustParseAddr("192.0.2.10")}
		if n >= 256 {
			p.Src, p.Dst = netip.MustParseAddr("2001:db8:1::9"), netip.MustParseAddr("2001:db8::10")
		}
		if p.Proto.HasPorts() {
			p.SrcPort, p.DstPort = 1, 2
		}
		for i := range 256 {
			switch {
			case p.Proto == packet.TCP:
				p.Flags = packet.Flags(i)
			case p.Proto.IsICMP():
				p.Type = uint8(i)
			case i > 0:
				continue
			}
			ps = append(ps, p)
		}
	}
	return ps
}

// A probe that cannot reach its hook is an error and no drop.
func TestMartianIsAnError(t *testing.T) {
	l := New(t, facts())
	p, _ := packet.Parse("in eth0 tcp 224.0.0.1 -> 192.0.2.10:22")
	if _, err := l.Probe([]packet.Packet{p}); err == nil || !strings.Contains(err.Error(), "never came to their hook") {
		t.Errorf("got %v", err)
	}
}

func TestSpeed(t *testing.T) {
	l := New(t, facts())
	run(t, l, obvious, "nft", "-f", "-")
	var ps []packet.Packet
	for i := range 60_000 {
		p, _ := packet.Parse([]string{
			"in eth0 tcp 203.0.113.9 -> 192.0.2.10:22", "in eth0 tcp 203.0.113.9 -> 192.0.2.10:23",
			"out eth0 tcp [2001:db8::10]:9 -> [2001:db8:1::9]:443",
		}[i%3])
		ps = append(ps, p)
	}
	start := time.Now()
	got, err := l.Probe(ps)
	if err != nil {
		t.Fatal(err)
	}
	rate := float64(len(ps)) / time.Since(start).Seconds()
	t.Logf("%.0f packets a second", rate)
	if got[0] != packet.Accept || got[59_998] != packet.Reject || got[59_999] != packet.Accept {
		t.Errorf("got %v %v %v", got[0], got[59_998], got[59_999])
	}
	if rate < 5_000 {
		t.Errorf("%.0f packets a second, want 5000", rate)
	}
}
