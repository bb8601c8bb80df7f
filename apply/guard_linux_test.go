package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/rules"
)

// guarded is a host in a laboratory that a policy shall change.
type guarded struct {
	*testing.T
	lab    *netlab.Lab
	before *rules.Ruleset // nil until a policy was applied
	o      Options
	file   string
}

func newGuarded(t *testing.T) *guarded {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.toml")
	g := &guarded{T: t, lab: netlab.New(t, gen.Host()), file: file, o: Options{
		Files: os.DirFS("/"), Policy: strings.TrimPrefix(file, "/"), Load: rules.LoadOptions{Profiles: policies.Profiles()},
		StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"), Backend: Auto,
	}}
	// Linux makes the local route of an IPv6 address some time after the address.
	g.run("for a in 2001:db8::10 fd00:20::5 fd00:9::1; do until ip -6 route show table local | grep -q $a; do sleep 0.01; done; done")
	return g
}

// inside runs code in the host's namespace.
func (g *guarded) inside(fn func() error) {
	g.Helper()
	if err := g.lab.Do(fn); err != nil {
		g.Fatal(err)
	}
}

func (g *guarded) run(line string) {
	g.Helper()
	g.inside(func() error {
		out, err := exec.Command("sh", "-ec", line).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, out)
		}
		return nil
	})
}

// load resolves a policy on the host.
func (g *guarded) load(policy string) (rs *rules.Ruleset) {
	g.Helper()
	g.inside(func() error {
		h, err := live.Facts(g.Context())
		if err != nil {
			return err
		}
		var ps rules.Problems
		rs, ps = gen.Load(policy, h)
		return ps.Err()
	})
	return rs
}

// obey applies a policy at once.
func (g *guarded) obey(policy string) {
	g.Helper()
	g.before = g.load(policy)
	if err := os.WriteFile(g.file, []byte(policy), 0o600); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(g.file), "addresses.txt"), []byte{}, 0o600); err != nil {
		g.Fatal(err)
	}
	o := g.o
	o.Force = ForceAll // the kernel is to show what the guard would have refused
	g.inside(func() error { _, err := Apply(g.Context(), o); return err })
}

// guard asks whether a change locks out.
func (g *guarded) guard(q guardQuestion) (warnings []string, err error) {
	g.Helper()
	q.Before = g.before
	h := g.rules()
	g.inside(func() error { warnings, err = q.ask(g.Context(), h); return nil })
	return warnings, err
}

// rules are those of the host, without the laboratory's.
func (g *guarded) rules() (h *live.HostRules) {
	g.Helper()
	g.inside(func() (err error) { h, err = live.Rules(g.Context()); return err })
	h.Tables = slices.DeleteFunc(h.Tables, func(t *nftables.Table) bool { return t.Name == "netlab" })
	return h
}

// letIn reports whether the kernel lets the first packet of a connection in.
func (g *guarded) letIn(p packet.Packet) bool {
	g.Helper()
	p.Hook, p.Out = packet.Prerouting, "eth1"
	fates, err := g.lab.Trace([]packet.Packet{p})
	if err != nil {
		g.Fatal(err)
	}
	return fates[0].Hook == packet.Input && fates[0].Verdict == packet.Accept
}

// coming is the connection whose first packet is written so, and its interface.
func coming(t *testing.T, text string) (*live.Connection, packet.Packet) {
	t.Helper()
	p, err := packet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p.SrcPort, p.Flags = 51234, packet.SYN
	return &live.Connection{Proto: p.Proto, Src: netip.AddrPortFrom(p.Src, p.SrcPort), Dst: netip.AddrPortFrom(p.Dst, p.DstPort)}, p
}

const (
	own4 = "in eth0 tcp 203.0.113.9 -> 192.0.2.10:22"
	own6 = "in eth0 tcp [2001:db8:1::9] -> [2001:db8::10]:22"
	head = "version = 1\n[defaults]\npublished = \"ignore\"\n"
	kept = head + "[safety]\nkeep = [\"ssh\"]\n"
)

// service is a section of a policy that opens a port.
func service(name, ports, from, more string) string {
	return fmt.Sprintf("[service.%s]\nports = [%q]\nfrom = [%q]\n%s\n", name, ports, from, more)
}

func ssh(from, more string) string { return service("ssh", "22/tcp", from, more) }

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// lockout is a change of a policy, and whom it locks out.
type lockout struct {
	before  string // policy; "": none
	foreign string // loads rules of others
	after   string
	own     string // "": the first packet own4
	from    string // the interface is not told; "": it is
	until   time.Duration

	who    string // "own", the ID of a service, or "": nobody
	packet string // part of the packet
	by     string // part of what refuses it
	at     string // the line of the policy
	warns  string // part of a warning
	wait   bool   // until what expires SOON has expired
}

