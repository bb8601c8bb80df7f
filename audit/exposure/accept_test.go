package exposure

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
	"github.com/fwctl/fwctl/read/nftables"
)

// scene is a host on which one thing is wrong.
type scene struct {
	policy    string
	listeners []live.Listener
	rules4    string // the INPUT chain's of iptables, the rest of the family
	rules6    string
	legacy    bool
	only4     bool // the host has no address of IPv6
	managers  []live.Manager
	localnet  []string // and the links eth0 and eth1
	answer    live.Spoken
	match     string // by which an acceptance names it
	packet    string // a part of the one that shows it; "": there is none
	evidence  string // a part of it
	severity  Severity
}

const openWeb = "[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\n"

func webListener(user string) []live.Listener {
	return []live.Listener{owned("[::]:8000", tcp, "web", user)}
}

// scenes have one for each code that can be accepted.
func scenes() map[string]scene {
	web := webListener("www")
	tls := openWeb + "expect = { tls = true }\n"
	const shut = ":INPUT DROP [0:0]\n"
	return map[string]scene{
		"FW101": {listeners: append(web, owned("0.0.0.0:6379", tcp, "redis", "redis")), policy: openWeb, match: "6379/tcp", packet: ":6379", evidence: "from any IPv4"},
		"FW102": {listeners: web, policy: strings.Replace(openWeb, "any", "198.51.100.0/24\", \"2001:db8::/32", 1), match: "8000/tcp", packet: ":8000", evidence: "from "},
		"FW103": {policy: openWeb, match: "service.web", packet: ":8000", evidence: "no socket", severity: Warning},
		"FW104": {listeners: append(web, owned("0.0.0.0:111", tcp, "rpcbind", "rpc")), policy: openWeb, rules4: shut + "-A INPUT -p tcp --dport 8000 -j ACCEPT\n", match: "111/tcp", packet: ":111", evidence: "on all IPv4 addresses", severity: Warning},
		"FW105": {listeners: web, policy: openWeb, rules4: shut, rules6: shut, match: "8000/tcp", packet: ":8000", evidence: "on all IPv4 addresses", severity: Warning},
		"FW106": {listeners: webListener("root"), policy: openWeb + "expect = { user = \"www\" }\n", match: "service.web", packet: ":8000", evidence: "its user is root"},
		"FW107": {listeners: []live.Listener{owned("0.0.0.0:8000", tcp, "web", "www")}, policy: openWeb + "expect = { listen = \"192.0.2.10\" }\n", match: "8000/tcp", packet: ":8000", evidence: "all IPv4 addresses", severity: Warning},
		"FW108": {listeners: append(webListener("a"), owned("192.0.2.10:8000", tcp, "web", "b")), policy: openWeb, match: "8000/tcp", packet: ":8000", evidence: "192.0.2.10", severity: Warning},
		"FW109": {
			listeners: []live.Listener{owned("[::]:4064", tcp, "glacier2", "omero"), owned("[::]:3001", tcp, "x", "x")}, match: "3001/tcp", packet: ":3001", evidence: "JMX of the server",
			answer: live.Spoken{TLS: &live.TLS{Leaf: &live.Certificate{Trusted: true, Days: 90}}},
			policy: "[service.omero]\nprofile = \"omero\"\nfrom = { clients = [\"any\"], web = [], grid = [] }\n[service.x]\nports = [\"3001/tcp\"]\nfrom = [\"any\"]\n",
		},
		"FW110": {listeners: web, policy: tls, answer: live.Spoken{Protocol: "http", Answer: "HTTP/1.0 200 OK"}, match: "8000/tcp", packet: ":8000", evidence: "HTTP/1.0 200 OK"},
		"FW111": {listeners: web, policy: tls, answer: live.Spoken{TLS: &live.TLS{Leaf: &live.Certificate{Subject: "web.example", Trusted: true, Days: 3}}}, match: "8000/tcp", packet: ":8000", evidence: "web.example", severity: Warning},
		"FW112": {listeners: web, policy: openWeb + "[service.old]\nports = [\"9/tcp\"]\nfrom = [\"any\"]\nexpires = 2026-01-01\nowner = \"dba\"\n", match: "service.old", evidence: "owner: dba", severity: Note},
		"FW113": {listeners: web, policy: openWeb + "[service.old]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\nshared = true\nexpires = 2026-11-28\nreason = \"CHG-1\"\n", match: "service.old", evidence: "reason: CHG-1", severity: Note},
		"FW114": {listeners: web, policy: openWeb, managers: []live.Manager{{Name: "ufw", Sign: "chains ufw-*", Advice: "`ufw disable`"}}, match: "ufw", evidence: "chains ufw-*", severity: Warning},
		"FW115": {listeners: web, policy: openWeb, rules4: ":INPUT ACCEPT [0:0]\n", legacy: true, match: "iptables-legacy", evidence: "IPv4: tables filter", severity: Warning},
		"FW116": {listeners: web, policy: openWeb, rules4: shut, match: "8000/tcp", packet: ":8000", evidence: "from any IPv6", severity: Warning},
	}
}

