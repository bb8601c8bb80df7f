package pf

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

func resolve(t *testing.T, policy string) *rules.Ruleset {
	t.Helper()
	fsys := fstest.MapFS{"p.toml": {Data: []byte("version = 1\n" + policy)}}
	p, problems := rules.Load(fsys, "p.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, nil)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatalf("%v in\n%s", err, policy)
	}
	return rs
}

const sshService = "[service.s]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n"

// What a dialect cannot say is an error at the line of the policy, never left out.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		policy string
		where  []Dialect // nil: everywhere
		says   string    // of severity Error
	}{
		{"[service.s]\nports = [\"53/udp\"]\nfrom = [\"any\"]\nlimit = \"5/second\"", nil,
			"p.toml:2:1: pf can limit TCP alone, because it counts completed handshakes (give the TCP ports a service of their own)"},
		{"[service.s]\nprotocols = [\"any\"]\nfrom = [\"any\"]\nlimit = \"5/second\"", nil, "p.toml:2:1: pf can limit TCP alone"},
		{"[service.s]\nports = [\"1/dccp\"]\nfrom = [\"any\"]", nil, "knows no ports of dccp (name the protocol without ports, protocols = [\"dccp\"])"},
		{"[service.s]\nports = [\"1/udplite\"]\nfrom = [\"any\"]", nil, "knows no ports of udplite"},
		{"[service.s]\nports = [\"1/sctp\"]\nfrom = [\"any\"]", []Dialect{OpenBSD, FreeBSDOld, MacOS}, "knows no ports of sctp"},
		{sshService + "in = [\"eth*\"]", []Dialect{OpenBSD, FreeBSD, FreeBSDOld}, "stands for \"eth*\""},
		{sshService + "in = [\"wg1*\"]", []Dialect{OpenBSD, FreeBSD, FreeBSDOld}, "stands for \"wg1*\""},
		{sshService + "in = [\"pppoe*\"]", []Dialect{FreeBSD, FreeBSDOld}, "stands for \"pppoe*\""},
		{sshService + "in = [\"wg*\"]", []Dialect{MacOS}, "macOS has no interface groups, so it cannot say \"wg*\" (name the interfaces)"},
		{sshService + "in = [\"egress\"]", []Dialect{FreeBSD, FreeBSDOld}, "does not keep the interface group egress (name the interface with the default route)"},
		{"[group.g]\naddresses = [\"192.0.2.1\"]\ninterfaces = [\"em1\"]\n[service.s]\nports = [\"1/tcp\"]\nfrom = [\"g\"]\nin = [\"dmz\"]",
			[]Dialect{OpenBSD, FreeBSD, FreeBSDOld}, "p.toml:5:1: pf cannot say which interfaces are both \"dmz\" and \"em1\" (name the interfaces)"},
		{"[defaults]\nrouted = \"drop\"", []Dialect{MacOS}, "macOS cannot tell routed packets from those for this host (leave routed = \"ignore\")"},
		{"[defaults]\nrouted = \"accept\"", []Dialect{MacOS}, "macOS cannot tell routed packets"},
		{"[defaults]\nrouted = \"drop\"\n[group.g]\naddresses = [\"192.0.2.1\"]\ninterfaces = [\"em1\"]\n[route.r]\nports = [\"1/tcp\"]\nfrom = [\"any\"]\nto = [\"g\"]",
			[]Dialect{FreeBSDOld}, "p.toml:7:1: FreeBSD with the old grammar cannot ask on the way out where a packet came in, as route.r needs for group.g"},
		{"[pf]\nanchors = [\"a/*\"]\n" + sshService, []Dialect{}, "a/*"}, // nobody minds
	} {
		rs := resolve(t, c.policy)
		for _, d := range allDialects {
			prog, problems := Render(rs, Options{Dialect: d})
			err := problems.Err()
			says := err != nil && strings.Contains(err.Error(), c.says)
			if here := c.where == nil || contains(c.where, d); says != here || here && prog != nil {
				t.Errorf("%v, %q: got %v, want %q: %v", d, c.policy, err, c.says, here)
			}
		}
	}
}

func contains(ds []Dialect, d Dialect) bool {
	for _, x := range ds {
		if x == d {
			return true
		}
	}
	return false
}