func TestGuard(t *testing.T) {
	mgmt := "[group.mgmt]\ninterfaces = [\"eth1\"]\naddresses = [\"203.0.113.0/24\"]\n"
	mine := "[group.mgmt]\ninterfaces = [\"eth*\"]\naddresses = [\"203.0.113.0/24\"]\n"
	world := ssh("any", "")
	nat := "nft 'table ip nat { chain pre { type nat hook prerouting priority dstnat; %s; }; }'"
	then := in(30 * time.Minute)
	dhcp := strings.Replace(kept, "ssh", "dhcp", 1)
	for name, c := range map[string]lockout{
		"same":                 {after: head + world},
		"same, kept":           {before: kept + world, after: kept + world},
		"IPv6":                 {after: head + world, own: own6},
		"port removed":         {after: head + service("ssh", "2222/tcp", "any", ""), who: "own", by: "defaults.inbound"},
		"port added":           {after: head + service("ssh", "22-23/tcp", "any", "")},
		"port not first":       {after: head + service("ssh", "20-22/tcp", "any", "")},
		"source narrowed":      {before: head + world, after: head + ssh("198.51.100.0/24", ""), who: "own", by: "defaults.inbound", at: "policy.toml:4:1"},
		"source narrowed less": {before: head + world, after: head + ssh("203.0.113.8/30", "")},
		"other interface":      {after: head + ssh("any", `in = ["eth1"]`), who: "own", by: "defaults.inbound"},
		"interfaces":           {after: head + ssh("any", `in = ["eth*"]`)},
		"group's interface":    {after: head + mgmt + ssh("mgmt", ""), who: "own", by: "defaults.inbound"},
		"group's interfaces":   {after: head + mine + ssh("mgmt", "")},
		"block":                {after: head + world + "[block.bad]\nfrom = [\"203.0.113.0/25\"]\n", who: "own", by: "block.bad", at: "policy.toml:8:1"},
		"block of others":      {after: head + world + "[block.bad]\nfrom = [\"203.0.113.128/25\"]\n"},
		"block of a port":      {after: head + world + "[block.bad]\nfrom = [\"any\"]\nports = [\"23/tcp\"]\n"},
		"limit":                {before: kept + world, after: kept + ssh("any", `limit = "10/minute"`)},
		"limit on others":      {after: head + ssh("198.51.100.0/24", `limit = "10/minute"`), who: "own", by: "defaults.inbound"},
		"only IPv4":            {after: head + ssh("0.0.0.0/0", ""), own: own6, who: "own", packet: "2001:db8:1::9", by: "defaults.inbound"},
		"only IPv4, by IPv4":   {after: head + ssh("0.0.0.0/0", "")},
		"only IPv6":            {after: head + ssh("::/0", ""), who: "own", by: "defaults.inbound"},
		"only IPv6, by IPv6":   {after: head + ssh("::/0", ""), own: own6},
		"expired":              {after: head + ssh("any", "expires = 2020-01-01"), who: "own", by: "defaults.inbound"},
		"expires soon":         {after: head + ssh("any", "expires = SOON"), until: time.Hour, wait: true, who: "own", by: "defaults.inbound"},
		"expires later":        {after: head + ssh("any", "expires = "+in(2*time.Hour)), until: time.Hour},
		"block expires":        {after: head + world + "[block.bad]\nfrom = [\"any\"]\nexpires = 2020-01-01\n"},
		"other address":        {after: head + ssh("any", `to = ["192.0.2.11"]`), who: "own", by: "defaults.inbound"},
		"that address":         {after: head + ssh("any", `to = ["192.0.2.10"]`)},
		"any of the host's":    {after: head + ssh("any", `to = ["host"]`)},
		"renamed":              {before: head + world, after: head + service("shell", "2222/tcp", "any", ""), who: "own", by: "defaults.inbound"},
		"only renamed":         {before: kept + world, after: head + service("shell", "22/tcp", "any", "")},
		"no longer open":       {before: head + "inbound = \"accept\"\n", after: head + service("web", "80/tcp", "any", ""), who: "own", by: "defaults.inbound"},
		"still open":           {before: head + "inbound = \"accept\"\n", after: head + "inbound = \"accept\"\n"},
		"rejected":             {after: head + "inbound = \"reject\"\n", who: "own", by: "defaults.inbound"},
		"source ports":         {after: head + ssh("any", `source_ports = ["1-40000/tcp"]`), who: "own", by: "defaults.inbound"},

		"interface not known":        {after: head + world, from: "unknown"},
		"interface not known, none":  {after: head + service("web", "80/tcp", "any", ""), from: "unknown", who: "own", by: "defaults.inbound"},
		"interface not known, some":  {after: head + ssh("any", `in = ["eth1"]`), from: "unknown", warns: "not proved that your own connection"},
		"own address":                {after: head, own: "in lo tcp 192.0.2.10 -> 192.0.2.10:22"},
		"not an address of the host": {after: head + world, own: "in eth0 tcp 203.0.113.9 -> 192.0.2.99:22", warns: "no packet from 203.0.113.9 to 192.0.2.99:22 can come by eth0"},

		"keep: source lost": {before: kept + world, after: kept + ssh("203.0.113.0/24", ""), who: "service.ssh", by: "defaults.inbound", at: "policy.toml:6:1"},
		"keep: sources moved": {before: kept + ssh("203.0.113.0/24", ""),
			after: kept + ssh("203.0.113.0/25", "shared = true") + service("more", "22/tcp", "203.0.113.128/25", "shared = true")},
		"keep: another service": {before: kept + world + service("web", "80/tcp", "any", ""), after: kept + world},
		"keep: not kept before": {before: head + ssh("any", ""), after: kept + ssh("203.0.113.0/24", "")},
		"keep: blocked":         {before: kept + world, after: kept + world + "[block.bad]\nfrom = [\"198.51.100.0/24\"]\n", who: "service.ssh", by: "block.bad", packet: "198.51.100."},
		"keep: blocked before": {before: kept + world + "[block.bad]\nfrom = [\"198.51.100.0/24\"]\n",
			after: kept + world + "[block.worse]\nfrom = [\"198.51.100.0/25\"]\n"},
		"keep: banned before": {before: kept + world, after: kept + world + "[block.bad]\nfrom = [\"198.51.100.0/24\"]\n",
			foreign: `nft 'table inet f2b { chain i { type filter hook input priority -1; ip saddr 198.51.100.0/24 reject; }; }'`},
		"keep: banned before, in part": {before: kept + world, after: kept + world + "[block.bad]\nfrom = [\"198.51.100.0/24\"]\n",
			foreign: `nft 'table inet f2b { chain i { type filter hook input priority -1; ip saddr 198.51.100.0/25 reject; }; }'`,
			who:     "service.ssh", by: "block.bad", packet: "198.51.100."},
		"keep: behind a queue": {before: kept + world, after: kept + ssh("203.0.113.0/24", ""), who: "service.ssh", warns: "NFQUEUE",
			foreign: "iptables-legacy -A INPUT -p tcp --dport 22 -j NFQUEUE"},
		"keep: behind what is not understood": {before: kept + world, after: kept + ssh("203.0.113.0/24", ""), who: "service.ssh", warns: "--string",
			foreign: "iptables-legacy -A INPUT -p tcp -m string --algo bm --string x -j DROP"},
		"keep: behind what is not understood, same": {before: kept + world, after: kept + service("ssh", "22-23/tcp", "any", ""), warns: "--string",
			foreign: "iptables-legacy -A INPUT -p tcp -m string --algo bm --string x -j DROP"},
		"keep: IPv6 lost":      {before: kept + world, after: kept + ssh("0.0.0.0/0", ""), who: "service.ssh", packet: "2001:db8"},
		"keep: interface":      {before: kept + world, after: kept + ssh("any", `in = ["eth0"]`), who: "service.ssh", by: "defaults.inbound"},
		"keep: each interface": {before: kept + world, after: kept + ssh("any", `in = ["eth0", "eth1", "wg*", "docker*"]`)},
		"keep: to the host":    {before: kept + world, after: kept + ssh("any", `to = ["host"]`)},
		"keep: to some":        {before: kept + world, after: kept + ssh("any", `to = ["192.0.2.10", "192.0.2.11", "::/0"]`), who: "service.ssh", by: "defaults.inbound"},
		"keep: blocked bogons": {before: kept + world, after: kept + world +
			"[block.bogons]\nfrom = [\"0.0.0.0/8\", \"127.0.0.0/8\", \"224.0.0.0/4\", \"192.0.2.10\", \"::\", \"::1\", \"ff00::/8\"]\n"},
		"keep: expires soon": {before: kept + world, after: kept + ssh("any", "expires = SOON"), until: time.Hour,
			own: "in lo tcp 192.0.2.10 -> 192.0.2.10:22", wait: true, who: "service.ssh", by: "defaults.inbound"},
		"keep: expires as before": {before: kept + ssh("any", "expires = "+then), after: kept + ssh("any", "expires = "+then), until: time.Hour,
			own: "in lo tcp 192.0.2.10 -> 192.0.2.10:22"},
		"keep: expired before": {before: kept + ssh("any", "expires = 2020-01-01"), after: head, own: "in lo tcp 192.0.2.10 -> 192.0.2.10:22"},
		"keep: DHCP": {before: dhcp + service("dhcp", "67/udp", "any", ""), after: dhcp + service("dhcp", "67/udp", "192.0.2.0/24", `in = ["eth0"]`) + world,
			who: "service.dhcp", packet: "udp"},
		"keep: published": {before: kept + world, after: kept + service("ssh", "22-23/tcp", "any", ""),
			own: own6, foreign: fmt.Sprintf(nat, "tcp dport 22 dnat to 10.20.0.99:22")},
		"keep: published, and lost": {before: kept + world, after: kept + ssh("::/0", ""),
			own: own6, foreign: fmt.Sprintf(nat, "tcp dport 22 dnat to 10.20.0.99:22")},
		"keep: udp too": {before: kept + strings.Replace(world, `"22/tcp"`, `"22/tcp", "60000/udp"`, 1), after: kept + world,
			who: "service.ssh", packet: "udp", by: "defaults.inbound"},

		"foreign table": {after: head + world, who: "own", by: "ip saddr",
			foreign: `nft 'table inet other { chain i { type filter hook input priority 10; ip saddr 203.0.113.9 drop comment "ip saddr"; }; }'`},
		"foreign table of others": {after: head + world,
			foreign: `nft 'table inet other { chain i { type filter hook input priority -10; ip saddr 203.0.113.10 drop; }; }'`},
		"foreign, before routing": {after: head + world, who: "own", by: "tcp dport 22 drop",
			foreign: `nft 'table ip raw { chain p { type filter hook prerouting priority -300; tcp dport 22 drop comment "mine"; }; }'`},
		"foreign policy": {after: head + world, who: "own", by: "inet other i",
			foreign: `nft 'table inet other { chain i { type filter hook input priority 10; policy drop; tcp dport 23 accept; }; }'`},
		"foreign legacy":            {after: head + world, who: "own", by: "-s 203.0.113.9", foreign: "iptables-legacy -A INPUT -s 203.0.113.9 -j DROP"},
		"foreign legacy, of others": {after: head + world, foreign: "iptables-legacy -A INPUT -s 203.0.113.10 -j DROP"},
		"foreign iptables-nft":      {after: head + world, who: "own", by: "ip saddr 203.0.113.9 counter drop", foreign: "iptables-nft -A INPUT -s 203.0.113.9 -j DROP"},
		"foreign, for slow packets": {after: head + world, warns: "203.0.113.9",
			foreign: `nft 'table inet other { chain i { type filter hook input priority 10; ip ttl < 5 drop; }; }'`},
		"foreign rate": {after: head + world,
			foreign: `nft 'table inet other { chain i { type filter hook input priority 10; tcp dport 22 limit rate over 5/second drop; }; }'`},
		"foreign, not understood": {after: head + world, warns: "--string",
			foreign: "iptables-legacy -A INPUT -p tcp -m string --algo bm --string x -j DROP"},
		"foreign, by chance": {after: head + world, warns: "statistic",
			foreign: "iptables-legacy -A INPUT -p tcp -m statistic --mode random --probability 0.5 -j DROP"},
		"foreign, not understood, and blocked": {after: head + service("web", "80/tcp", "any", ""), who: "own", by: "defaults.inbound",
			foreign: "iptables-legacy -A INPUT -p tcp -m string --algo bm --string x -j DROP"},
		"DNAT elsewhere":           {after: head + world, who: "own", by: "nat", foreign: fmt.Sprintf(nat, "tcp dport 22 dnat to 10.20.0.99:22")},
		"DNAT of another port":     {after: head + world, foreign: fmt.Sprintf(nat, "tcp dport 2222 dnat to 10.20.0.99:22")},
		"redirect to another port": {after: head + "inbound = \"accept\"\n", who: "own", by: "nat", foreign: fmt.Sprintf(nat, "tcp dport 22 redirect to :2222")},
		"redirect to the port":     {after: head + world, foreign: fmt.Sprintf(nat, "tcp dport 2222 redirect to :22")},
		"reverse path": {after: head + world,
			foreign: `nft 'table inet other { chain p { type filter hook prerouting priority -300; fib saddr . iif oif 0 drop; }; }'`},
	} {
		t.Run(name, func(t *testing.T) { c.test(t) })
	}
}