func (s scene) report(t *testing.T, accept string) *Report {
	t.Helper()
	q := question(t, s.policy+accept, s.listeners)
	for is6, rules := range map[bool]string{false: s.rules4, true: s.rules6} {
		if rules != "" {
			q.Host.Saves = append(q.Host.Saves, live.Save{Is6: is6, Legacy: s.legacy, Save: iptables.Parse("*filter\n" + rules + "COMMIT\n")})
		}
	}
	if s.legacy {
		q.Host.Tables = []*nftables.Table{{Family: 1, Name: "fwctl"}}
	}
	q.Host.Managers = s.managers
	if q.Host.Localnet = s.localnet; len(s.localnet) > 0 {
		q.Host.Links = nftables.Links{1: {Name: "lo"}, 2: {Name: "eth0"}, 3: {Name: "eth1"}}
	}
	q.Host.Addrs4 = packet.HostAddrs{Known: true, Local: packet.NewRanges(single("127.0.0.1"), single("192.0.2.10"))}
	if q.Host.Addrs6 = (packet.HostAddrs{Known: true}); !s.only4 {
		q.Host.Addrs6.Local = packet.Ranges{single("2001:db8:1::10")}
	}
	q.Speak = func(qs []live.SpeakQuestion) []live.SpeakAnswer {
		return slices.Repeat([]live.SpeakAnswer{{Spoken: s.answer}}, len(qs))
	}
	r, err := Look(q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// of are the findings of a code.
func (r *Report) of(code string) (out []Finding) {
	for _, f := range r.Findings {
		if f.Code == code {
			out = append(out, f)
		}
	}
	return out
}

// Each finding comes with evidence, with a packet where packets show it, and with advice.
// An acceptance silences it, so that it is told and does not count; and no longer when
// that has ended.
func TestEachFindingCanBeAccepted(t *testing.T) {
	all := scenes()
	for _, c := range Codes {
		s, ok := all[c.Code]
		if !ok && c.Code != "FW117" {
			t.Errorf("%s is not tried", c.Code)
		}
		if !ok {
			continue
		}
		t.Run(c.Code, func(t *testing.T) {
			r := s.report(t, "")
			found := r.of(c.Code)
			if len(found) != 1 || (r.Verdict == Findings) != (s.severity != Note) || len(found) != len(r.Findings) {
				t.Fatalf("%v: %+v", r.Verdict, r.Findings)
			}
			f := found[0]
			if f.Severity != s.severity || !strings.Contains(strings.Join(f.Evidence, "\n"), s.evidence) || !strings.Contains(f.Packet, s.packet) || (f.Packet == "") != (s.packet == "") || c.Cure == "" {
				t.Errorf("%+v", f)
			}
			accept := func(until string) string {
				return fmt.Sprintf("[accept.it]\nfinding = %q\nmatch = %q\nreason = \"CHG-1200\"\nexpires = %s\n", c.Code, s.match, until)
			}
			r = s.report(t, accept("2027-01-31"))
			found = r.of(c.Code)
			if r.Verdict != Good || len(found) != 1 || len(r.Findings) != 1 || found[0].Accepted != "CHG-1200" || found[0].Until != "2027-02-01T00:00:00Z" {
				t.Errorf("accepted: %v %+v", r.Verdict, r.Findings)
			}
			r = s.report(t, accept("2026-11-25"))
			found = r.of(c.Code)
			if r.Verdict != Findings || len(found) != 1 || found[0].Accepted != "" || len(r.of("FW117")) != 1 {
				t.Errorf("the acceptance has ended: %v %+v", r.Verdict, r.Findings)
			}
			// One for something else silences nothing.
			other := strings.Replace(accept("2027-01-31"), s.match, "9/udp", 1)
			if r = s.report(t, other); r.of(c.Code)[0].Accepted != "" {
				t.Errorf("%q accepts it", other)
			}
		})
	}
}

// Of a service for addresses of one family, it is but a note that the other is closed; of
// one for both, or of none, it counts.
func TestOneFamily(t *testing.T) {
	for name, c := range map[string]struct {
		from, rules4, rules6 string
		want                 string
	}{
		"both":                       {"any", "", "", ""},
		"no address of the other":    {"any", "", "", ""},
		"IPv4 alone, as is said":     {"198.51.100.0/24", ":INPUT DROP [0:0]\n-A INPUT -s 198.51.100.0/24 -j ACCEPT\n", ":INPUT DROP [0:0]\n", "note"},
		"IPv6 alone, as is said":     {"2001:db8::/32", ":INPUT DROP [0:0]\n", ":INPUT DROP [0:0]\n-A INPUT -s 2001:db8::/32 -j ACCEPT\n", "note"},
		"IPv6 alone, which is wrong": {"any", ":INPUT DROP [0:0]\n", "", "warning"},
		"IPv4 alone, which is wrong": {"any", "", ":INPUT DROP [0:0]\n", "warning"},
	} {
		s := scene{policy: strings.Replace(openWeb, "any", c.from, 1), rules4: c.rules4, rules6: c.rules6, listeners: webListener("www"), only4: name == "no address of the other"}
		got := ""
		for _, f := range s.report(t, "").of("FW116") {
			got += f.Severity.String()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A service for one address says nothing of another that nobody reaches.
func TestOfAnotherAddress(t *testing.T) {
	s := scene{
		policy: openWeb + "to = [\"192.0.2.10\"]\n", rules4: ":INPUT DROP [0:0]\n-A INPUT -d 192.0.2.10 -j ACCEPT\n",
		listeners: []live.Listener{{Proto: tcp, Addr: netip.MustParseAddr("192.0.2.11"), Port: 8000}},
	}
	if r := s.report(t, ""); len(r.of("FW105")) > 0 {
		t.Errorf("%+v", r.Findings)
	}
}

// Packets of containers, of which a policy says nothing, are none that it lets in.
func TestContainersAreNotMeant(t *testing.T) {
	s := scene{
		policy: "[defaults]\npublished = \"enforce\"\ncontainer_interfaces = [\"docker0\"]\n" + strings.Replace(openWeb, "any", "198.51.100.7", 1),
		rules4: ":INPUT DROP [0:0]\n-A INPUT -i docker0 -p tcp -m tcp --dport 8000 -j ACCEPT\n", rules6: ":INPUT DROP [0:0]\n",
		listeners: []live.Listener{owned("[2001:db8:1::10]:8000", tcp, "web", "www")},
	}
	if r := s.report(t, ""); len(r.of("FW105")) > 0 {
		t.Errorf("a service for IPv4 opens a port of IPv6: %+v", r.Findings)
	}
}

// What waits on 127.0.0.1 alone is open to neighbours by links that take packets for it,
// as far as the rules go; a policy that opens the port to them means it.
func TestLocalnet(t *testing.T) {
	app := []live.Listener{owned("127.0.0.1:8000", tcp, "app", "app"), owned("[::1]:8000", tcp, "app", "app")}
	other := strings.Replace(openWeb, "8000", "443", 1)
	for name, c := range map[string]struct {
		policy, rules4 string
		localnet       []string
		want           string // FW101's evidence
	}{
		"no link takes them":     {other, "", nil, ""},
		"one does":               {other, "", []string{"eth1"}, "from any IPv4 in eth1, if on the link; it listens on 127.0.0.1 alone, but route_localnet lets packets for it come by eth1"},
		"one that is shut":       {other, "-A INPUT -i eth1 -j DROP\n", []string{"eth1"}, ""},
		"as the policy says":     {openWeb, "", []string{"eth1"}, ""},
		"rules shut 127.0.0.0/8": {other, "-A INPUT ! -i lo -d 127.0.0.0/8 -j DROP\n", []string{"eth0", "eth1"}, ""},
	} {
		s := scene{policy: c.policy, rules4: ":INPUT ACCEPT [0:0]\n" + c.rules4, listeners: app}
		s.localnet = c.localnet
		r := s.report(t, "")
		var got []string
		for _, f := range r.of("FW101") {
			got = append(got, f.Evidence...)
			if !strings.HasPrefix(f.Packet, "in eth1 ") || !strings.HasSuffix(f.Packet, "-> 127.0.0.1:8000") {
				t.Errorf("%s: shown by %q", name, f.Packet)
			}
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %q", name, got)
		}
		if open := c.want != "" || c.policy == openWeb; slices.ContainsFunc(r.Doors, func(d Door) bool { return !d.Local }) != open {
			t.Errorf("%s: %+v", name, r.Doors)
		}
	}
}

// A port that leads to 127.0.0.1 has a door where packets get there.
func TestPortsThatLeadToLoopback(t *testing.T) {
	to := live.PublishedPort{Proto: tcp, Ports: packet.Ranges{packet.Single(packet.Number(8444))}, To: netip.MustParseAddr("127.0.0.1"), ToPort: 8000, Own: true}
	app := []live.Listener{owned("127.0.0.1:8000", tcp, "app", "app")}
	for localnet, want := range map[bool]int{false: 1, true: 2} {
		if got := doors(app, []live.PublishedPort{to}, localnet); len(got) != want {
			t.Errorf("%+v", got)
		}
	}
}
