package exposure

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// owned is a socket of one process.
func owned(addr string, proto packet.Proto, process, user string) live.Listener {
	a := netip.MustParseAddrPort(addr)
	return live.Listener{Proto: proto, Addr: a.Addr(), Port: a.Port(), User: user, Owners: []live.Owner{{PID: 1, Process: process}}}
}

func question(t *testing.T, policy string, listeners []live.Listener) Question {
	t.Helper()
	q := Question{Now: now, Listeners: listeners, Host: &live.HostRules{}}
	if policy != "" {
		p, ps := rules.Load(fstest.MapFS{"p.toml": {Data: []byte("version = 1\n" + policy)}}, "p.toml", rules.LoadOptions{Profiles: policies.Profiles()})
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		if q.Policy, ps = rules.Resolve(p, &rules.Host{OS: "linux", Time: now, TimeZone: "UTC"}); ps.Err() != nil {
			t.Fatal(ps)
		}
	}
	return q
}

func looked(t *testing.T, policy string, listeners []live.Listener, managers ...live.Manager) *Report {
	t.Helper()
	q := question(t, policy, listeners)
	q.Host.Managers = managers
	r, err := Look(q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const tcp = packet.TCP

// A host without rules lets everybody in. Each case has exactly the findings that count
// or are notes, in the order of weight.
func TestFindings(t *testing.T) {
	const open = "[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\n"
	for name, c := range map[string]struct {
		policy    string
		listeners []live.Listener
		want      string // codes
	}{
		"as it should be":          {open, []live.Listener{owned("[::]:8000", tcp, "web", "www")}, ""},
		"for this host alone":      {open, []live.Listener{owned("[::]:8000", tcp, "web", "www"), owned("127.0.0.1:6379", tcp, "redis", "redis")}, ""},
		"exposed":                  {open, []live.Listener{owned("[::]:8000", tcp, "web", "www"), owned("0.0.0.0:6379", tcp, "redis", "redis")}, "FW101"},
		"wider":                    {strings.Replace(open, "any", "198.51.100.0/24", 1), []live.Listener{owned("0.0.0.0:8000", tcp, "web", "www")}, "FW102"},
		"dangling":                 {open, nil, "FW103"},
		"bound to loopback":        {open, []live.Listener{owned("127.0.0.1:8000", tcp, "web", "www")}, "FW103"},
		"another user":             {open + "expect = { user = \"www\" }\n", []live.Listener{owned("[::]:8000", tcp, "web", "root")}, "FW106"},
		"another process":          {open + "expect = { process = \"caddy\" }\n", []live.Listener{owned("[::]:8000", tcp, "web", "root")}, "FW106"},
		"another address":          {open + "expect = { listen = \"192.0.2.10\" }\n", []live.Listener{owned("0.0.0.0:8000", tcp, "web", "root")}, "FW107"},
		"the expected address":     {open + "expect = { listen = \"192.0.2.10\" }\n", []live.Listener{owned("192.0.2.10:8000", tcp, "web", "root")}, ""},
		"for one address":          {open + "to = [\"192.0.2.10\"]\n", []live.Listener{owned("0.0.0.0:8000", tcp, "web", "root")}, "FW102 FW107"},
		"two on one port":          {open, []live.Listener{owned("192.0.2.10:8000", tcp, "cromwell", "a"), owned("[::]:8000", tcp, "cromwell", "b")}, "FW108"},
		"started twice":            {open, []live.Listener{{Proto: tcp, Addr: netip.IPv6Unspecified(), Port: 8000, Owners: []live.Owner{{PID: 7, Process: "java", Leader: 7}}}, {Proto: tcp, Addr: netip.IPv6Unspecified(), Port: 8000, Owners: []live.Owner{{PID: 8, Process: "java", Leader: 8}}}}, "FW108"},
		"a socket for each worker": {open, []live.Listener{{Proto: tcp, Addr: netip.IPv6Unspecified(), Port: 8000, Owners: []live.Owner{{PID: 7, Process: "web", Leader: 7}, {PID: 8, Process: "web", Leader: 7}}}, {Proto: tcp, Addr: netip.IPv6Unspecified(), Port: 8000, Owners: []live.Owner{{PID: 9, Process: "web", Leader: 7}}}}, ""},
		"for nobody, and for some": {"[service.a]\nports = [\"8000/tcp\"]\nfrom = []\nto = [\"192.0.2.10\"]\nexpect = { user = \"a\" }\nshared = true\n" + open + "shared = true\n", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, ""},
		"for nobody, by another":   {"[service.a]\nports = [\"8000/tcp\"]\nfrom = []\nexpect = { user = \"a\" }\n", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, "FW102 FW106"},
		"forked":                   {open, []live.Listener{{Proto: tcp, Addr: netip.IPv6Unspecified(), Port: 8000, Owners: []live.Owner{{PID: 1, Process: "web"}, {PID: 2, Process: "web"}}}}, ""},
		"never":                    {"[service.omero]\nprofile = \"omero\"\nfrom = { clients = [\"any\"], web = [], grid = [] }\n[service.x]\nports = [\"3001/tcp\"]\nfrom = [\"any\"]\n", []live.Listener{owned("[::]:4064", tcp, "glacier2", "omero"), owned("[::]:3001", tcp, "x", "x")}, "FW109"},
		"expired":                  {open + "[service.old]\nports = [\"9/tcp\"]\nfrom = [\"any\"]\nexpires = 2026-01-01\n", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, "FW112"},
		"soon expired":             {open + "[service.old]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\nshared = true\nexpires = 2026-11-28\n", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, "FW113"},
		"accepted":                 {open + "[accept.redis]\nfinding = \"FW101\"\nmatch = \"6379/tcp\"\nreason = \"CHG-1\"\nexpires = 2027-01-01\n", []live.Listener{owned("[::]:8000", tcp, "web", "www"), owned("[::]:6379", tcp, "redis", "redis")}, ""},
		"accepted until last year": {open + "[accept.redis]\nfinding = \"FW101\"\nmatch = \"6379/tcp\"\nreason = \"CHG-1\"\nexpires = 2025-01-01\n", []live.Listener{owned("[::]:8000", tcp, "web", "www"), owned("[::]:6379", tcp, "redis", "redis")}, "FW101 FW117"},
		"accepted, but not there":  {open + "[accept.redis]\nfinding = \"FW101\"\nmatch = \"6379/tcp\"\nreason = \"CHG-1\"\nexpires = 2027-01-01\n", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, "FW117"},
		"a client of DHCP":         {open, []live.Listener{owned("[::]:8000", tcp, "web", "www")}, ""},
		"no policy":                {"", []live.Listener{owned("[::]:8000", tcp, "web", "www")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := looked(t, c.policy, c.listeners)
			var got []string
			for _, f := range r.Findings {
				if f.Accepted == "" {
					got = append(got, f.Code)
				}
				if f.Summary == "" || f.Severity == Critical && f.Code < "FW103" && f.Packet == "" {
					t.Errorf("a finding without words or packet: %+v", f)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("found %q, want %q\n%+v", got, c.want, r.Findings)
			}
			counts := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.counts() })
			if (r.Verdict == Findings) != counts {
				t.Errorf("verdict %v", r.Verdict)
			}
		})
	}
}

// Each code is there once, with words.
func TestCodes(t *testing.T) {
	for i, c := range Codes {
		if c.Code == "" || c.Name == "" || c.Meaning == "" || c.Cure == "" || i > 0 && Codes[i-1].Code >= c.Code {
			t.Errorf("%+v", c)
		}
	}
}

// Who manages rules beside fwctl is told of, if there is something to do about it.
func TestManagers(t *testing.T) {
	r := looked(t, "", nil, live.Manager{Name: "ufw", Sign: "chain ufw-user-input", Advice: "ufw disable"}, live.Manager{Name: "fail2ban"})
	if len(r.Findings) != 1 || r.Findings[0].Code != "FW114" {
		t.Errorf("%+v", r.Findings)
	}
}

// What a service expects of TLS is held against what the listener answers.
func TestExpectedTLS(t *testing.T) {
	const web = "[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\nexpect = { tls = true }\n"
	valid := func(days int) live.SpeakAnswer {
		return live.SpeakAnswer{Spoken: live.Spoken{Protocol: "tls", TLS: &live.TLS{Leaf: &live.Certificate{Trusted: true, Days: days}}}}
	}
	for name, c := range map[string]struct {
		policy string
		answer live.SpeakAnswer
		want   string
	}{
		"spoken":        {web, valid(90), ""},
		"plain text":    {web, live.SpeakAnswer{Spoken: live.Spoken{Protocol: "http", Answer: "HTTP/1.0 200 OK"}}, "FW110"},
		"expired":       {web, valid(-3), "FW111"},
		"soon expired":  {web, valid(13), "FW111"},
		"not yet valid": {web, live.SpeakAnswer{Spoken: live.Spoken{TLS: &live.TLS{Leaf: &live.Certificate{NotBefore: now.AddDate(0, 0, 1), Days: 90}}}}, "FW111"},
		"self-signed":   {web, live.SpeakAnswer{Spoken: live.Spoken{TLS: &live.TLS{Leaf: &live.Certificate{SelfSigned: true, Untrusted: "self-signed", Days: 90}}}}, "FW111"},
		"not expected":  {strings.Replace(web, "true", "false", 1), valid(90), "FW110"},
		"refused":       {web, live.SpeakAnswer{Spoken: live.Spoken{Alert: "unrecognized name"}}, "cannot tell"},
	} {
		t.Run(name, func(t *testing.T) {
			q := question(t, c.policy, []live.Listener{owned("[::]:8000", tcp, "web", "www")})
			q.Speak = func(qs []live.SpeakQuestion) []live.SpeakAnswer {
				if len(qs) != 2 || qs[0].Addr.Port() != 8000 {
					t.Errorf("asked %v", qs)
				}
				return []live.SpeakAnswer{c.answer, c.answer}
			}
			r, err := Look(q)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range r.Findings {
				got += f.Code
			}
			if got == "" && r.Verdict == CannotTell {
				got = "cannot tell"
			}
			if got != c.want {
				t.Errorf("found %q, want %q: %+v", got, c.want, r.Findings)
			}
			if tls := c.answer.Spoken.TLS; (tls != nil) != (r.Doors[0].Days != nil) || tls != nil && *r.Doors[0].Days != tls.Leaf.Days {
				t.Errorf("the days of the certificate are not told: %+v", r.Doors[0])
			}
		})
	}
}

// Each address of a port is asked: somebody may have forgotten TLS for one of them. What
// waits for this host alone behind it is not.
func TestEachAddressIsAsked(t *testing.T) {
	q := question(t, "[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\nexpect = { tls = true }\n",
		[]live.Listener{owned("192.0.2.10:8000", tcp, "web", "www"), owned("[2001:db8::10]:8000", tcp, "web", "www"), owned("127.0.0.1:8000", tcp, "app", "app")})
	q.Speak = func(qs []live.SpeakQuestion) (out []live.SpeakAnswer) {
		for _, x := range qs {
			a := live.SpeakAnswer{Spoken: live.Spoken{TLS: &live.TLS{}}}
			if !x.Addr.Addr().Is4() || x.Addr.Addr().IsLoopback() {
				a.Spoken = live.Spoken{Answer: "HTTP/1.0 200 OK"}
			}
			out = append(out, a)
		}
		return out
	}
	r, err := Look(q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		if f.Code == "FW110" {
			got = append(got, f.Evidence...)
		}
	}
	if strings.Join(got, "; ") != `on 2001:db8::10 it answers: plain text "HTTP/1.0 200 OK"` {
		t.Errorf("found %q", got)
	}
}

// Of a port about which the question is too large nothing is said, least of all that
// nobody reaches it.
func TestUntold(t *testing.T) {
	q := question(t, "[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\n", []live.Listener{owned("[::]:8000", tcp, "web", "www"), owned("[::]:6379", tcp, "redis", "redis")})
	q.Budget = 1
	r, err := Look(q)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != CannotTell || len(r.Findings) > 0 || !r.Doors[0].Untold || !r.Doors[1].Untold {
		t.Errorf("%v %+v %+v", r.Verdict, r.Findings, r.Doors)
	}
}