func (c lockout) test(t *testing.T) {
	g := newGuarded(t)
	soon := time.Now().Add(3 * time.Second)
	c.after = strings.ReplaceAll(c.after, "SOON", soon.UTC().Format(time.RFC3339))
	if c.before != "" {
		g.obey(c.before)
	}
	if c.foreign != "" {
		g.run(c.foreign)
	}
	text := c.own
	if text == "" {
		text = own4
	}
	own, p := coming(t, text)
	q := guardQuestion{Ruleset: g.load(c.after), Own: own, In: p.In, Until: time.Now().Add(c.until)}
	if c.from != "" {
		q.In = ""
	}
	warnings, err := g.guard(q)
	if got := strings.Join(warnings, "\n"); !strings.Contains(got, c.warns) || c.warns == "" && got != "" {
		t.Errorf("warnings %q, want %q", got, c.warns)
	}
	out := c.verdict(t, err)
	g.obey(c.after)
	if c.wait {
		time.Sleep(time.Until(soon))
	}
	switch {
	case c.who == "" && c.warns == "" && p.In != "lo" && !g.letIn(p):
		t.Errorf("the kernel does not let %s in", p)
	case out != nil && !strings.Contains(c.foreign, "redirect") && g.letIn(out.Packet):
		t.Errorf("the kernel lets %s in", out.Packet)
	}
}