// What a dialect says differently is a note.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		policy string
		opt    Options
		says   string
	}{
		{sshService + "log = true", Options{}, "note p.toml:2:1: pf logs the packet that opens a connection, to pflog0 and without a rate limit"},
		{"[defaults]\nlog = \"denied\"", Options{}, "note pf logs refused packets to pflog0 without a rate limit, by the rule's label"},
		{sshService + "limit = \"7/hour\"", Options{},
			"note p.toml:2:1: the limit of service.s counts completed handshakes, per address, also of IPv6, and port; a source over it stays refused until it leaves the table s.over (run `pfctl -t s.over -T expire 3600` from cron)"},
		{sshService + "limit = \"7/hour\"", Options{Form: Anchor}, "(run `pfctl -a fwctl -t s.over -T expire 3600` from cron)"},
		{sshService + "limit = \"7/hour\"\nshared = true\n" + strings.ReplaceAll(sshService, "service.s", "service.t") + "limit = \"8/day\"\nshared = true", Options{},
			"note p.toml:2:1: a source over the limit of service.s is refused by it before service.t is asked"},
		{"[defaults]\ninbound = \"accept\"\n" + sshService + "limit = \"7/hour\"", Options{}, "note p.toml:4:1: service.s needs no limit in pf: what is over it is accepted by default"},
		{sshService + "expires = 2031-03-31", Options{}, "note p.toml:2:1: pf has no clock: service.s ends when the rules are loaded again after 2031-04-01 00:00 UTC (run `fwctl refresh` from cron)"},
		{sshService + "in = [\"egress\"]", Options{}, "note p.toml:2:1: OpenBSD takes \"egress\" for an interface group"},
		{sshService, Options{Dialect: FreeBSD, Form: Anchor}, "note this anchor needs a pf.conf that puts fragments together (it must have the line `set reassemble yes`)"},
		{sshService, Options{Dialect: FreeBSDOld, Form: Anchor}, "(it must have the line `scrub in all`)"},
		{sshService, Options{Dialect: FreeBSDOld}, "note FreeBSD with the old grammar tells routed packets from those of this host by their source address"},
		{sshService, Options{}, "note OpenBSD takes what is broadcast to a whole class A, B or C network, and the networks are not known (render with the facts of the host)"},
		{sshService, Options{Dialect: MacOS}, "note macOS cannot tell routed packets from those for this host, and judges them like these"},
		{"[block.b]\nfrom = [\"host\"]", Options{Dialect: MacOS}, "note p.toml:2:1: macOS takes the addresses of \"host\" when the rules are loaded, not when the packet comes (load the rules again when an address changes)"},
		{"[group.g]\nnames = [\"a.example\"]\n[service.s]\nports = [\"1/tcp\"]\nfrom = [\"g\"]", Options{}, "note p.toml:2:1: no address is known for a.example, so group.g is nobody"},
	} {
		_, problems := Render(resolve(t, c.policy), c.opt)
		var said []string
		for _, p := range problems {
			said = append(said, p.Severity.String()+" "+p.Error())
		}
		if !strings.Contains(strings.Join(said, "\n"), c.says) {
			t.Errorf("%q: said\n%s\nnot %s", c.policy, strings.Join(said, "\n"), c.says)
		}
	}
}

// Without a time a rule that has ended stands, loudly; with one it goes.
func TestEnded(t *testing.T) {
	rs := resolve(t, sshService+"expires = 2020-03-31")
	rs.Host = &rules.Host{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	prog, problems := Render(rs, Options{})
	if w := problems.Of(rules.Warning); len(w) != 1 || !strings.Contains(w[0].Summary, "service.s has ended") || !strings.Contains(prog.Text(), "port 22") {
		t.Errorf("%v", problems)
	}
	prog, problems = Render(rs, Options{At: rs.Host.Time})
	if len(problems) != 0 || strings.Contains(prog.Text(), "service.s") {
		t.Errorf("%v\n%s", problems, prog.Text())
	}
}

// The name of an anchor goes into quotes as it is.
func TestAnchorNames(t *testing.T) {
	for _, name := range []string{`a"b`, `a\`, "a b", "a\nb", "", "é"} {
		rs := resolve(t, sshService)
		rs.PFAnchors = []string{name}
		if _, problems := Render(rs, Options{}); problems.Err() == nil {
			t.Errorf("anchor %q is taken", name)
		}
		if _, problems := Render(rs, Options{Form: Anchor}); problems.Err() != nil {
			t.Errorf("anchor %q matters in an anchor", name)
		}
	}
}
