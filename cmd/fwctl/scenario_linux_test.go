package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fwctl/fwctl/internal/gen"
)

// A host of real programs: sshd, nginx, PostgreSQL, Redis, something that takes
// datagrams, and Docker with published ports. Each scenario draws on which addresses
// they wait, which rules stand, and which policy is held against them. What the audit
// says of each port, for each of those who ask, is what a prober measures; and what it
// finds is what the measured and the drawn amount to.
func TestAuditOfRealHosts(t *testing.T) {
	if os.Getenv("FWCTL_ROOT") == "" {
		t.Skip("needs real programs: make coexist")
	}
	for _, six := range []bool{false, true} {
		name := map[bool]string{false: "Docker with IPv4", true: "Docker with both families"}[six]
		t.Run(name, func(t *testing.T) {
			n := gen.Dose(t, "FWCTL_SCENARIOS", 26)
			h := newRealHost(t, six, gen.Seed(t)+uint64(b2u(six)))
			for i := range n {
				h.next(i)
				if t.Failed() {
					return
				}
			}
			t.Logf("%d scenarios; %v", n, h.counts)
			if h.counts["let in"] < 20*n || h.counts["kept out"] < 20*n {
				t.Error("too little was measured to tell")
			}
		})
	}
}

func b2u(b bool) (n uint8) {
	if b {
		n = 1
	}
	return n
}

// realHost is a host of real programs, and those who ask it.
type realHost struct {
	*dockerBox
	random *rand.Rand
	six    bool // Docker translates IPv6, too
	seed   uint64
	scenario
	postgres string // the addresses on which it waits
	program  string // that probes
	counts   map[string]int
}

// The addresses of the host, by link, and of those who ask, by the link by which they
// come. Behind the first there are other networks, the last leads to the containers.
var (
	realLinks = []string{"mgmt0", "dmz0", "docker0"}
	realOwn   = [][]string{{"10.77.0.1", "2001:db8:77::1"}, {"10.78.0.1", "2001:db8:78::1"}, {"172.17.0.1", "fd00:d0c::1"}}
	realPeers = [][]string{
		{"10.77.0.2", "10.77.0.3", "10.77.0.4", "198.51.100.7", "203.0.113.9", "2001:db8:77::2", "2001:db8:77::3", "2001:db8:77::4", "2001:db8:9::7", "2001:db8:a::9", "fd00:99::9"},
		{"10.78.0.2", "2001:db8:78::2"},
		{"172.17.0.66", "fd00:d0c::66"},
	}
)

func newRealHost(t *testing.T, six bool, seed uint64) *realHost {
	t.Helper()
	h := &realHost{
		dockerBox: enterDocker(t, boxBackend{"nftables", "true", "true", "true"}, six, "testdata/scenario/host.sh"),
		random:    rand.New(rand.NewPCG(seed, 71)), six: six, seed: seed, counts: map[string]int{},
	}
	h.peer = h.plug()
	err := errors.Join(
		h.in(func() error {
			pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "up1", PeerNamespace: netlink.NsFd(h.peer.ns)}
			pair.Name = "dmz0"
			return netlink.LinkAdd(pair)
		}),
		h.in(func() error { return shell(realHostNetwork) }), within(h.peer.ns, func() error { return shell(realPeerNetwork) }),
	)
	if err != nil {
		t.Fatal(err)
	}
	h.script("ip -6 address replace fd00:d0c::1/64 dev docker0 nodad\n" + inClient + "sh -euc '" + realClientNetwork + "'\n")
	h.program = filepath.Join(t.TempDir(), "shell")
	build := exec.Command("go", "build", "-o", h.program, "./testdata/published")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.certificate()
	return h
}

const realHostNetwork = `
ip link set dmz0 up
ip address add 2001:db8:77::1/64 dev mgmt0 nodad
ip address add 10.78.0.1/24 dev dmz0; ip address add 2001:db8:78::1/64 dev dmz0 nodad
ip route add default via 10.77.0.2; ip -6 route add default via 2001:db8:77::2
`

