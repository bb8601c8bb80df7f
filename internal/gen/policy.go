package gen

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing/fstest"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// Options say what Policy makes. The zero value is everything, in any size.
type Options struct {
	Services int  // at most so many; 0 is eight, one time in twenty eighty
	Blocks   int  // at most so many; 0 is three, one time in twenty twenty
	NoRoutes bool // leave the forward hook alone
	// Published enforces published ports, also where refused packets get an answer.
	Published bool
}

// Name is the name of the policy in FS.
const Name = "policy.toml"

// FS is the file system in which a policy lies: the policy and the file of
// addresses that it may name.
func FS(policy string) fs.FS {
	return fstest.MapFS{
		Name:            {Data: []byte(policy)},
		"addresses.txt": {Data: []byte(addressFile)},
	}
}

// Load loads a policy and resolves it on the host.
func Load(policy string, h *rules.Host) (*rules.Ruleset, rules.Problems) {
	p, problems := rules.Load(FS(policy), Name, rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, h)
	return rs, append(problems, more...)
}

// attempts is how many policies Policy writes until one is good: services that
// overlap without saying shared, and the like, are not avoided but refused.
const attempts = 200

// Policy writes a random policy that is good on Host. It panics when it cannot,
// which is an error of this package or of the loader.
func Policy(r *rand.Rand, opt Options) string {
	if opt.Services == 0 && opt.Blocks == 0 && r.IntN(20) == 0 {
		opt.Services, opt.Blocks = 80, 20
	}
	var text string
	var problems rules.Problems
	for range attempts {
		text = (&writer{r: r, opt: opt}).policy()
		if _, problems = Load(text, Host()); problems.Err() == nil {
			return text
		}
	}
	panic(fmt.Sprintf("no good policy in %d attempts; the last one:\n%s\n%v", attempts, text, problems.Err()))
}

// writer writes one policy.
type writer struct {
	r   *rand.Rand
	opt Options
	b   strings.Builder

	groups   []string // the groups that were written
	free     []string // those of them that are bound to no interface
	outbound string
	routed   string
}

func (w *writer) policy() string {
	w.line("version = 1")
	w.defaults()
	w.times(6, w.group)
	w.times(orElse(w.opt.Services, 8), w.service)
	w.times(orElse(w.opt.Blocks, 3), w.block)
	w.times(2, w.outboundBlock)
	if w.outbound != "accept" {
		w.times(4, w.outboundRule)
	}
	if w.routed == "drop" {
		w.times(4, w.route)
	}
	return w.b.String()
}