// verdict compares the guard's with what is expected.
func (c lockout) verdict(t *testing.T, err error) *LockoutError {
	t.Helper()
	var e *LockoutError
	switch {
	case err == nil && c.who == "":
		return nil
	case !errors.As(err, &e):
		t.Fatalf("%v, want a lockout of %q", err, c.who)
	}
	t.Log(e)
	who := e.Service
	if e.Own {
		who = "own"
	}
	if who != c.who || !strings.Contains(e.Packet.String(), c.packet) || !strings.Contains(placeText(e.By), c.by) || c.at != "" && e.At != c.at {
		t.Errorf("%v\n%s, %s, by %s, at %q, want %+v", e, who, e.Packet, placeText(e.By), e.At, c)
	}
	if e.From.IsZero() == c.wait {
		t.Errorf("from %s on", e.From)
	}
	if foreign := c.foreign != "" && e.By.By.Source != "policy"; e.Foreign != foreign {
		t.Errorf("foreign %v, want %v", e.Foreign, foreign)
	}
	return e
}

// Beyond its budget or its time the guard warns, and refuses nothing.
func TestGuardGivesUp(t *testing.T) {
	g := newGuarded(t)
	g.obey(kept + ssh("any", ""))
	own, _ := coming(t, own4)
	q := guardQuestion{Ruleset: g.load(kept + ssh("203.0.113.0/24", "")), Own: own, In: "eth0", Budget: 40}
	warnings, err := g.guard(q)
	if err != nil || len(warnings) != 3 || !strings.Contains(warnings[0], "not proved that your own connection is not locked out") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// The guard reads the rules itself; what it cannot read it speaks of.
func TestGuardReadsTheHost(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the namespace goes with the thread
	ns, err := netns.New()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	defer ns.Close()
	if out, err := exec.Command("sh", "-ec", "ip link set lo up; ip address add 192.0.2.10/32 dev lo; iptables-legacy -A INPUT -s 203.0.113.9 -j DROP").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rs, ps := gen.Load(head+ssh("any", ""), gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	own, _ := coming(t, own4)
	var e *LockoutError
	if _, err := guard(t.Context(), guardQuestion{Ruleset: rs, Own: own, In: "eth0"}); !errors.As(err, &e) || !e.Own || !e.Foreign {
		t.Errorf("%v", err)
	}
	if warnings, err := guard(t.Context(), guardQuestion{Ruleset: rs, Before: rs}); err != nil || len(warnings) > 0 {
		t.Errorf("nobody to lock out: %q, %v", warnings, err)
	}
	h := &live.HostRules{Unread: []string{"table bridge x"}}
	warnings, err := guardQuestion{Ruleset: rs}.ask(t.Context(), h)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "table bridge x") {
		t.Errorf("%q, %v", warnings, err)
	}
}