// Who asks goes by the network of its address, also to the host's other address, and to
// 127.0.0.1 as well: a neighbour may send what no router would.
const realPeerNetwork = `
ip link set lo up; ip link set up1 up
for a in 10.77.0.3/24 10.77.0.4/24 198.51.100.7/32 203.0.113.9/32; do ip address add $a dev up0; done
for a in 2001:db8:77::2/64 2001:db8:77::3/64 2001:db8:77::4/64 2001:db8:9::7/128 2001:db8:a::9/128 fd00:99::9/128; do ip address add $a dev up0 nodad; done
ip address add 10.78.0.2/24 dev up1; ip address add 2001:db8:78::2/64 dev up1 nodad
ip route add 10.77.0.0/24 dev up0 table 77; ip route add default via 10.77.0.1 dev up0 table 77
ip route add 10.78.0.0/24 dev up1 table 78; ip route add default via 10.78.0.1 dev up1 table 78
ip -6 route add 2001:db8:77::/64 dev up0 table 77; ip -6 route add default via 2001:db8:77::1 dev up0 table 77
ip -6 route add 2001:db8:78::/64 dev up1 table 78; ip -6 route add default via 2001:db8:78::1 dev up1 table 78
for f in -4 -6; do
  net=10.78.0.0/24; [ $f = -4 ] || net=2001:db8:78::/64
  ip $f rule add pref 10 from $net lookup 78
  ip $f rule add pref 11 lookup 77
done
sysctl -q -w net.ipv4.conf.all.route_localnet=1
ip rule add pref 1 from 10.78.0.2 to 127.0.0.0/8 lookup 78; ip rule add pref 2 to 127.0.0.0/8 lookup 77
ip rule add pref 5 lookup local; ip rule del pref 0
`

// A container that asks, by addresses that stay.
const (
	inClient          = "nsenter --net=/proc/$(docker inspect -f '{{.State.Pid}}' client)/ns/net "
	realClientNetwork = `
sysctl -q -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0
ip address add 172.17.0.66/16 dev eth0; ip -6 address add fd00:d0c::66/64 dev eth0 nodad
ip -6 route replace default via fd00:d0c::1
`
)

func shell(text string) error {
	out, err := exec.Command("sh", "-euc", text).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// script runs a script on the host, beside its programs, and says what it printed.
func (h *realHost) script(text string) string {
	h.Helper()
	said, ok := h.docker("echo " + base64.StdEncoding.EncodeToString([]byte(text)) + " | base64 -d >/run/scenario && sh -eu /run/scenario")
	if !ok {
		h.Fatalf("%s\n%s", text, said)
	}
	return said
}

// certificate makes one for nginx.
func (h *realHost) certificate() {
	h.Helper()
	cert, key, err := certificateText()
	if err != nil {
		h.Fatal(err)
	}
	h.script("cat >/run/cert.pem <<'E'\n" + cert + "E\ncat >/run/key.pem <<'E'\n" + key + "E\n")
}

// next draws a scenario, makes the host so, and holds the audit against it.
func (h *realHost) next(i int) {
	h.Helper()
	start := time.Now()
	h.draw(i)
	h.place()
	h.stand()
	a := h.audit()
	probes := h.probes()
	h.measure(probes, "500ms")
	h.retry(a, probes)
	h.compare(a, probes)
	h.findings(a, probes)
	if h.Failed() {
		h.Errorf("scenario %d of seed %d:\n%s", i, h.seed, h.about())
	}
	h.Logf("scenario %d: %s, %v", i, h.rules, time.Since(start).Round(10*time.Millisecond))
}

// realAudit is what audit answers.
type realAudit struct {
	Doors []struct {
		Protocol  string
		Port      uint16
		Addresses []netip.Addr
		Waits     []struct{ Process, User, Container, Proxy string }
		Published []string
		Local     bool
		Untold    bool
		More      bool
		Sources   []struct {
			Family       string
			From, In, To []string
		}
	}
	Findings []struct {
		Code, Severity, Door, Section, Summary, Packet string
		Evidence                                       []string
	}
	Notes []string
	text  string
}

// audit runs the program on the host.
func (h *realHost) audit() *realAudit {
	h.Helper()
	args := "--state-dir /run/none"
	if h.held != nil {
		args = "/run/policy.toml"
	}
	text := h.script("code=0; /share/fwctl audit --json " + args + " 2>/run/said || code=$?; [ $code != 2 ] || { cat /run/said; exit 2; }")
	a := &realAudit{text: text}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		h.Fatalf("%v\n%s", err, text)
	}
	if len(a.Notes) > 0 {
		h.Errorf("not all is told: %q", a.Notes)
	}
	return a
}

// probe is one attempt to get in.
type probe struct {
	network, from, link, to string
	port                    uint16
	in                      bool
}

func (p probe) String() string {
	return fmt.Sprintf("%s from %s in %s to %s", p.network, p.from, p.link, netip.AddrPortFrom(netip.MustParseAddr(p.to), p.port))
}