func orElse(n, missing int) int {
	if n == 0 {
		return missing
	}
	return n
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// section begins one, with a blank line before it.
func (w *writer) section(kind string, n int) { w.line("\n[%s.%s%d]", kind, kind[:1], n) }

// times writes up to most sections, numbered from 0.
func (w *writer) times(most int, write func(n int)) {
	for n := range w.r.IntN(most + 1) {
		write(n)
	}
}

// chance is true so many times out of a hundred.
func (w *writer) chance(percent int) bool { return w.r.IntN(100) < percent }

func (w *writer) pick(from []string) string { return from[w.r.IntN(len(from))] }

// some picks up to most different strings, at least one.
func (w *writer) some(most int, from []string) []string {
	var out []string
	for _, i := range w.r.Perm(len(from))[:1+w.r.IntN(min(most, len(from)))] {
		out = append(out, from[i])
	}
	return out
}

func list(ss []string) string {
	quoted := make([]string, len(ss))
	for i, s := range ss {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (w *writer) defaults() {
	w.outbound = w.pick([]string{"accept", "accept", "drop", "reject"})
	w.routed = w.pick([]string{"ignore", "drop", "drop", "accept"})
	if w.opt.NoRoutes {
		w.routed = "ignore"
	}
	w.line("\n[defaults]")
	inbound := w.pick([]string{"drop", "drop", "reject", "accept"})
	w.line("inbound   = %q", inbound)
	w.line("outbound  = %q", w.outbound)
	w.line("routed    = %q", w.routed)
	// With iptables nothing can be rejected before translation.
	if w.opt.Published || inbound != "reject" && w.chance(30) {
		w.line("published = \"enforce\"")
		if w.chance(80) {
			w.line("container_interfaces = %s", list(w.some(2, interfaces)))
		}
	} else {
		w.line("published = \"ignore\"")
	}
	w.line("icmp      = %q", w.pick([]string{"minimal", "standard", "all"}))
	w.line("log       = %q", w.pick([]string{"none", "denied"}))
}

func (w *writer) group(n int) {
	w.section("group", n)
	name := fmt.Sprintf("g%d", n)
	bound := w.chance(40)
	switch {
	case w.chance(10):
		w.line("file        = \"addresses.txt\"\nmin_entries = 5")
	case w.chance(10):
		w.line("names       = [\"api.partner.example\"]")
	case w.chance(15):
		w.line("addresses   = %s", list(w.many()))
	default:
		from := append(append([]string{"private", "any"}, sources...), w.groups...)
		if !bound {
			from = append(from, "host")
		}
		w.line("addresses   = %s", list(append(w.some(4, from), w.nested()...)))
	}
	if w.chance(30) {
		w.line("except      = %s", list(w.some(2, append(sources[:len(sources):len(sources)], w.free...))))
	}
	if bound {
		w.line("interfaces  = %s", list(w.some(2, interfaces)))
	}
	w.line("allow_empty = true")
	w.groups = append(w.groups, name)
	if !bound {
		w.free = append(w.free, name)
	}
}

// many are so many networks that a renderer may want to put them into a set of
// their own.
func (w *writer) many() []string {
	var out []string
	for range 40 + w.r.IntN(200) {
		a, b := w.r.IntN(256), w.r.IntN(256)
		out = append(out,
			fmt.Sprintf("198.51.%d.%d", 96+a%8, b),
			fmt.Sprintf("203.0.%d.%d/28", a, b&0xf0),
			fmt.Sprintf("2001:db8:%x:%x::/64", a%4, b))
	}
	return out
}

// nested names an earlier group now and then.
func (w *writer) nested() []string {
	if len(w.groups) == 0 || !w.chance(30) {
		return nil
	}
	return []string{w.pick(w.groups)}
}

// from writes who.
func (w *writer) from() string {
	switch {
	case w.chance(25):
		return `["any"]`
	case w.chance(4):
		return "[]"
	case w.chance(4):
		return `["loopback"]`
	}
	return list(w.some(3, append(append([]string{"private", "host"}, sources...), w.twice(w.groups)...)))
}

// twice makes groups as likely as addresses.
func (w *writer) twice(groups []string) []string {
	var out []string
	for range 4 {
		out = append(out, groups...)
	}
	return out
}

func (w *writer) service(n int) {
	w.section("service", n)
	if w.chance(15) {
		w.profile(n)
	} else {
		w.line("from    = %s", w.from())
		w.transports(true)
		if w.chance(30) {
			w.line("to      = %s", list(w.some(2, append(destinations[:len(destinations):len(destinations)], w.free...))))
		}
	}
	if w.chance(25) {
		w.line("in      = %s", list(w.some(2, interfaces)))
	}
	if w.chance(15) {
		w.line("limit   = %q", w.pick(limits))
	}
	w.expiry()
	if w.chance(15) {
		w.line("log     = true")
	}
	if w.opt.Services > 20 || w.chance(90) {
		w.line("shared  = true")
	}
}

// profiles has what profiles want of a policy, FROM being who.
var profiles = []string{
	"profile = \"ssh\"\nfrom    = FROM",
	"profile = \"http\"\nfrom    = FROM",
	"profile = \"cromwell\"\nwith    = { port = 8001 }\nfrom    = FROM",
	"profile = \"vrrp\"\nfrom    = FROM",
	"profile = \"dns\"\nfrom    = FROM",
	"profile = \"mosh\"\nwith    = { first = 60000, last = 60010 }\nfrom    = FROM",
	"profile = \"omero\"\nwith    = { prefix = \"1\", insecure = true }\nfrom    = { clients = FROM, web = FROM, grid = FROM }",
}

func (w *writer) profile(int) {
	text := w.pick(profiles)
	for strings.Contains(text, "FROM") {
		text = strings.Replace(text, "FROM", w.from(), 1)
	}
	w.line("%s", text)
}

func (w *writer) expiry() {
	if w.chance(15) {
		w.line("expires = %s", w.pick(expiries))
	}
}

// transports writes ports, source ports and protocols; something if it must.
func (w *writer) transports(must bool) {
	withPorts := w.chance(75)
	if withPorts {
		w.ports()
	}
	if must && !withPorts || w.chance(10) {
		w.line("protocols = %s", list(w.some(2, portless)))
	}
}

func (w *writer) ports() {
	protos := w.some(2, portProtocols)
	var dst, src []string
	for _, proto := range protos {
		for _, p := range w.some(3, portTexts) {
			dst = append(dst, p+"/"+proto)
		}
		for _, p := range w.some(2, portTexts) {
			src = append(src, p+"/"+proto)
		}
	}
	w.line("ports   = %s", list(dst))
	if w.chance(15) {
		w.line("source_ports = %s", list(src))
	}
}

func (w *writer) block(n int) {
	w.section("block", n)
	w.line("from    = %s", list(w.some(2, append(sources[:len(sources):len(sources)], w.twice(w.groups)...))))
	if w.chance(40) {
		w.transports(false)
	}
	if w.chance(20) {
		w.line("to      = %s", list(w.some(2, append(destinations[:len(destinations):len(destinations)], w.free...))))
	}
	if w.chance(15) {
		w.line("in      = %s", list(w.some(2, interfaces)))
	}
	w.expiry()
}

func (w *writer) far() string {
	return list(w.some(3, append(farDestinations[:len(farDestinations):len(farDestinations)], w.twice(w.groups)...)))
}

func (w *writer) outboundBlock(n int) {
	w.section("block", 100+n)
	w.line("direction = \"outbound\"\nto      = %s", w.far())
	if w.chance(50) {
		w.transports(false)
	}
	w.expiry()
}

func (w *writer) outboundRule(n int) {
	w.section("outbound", n)
	w.line("to      = %s", w.far())
	w.transports(true)
	w.expiry()
}

func (w *writer) route(n int) {
	w.section("route", n)
	w.line("from    = %s\nto      = %s", w.from(), w.far())
	w.transports(true)
	if w.chance(25) {
		w.line("in      = %s", list(w.some(2, interfaces)))
	}
	w.expiry()
}