// probes are all attempts: from each source to each port at each address of the host
// that has the family.
func (h *realHost) probes() (out []probe) {
	for _, p := range realPorts {
		for link, froms := range realPeers {
			for _, from := range froms {
				for own := range realOwn {
					six := strings.Contains(from, ":")
					if own == link || !h.mute(p, realLinks[link], six) {
						out = append(out, probe{network: p.network, from: from, link: realLinks[link], to: realOwn[own][b2u(six)], port: p.port})
					}
				}
			}
		}
	}
	for link, froms := range realPeers[:2] { // neighbours may send what no router would
		for _, from := range froms {
			for _, p := range realPorts {
				// What is translated for all addresses is so for this one, too.
				if p.network == "tcp" && p.port != 8080 && p.port != 8444 && !strings.Contains(from, ":") {
					out = append(out, probe{network: p.network, from: from, link: realLinks[link], to: "127.0.0.1", port: p.port})
				}
			}
		}
	}
	return out
}

// mute reports whether answers to a datagram come from another address of the host than
// it was for, if it was for that of another link: docker-proxy carries them, and whoever
// asked does not take them.
func (h *realHost) mute(p portOf, link string, six bool) bool {
	everywhere := slices.ContainsFunc(h.published, func(x publication) bool { return x.portOf() == p && x.addr == "" })
	return p == portOf{"udp", 8053} && everywhere && (six && !h.six || link == "docker0")
}

// measure tries.
func (h *realHost) measure(probes []probe, limit string) {
	h.Helper()
	var outside, inside []int
	for i, p := range probes {
		if p.link == "docker0" {
			inside = append(inside, i)
		} else {
			outside = append(outside, i)
		}
	}
	lines := func(at []int) string {
		var b strings.Builder
		for _, i := range at {
			p := probes[i]
			fmt.Fprintln(&b, p.network, p.from, netip.AddrPortFrom(netip.MustParseAddr(p.to), p.port))
		}
		return b.String()
	}
	note := func(at []int, said string) {
		words := strings.Fields(said)
		if len(words) != len(at) {
			h.Fatalf("%d answers to %d probes: %s", len(words), len(at), said)
		}
		for k, i := range at {
			probes[i].in = words[k] == "1"
		}
	}
	if len(inside) > 0 {
		note(inside, h.script(inClient+"/share/shell probe "+limit+" <<'E'\n"+lines(inside)+"E\n"))
	}
	if len(outside) > 0 {
		note(outside, h.ask(lines(outside), limit))
	}
}

// ask probes from the peer.
func (h *realHost) ask(lines, limit string) string {
	h.Helper()
	var out []byte
	err := within(h.peer.ns, func() (err error) {
		c := exec.Command(h.program, "probe", limit)
		c.Stdin = strings.NewReader(lines)
		out, err = c.Output()
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return string(out)
}

// says reports whether the audit says that the probe gets in.
func (a *realAudit) says(p probe) bool {
	to, six := netip.MustParseAddr(p.to), strings.Contains(p.to, ":")
	for _, d := range a.Doors {
		if d.Protocol != p.network || d.Port != p.port || d.Local || !slices.ContainsFunc(d.Addresses, func(a netip.Addr) bool {
			return a == to || a.IsUnspecified() && a.Is6() == six && !to.IsLoopback()
		}) {
			continue
		}
		for _, s := range d.Sources {
			if (s.Family == "ip6") == six && (s.In == nil || slices.Contains(s.In, p.link)) && holdsAddr(s.From, p.from) && holdsAddr(s.To, p.to) {
				return true
			}
		}
	}
	return false
}

// holdsAddr reports whether an address is one of the audit's words: prefixes, ranges.
func holdsAddr(words []string, addr string) bool {
	a := netip.MustParseAddr(addr)
	return words == nil || slices.ContainsFunc(words, func(w string) bool {
		if first, last, isRange := strings.Cut(w, "-"); isRange {
			return netip.MustParseAddr(first).Compare(a) <= 0 && a.Compare(netip.MustParseAddr(last)) <= 0
		}
		if p, err := netip.ParsePrefix(w); err == nil {
			return p.Contains(a)
		}
		return w == "any" || netip.MustParseAddr(w) == a
	})
}

// retry tries again, with patience, what is not as the audit says: this machine may
// have been busy.
func (h *realHost) retry(a *realAudit, probes []probe) {
	h.Helper()
	var again []probe
	var at []int
	for i, p := range probes {
		if a.says(p) != p.in {
			again, at = append(again, p), append(at, i)
		}
	}
	h.measure(again, "3s")
	for k, i := range at {
		probes[i] = again[k]
	}
}

// compare holds the exposure of each port against what was measured.
func (h *realHost) compare(a *realAudit, probes []probe) {
	h.Helper()
	wrong := 0
	for _, p := range probes {
		if p.in {
			h.counts["let in"]++
		} else {
			h.counts["kept out"]++
		}
		if said := a.says(p); said != p.in {
			if wrong++; wrong <= 10 {
				h.Errorf("%s: the audit says in: %v, it is: %v", p, said, p.in)
			}
		}
	}
	if wrong > 10 {
		h.Errorf("%d in all", wrong)
	}
	h.doors(a)
}
