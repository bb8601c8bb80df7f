package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// scenario is what is drawn of a host.
type scenario struct {
	waits     []realProgram
	published []publication
	redirect  bool        // 8444 leads to 22, by IPv4
	rules     string      // what stands, in a word
	undo      string      // what takes it away
	applied   *realPolicy // by fwctl; nil: none
	held      *realPolicy // held against the host; nil: none
	shown     []string    // scripts, for whoever reads why a test failed
}

// realProgram is a program that waits on a port.
type realProgram struct {
	process, user, network string
	port                   uint16
	addrs                  []string
	dual                   bool   // one socket for both families
	tls                    []bool // of each address, whether TLS is spoken; nil: of none
}

// publication is a port of a container.
type publication struct {
	container, network, addr string // addr: empty for all
	port, inside             uint16
}

func (p publication) portOf() portOf { return portOf{p.network, p.port} }

// portOf is a port with its protocol.
type portOf struct {
	network string
	port    uint16
}

func (p portOf) String() string { return fmt.Sprintf("%d/%s", p.port, p.network) }

// realPorts are those that scenarios use: of programs, of containers, and of nobody.
var realPorts = []portOf{
	{"tcp", 22}, {"tcp", 80}, {"tcp", 443}, {"tcp", 8443}, {"tcp", 5432}, {"tcp", 6379}, {"udp", 5300},
	{"tcp", 8080}, {"tcp", 9000}, {"udp", 8053}, {"tcp", 7777}, {"tcp", 8444},
}

func (h *realHost) one(words ...string) string { return words[h.random.IntN(len(words))] }

// draw draws a scenario.
func (h *realHost) draw(i int) {
	h.shown = nil
	h.waits = h.drawPrograms()
	if i%6 == 0 {
		h.published = []publication{
			{"web", "tcp", h.one("", "", realOwn[0][0]), 8080, 80},
			{"back", "tcp", "127.0.0.1", 9000, 80},
			{"names", "udp", h.one("", "", realOwn[1][0]), 8053, 53},
		}
		h.publish()
	}
}

// drawAddrs draws on which addresses a program waits: of IPv4, of IPv6, or of both.
func (h *realHost) drawAddrs() (out []string) {
	for len(out) == 0 {
		for f, all := range []string{"0.0.0.0", "::"} {
			switch h.random.IntN(8) {
			case 0, 1, 2:
				out = append(out, all)
			case 3:
				out = append(out, []string{"127.0.0.1", "::1"}[f])
			case 4:
				out = append(out, realOwn[h.random.IntN(2)][f])
			case 5:
				out = append(out, realOwn[0][f], realOwn[1][f])
			}
		}
	}
	return out
}

func (h *realHost) drawPrograms() []realProgram {
	ws := []realProgram{
		{process: "sshd", user: "root", network: "tcp", port: 22, addrs: h.drawAddrs()},
		{process: "nginx", user: "root", network: "tcp", port: 80, addrs: h.drawAddrs()},
		{process: "nginx", user: "root", network: "tcp", port: 443, addrs: h.drawAddrs()},
		{process: "nginx", user: "root", network: "tcp", port: 8443, addrs: []string{h.one("::", "::", "::1", realOwn[0][1])}},
		{process: "postgres", user: "postgres", network: "tcp", port: 5432, addrs: h.drawAddrs()},
		{process: "redis-server", user: "redis", network: "tcp", port: 6379, addrs: h.drawAddrs()},
		{process: "echod", user: "nobody", network: "udp", port: 5300, addrs: []string{h.one("0.0.0.0", "::", "127.0.0.1", realOwn[0][0], realOwn[1][1])}},
	}
	if ws[1].dual = h.random.IntN(3) == 0; ws[1].dual {
		ws[1].addrs = []string{"0.0.0.0", "::"}
	}
	ws[6].dual = ws[6].addrs[0] == "::"
	if ws[6].dual {
		ws[6].addrs = []string{"0.0.0.0", "::"}
	}
	for range ws[2].addrs { // somebody may forget the word ssl
		ws[2].tls = append(ws[2].tls, h.random.IntN(6) > 0)
	}
	if h.random.IntN(5) == 0 { // two of the same on one port
		ws[5].addrs = []string{realOwn[0][0]}
		ws = append(ws, realProgram{process: "redis-server", user: h.one("redis", "nobody"), network: "tcp", port: 6379, addrs: []string{realOwn[1][0]}})
	}
	if h.random.IntN(3) > 0 { // it takes long to start
		ws[4].addrs = h.kept("postgres", ws[4].addrs)
	}
	if n := h.random.IntN(5); n != 2 && n != 4 && n < len(ws) { // not all run always
		ws = slices.Delete(ws, n, n+1)
	}
	return ws
}

// kept are the addresses on which a program already waits.
func (h *realHost) kept(process string, otherwise []string) []string {
	for _, w := range h.waits {
		if w.process == process {
			return w.addrs
		}
	}
	return otherwise
}

// publish makes the containers anew.
func (h *realHost) publish() {
	h.Helper()
	var b strings.Builder
	for _, p := range h.published {
		at := fmt.Sprintf("%d:%d/%s", p.port, p.inside, p.network)
		if p.addr != "" {
			at = p.addr + ":" + at
		}
		fmt.Fprintf(&b, "docker rm -f %[1]s >/run/said 2>&1 || :\ndocker run -d --security-opt seccomp=unconfined --name %[1]s -p %[2]s shell /shell serve %[3]d\n", p.container, at, p.inside)
	}
	h.script(b.String())
}

// place starts the programs of the scenario.
func (h *realHost) place() {
	h.Helper()
	was := h.counts["postgres"]
	var b strings.Builder
	b.WriteString(". /run/lib.sh\nend TERM sshd; end TERM nginx; end TERM redis; end TERM echod\n")
	var nginx []string
	postgres := ""
	for i, w := range h.waits {
		switch w.process {
		case "sshd":
			b.WriteString("/usr/sbin/sshd -o Port=22 -o PidFile=/run/scene/sshd.pid")
			for _, a := range w.addrs {
				fmt.Fprintf(&b, " -o ListenAddress=%s", a)
			}
			b.WriteString("\nfor try in $(seq 100); do [ -s sshd.pid ] && break; sleep 0.02; done\n")
		case "nginx":
			nginx = append(nginx, w.nginx())
		case "postgres":
			postgres = strings.Join(w.addrs, ",")
		case "redis-server":
			fmt.Fprintf(&b, "as %s redis%d redis-server --port 6379 --bind %s --protected-mode no --save '' --dir /\nwaits 6379 %d\n", w.user, i, strings.Join(w.addrs, " "), len(w.addrs))
		case "echod":
			addr := w.addrs[len(w.addrs)-1]
			fmt.Fprintf(&b, "as nobody echod echod echo %s\nwaits 5300 1\n", netip.AddrPortFrom(netip.MustParseAddr(addr), 5300))
		}
	}
	if len(nginx) > 0 {
		fmt.Fprintf(&b, "cat >nginx.conf <<'E'\npid /run/scene/nginx.pid;\nerror_log /run/scene/nginx.log;\nevents {}\nhttp {\naccess_log off;\n%s}\nE\nnginx -c /run/scene/nginx.conf\nfor try in $(seq 100); do [ -s nginx.pid ] && break; sleep 0.02; done\n", strings.Join(nginx, ""))
	}
	if was == 0 || postgres != h.postgres {
		b.WriteString("[ ! -e postgres.pid ] || { end INT postgres; }\n")
		if postgres != "" {
			fmt.Fprintf(&b, "as postgres postgres /usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf -c listen_addresses='%s' -c ssl=off\nwaits 5432 %d\n", postgres, 1+strings.Count(postgres, ","))
		}
		h.postgres = postgres
		h.counts["postgres"]++
	}
	h.shown = append(h.shown, b.String())
	h.script(b.String())
}

// nginx is a server of nginx.
func (w realProgram) nginx() string {
	var b strings.Builder
	b.WriteString("server {\n")
	for i, a := range w.addrs {
		if w.dual && i == 0 {
			continue
		}
		fmt.Fprintf(&b, "listen %s", netip.AddrPortFrom(netip.MustParseAddr(a), w.port))
		if w.dual {
			b.WriteString(" ipv6only=off")
		}
		if w.tls != nil && w.tls[i] {
			b.WriteString(" ssl")
		}
		b.WriteString(";\n")
	}
	if w.tls != nil {
		b.WriteString("ssl_certificate /run/cert.pem;\nssl_certificate_key /run/key.pem;\n")
	}
	b.WriteString("return 204;\n}\n")
	return b.String()
}

// realService is a service of a policy.
type realService struct {
	portOf
	from, to              []string
	ends                  time.Duration // from now; zero: never
	user, process, listen string
	tls                   string // "true", "false", or empty
}

func (s *realService) name() string { return fmt.Sprintf("service.%s-%d", s.network, s.port) }

// opens reports whether it opens anything now.
func (s *realService) opens() bool { return len(s.from) > 0 && s.ends >= 0 }

// realPolicy is a policy, as it was drawn.
type realPolicy struct {
	published string // "", "ignore", "enforce"
	services  []*realService
	blocked   []string
}

var realSources = [][]string{
	{"any"},
	{"any"},
	{"10.77.0.2"},
	{"10.77.0.2", "2001:db8:77::2"},
	{"10.77.0.0/24", "2001:db8:77::/64"},
	{"198.51.100.0/24", "2001:db8:9::/48", "10.77.0.3"},
	{"10.78.0.0/24", "2001:db8:78::/64"},
	{"2001:db8::/32"},
	{},
}

func (h *realHost) drawPolicy(published string) *realPolicy {
	p := &realPolicy{published: published}
	for _, port := range realPorts {
		if h.random.IntN(5) < 2 {
			continue
		}
		s := &realService{portOf: port, from: realSources[h.random.IntN(len(realSources))]}
		if h.random.IntN(6) == 0 {
			s.to = []string{realOwn[0][0], realOwn[0][1]}
		}
		switch h.random.IntN(12) {
		case 0:
			s.ends = -48 * time.Hour
		case 1:
			s.ends = 72 * time.Hour
		}
		h.drawExpect(s)
		p.services = append(p.services, s)
	}
	if h.random.IntN(4) == 0 {
		p.blocked = []string{"10.77.0.3", "2001:db8:a::/48"}
	}
	return p
}

// drawExpect draws what a service expects, right or wrong.
func (h *realHost) drawExpect(s *realService) {
	if slices.Contains([]uint16{8080, 9000, 8053, 7777, 8444}, s.port) || h.random.IntN(2) == 0 {
		return
	}
	switch h.random.IntN(4) {
	case 0:
		s.user = h.one("root", "redis", "postgres", "nobody")
	case 1:
		s.process = h.one("sshd", "nginx", "redis-server", "postgres")
	case 2:
		s.listen = h.one(realOwn[0][0], realOwn[1][0], "0.0.0.0")
	}
	if s.port == 443 || s.port == 80 && h.random.IntN(3) == 0 {
		s.tls = h.one("true", "true", "true", "false")
	}
}

// text writes the policy.
func (p *realPolicy) text() string {
	var b strings.Builder
	b.WriteString("version = 1\n[defaults]\ninbound = \"drop\"\n")
	if p.published != "" {
		fmt.Fprintf(&b, "published = %q\n", p.published)
	}
	if p.published == "enforce" {
		b.WriteString("container_interfaces = [\"docker0\"]\n")
	}
	for _, s := range p.services {
		fmt.Fprintf(&b, "[%s]\nports = [%q]\nfrom = %s\n", s.name(), s.portOf, list(s.from))
		if s.to != nil {
			fmt.Fprintf(&b, "to = %s\n", list(s.to))
		}
		if s.ends != 0 {
			fmt.Fprintf(&b, "expires = %s\n", time.Now().Add(s.ends).UTC().Format(time.RFC3339))
		}
		var expect []string
		for _, x := range [][2]string{{"user", s.user}, {"process", s.process}, {"listen", s.listen}} {
			if x[1] != "" {
				expect = append(expect, fmt.Sprintf("%s = %q", x[0], x[1]))
			}
		}
		if s.tls != "" {
			expect = append(expect, "tls = "+s.tls)
		}
		if expect != nil {
			fmt.Fprintf(&b, "expect = { %s }\n", strings.Join(expect, ", "))
		}
	}
	if p.blocked != nil {
		fmt.Fprintf(&b, "[block.bad]\nfrom = %s\n", list(p.blocked))
	}
	return b.String()
}

func list(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, fmt.Sprintf("%q", w))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// stand makes the rules of the scenario stand, and writes the policy that is held
// against them.
func (h *realHost) stand() {
	h.Helper()
	h.script(h.undo)
	h.undo, h.applied, h.held, h.redirect = "", nil, nil, false
	text := ""
	switch n := h.random.IntN(16); {
	case n == 0:
		h.rules = "no rules"
	case n < 4:
		h.rules, text, h.undo = "nftables for input", h.plainNFT(), "nft delete table inet plain\n"
	case n < 6:
		h.rules, text = "iptables for input", h.plainIPT()
		h.undo = strings.NewReplacer("-P INPUT DROP", "-P INPUT ACCEPT", "-A INPUT", "-D INPUT").Replace(text) // and nothing of others
	case n < 8:
		h.rules, text, h.undo = "ufw", h.ufw(), "ufw disable\n"
	default:
		h.rules = "fwctl"
		h.apply()
	}
	if h.held == nil && h.random.IntN(6) > 0 {
		h.held = h.drawPolicy(h.one("", "ignore", "enforce"))
	}
	if h.random.IntN(2) == 0 {
		text += h.foreign()
	}
	if h.random.IntN(3) == 0 && h.sshEverywhere() {
		h.redirect = true
		h.undo += "iptables -t nat -D PREROUTING -p tcp --dport 8444 -j REDIRECT --to-ports 22\n"
		text += "iptables -t nat -I PREROUTING -p tcp --dport 8444 -j REDIRECT --to-ports 22\n"
	}
	if h.held != nil {
		text += "cat >/run/policy.toml <<'E'\n" + h.held.text() + "E\n"
	}
	h.shown = append(h.shown, text)
	h.script(text)
}

// sshEverywhere reports whether sshd waits on all addresses of IPv4.
func (h *realHost) sshEverywhere() bool {
	return slices.ContainsFunc(h.waits, func(w realProgram) bool { return w.port == 22 && slices.Contains(w.addrs, "0.0.0.0") })
}

// apply applies a policy, and holds it against the host; or another one, sometimes.
func (h *realHost) apply() {
	h.Helper()
	h.held = h.drawPolicy(h.one("ignore", "enforce", "enforce", ""))
	backend := h.one("auto", "nftables", "iptables")
	text := "cat >/run/policy.toml <<'E'\n" + h.held.text() + "E\ncode=0; /share/fwctl apply --no-confirm --backend " + backend + " /run/policy.toml >/run/said 2>&1 || code=$?; echo $code; cat /run/said\n"
	h.shown = append(h.shown, text)
	said := h.script(text)
	code, _, _ := strings.Cut(said, "\n")
	switch {
	case code == "0":
		h.applied, h.undo = h.held, "/share/fwctl off --yes >/run/said 2>&1\n"
		h.rules += " by " + backend + ", published = " + h.held.published
	case code == "2" && h.held.published == "": // it has to be said
		h.rules += " refuses a policy that does not say what becomes of published ports"
	default:
		h.Fatalf("apply exits with %s", said)
	}
	if h.random.IntN(5) == 0 {
		h.held = h.drawPolicy(h.held.published)
	}
}

// openings draws what a plain firewall opens: a source and a port.
func (h *realHost) openings() (out []realService) {
	for range 3 + h.random.IntN(6) {
		s := realService{portOf: realPorts[h.random.IntN(len(realPorts))]}
		if from := realSources[h.random.IntN(len(realSources)-1)]; from[0] != "any" {
			s.from = from[:1]
		}
		out = append(out, s)
	}
	return out
}

// plainNFT is a firewall as many write it, for input alone.
func (h *realHost) plainNFT() string {
	var b strings.Builder
	b.WriteString("nft -f - <<'E'\ntable inet plain {\nchain in {\ntype filter hook input priority 0; policy drop;\nct state established,related accept\niif lo accept\nmeta l4proto { icmp, ipv6-icmp } accept\n")
	for _, s := range h.openings() {
		if s.from != nil {
			family := "ip"
			if strings.Contains(s.from[0], ":") {
				family = "ip6"
			}
			fmt.Fprintf(&b, "%s saddr %s ", family, s.from[0])
		}
		fmt.Fprintf(&b, "%s dport %d %s\n", s.network, s.port, h.one("accept", "accept", "accept", "reject"))
	}
	b.WriteString("}\n}\nE\n")
	return b.String()
}

// plainIPT is the same by iptables; many forget IPv6.
func (h *realHost) plainIPT() string {
	var b strings.Builder
	openings := h.openings()
	for _, six := range []bool{false, true} {
		if six && h.random.IntN(2) == 0 {
			break
		}
		program, icmp := "iptables", "icmp"
		if six {
			program, icmp = "ip6tables", "ipv6-icmp"
		}
		fmt.Fprintf(&b, "%[1]s -P INPUT DROP\n%[1]s -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n%[1]s -A INPUT -i lo -j ACCEPT\n%[1]s -A INPUT -p %[2]s -j ACCEPT\n", program, icmp)
		for _, s := range openings {
			from := ""
			if s.from != nil {
				if strings.Contains(s.from[0], ":") != six {
					continue
				}
				from = "-s " + s.from[0]
			}
			fmt.Fprintf(&b, "%s -A INPUT -p %s %s --dport %d -j ACCEPT\n", program, s.network, from, s.port)
		}
	}
	return b.String()
}

// ufw is the same by ufw.
func (h *realHost) ufw() string {
	b := strings.Builder{}
	b.WriteString("ufw --force reset >/run/said\nufw default deny incoming\n")
	for i, s := range h.openings() {
		if i == 4 { // it takes its time
			break
		}
		from := "any"
		if s.from != nil {
			from = s.from[0]
		}
		fmt.Fprintf(&b, "ufw %s proto %s from %s to any port %d\n", h.one("allow", "allow", "reject"), s.network, from, s.port)
	}
	b.WriteString("ufw --force enable\n")
	return b.String()
}

// foreign are rules of others beside those.
func (h *realHost) foreign() string {
	h.rules += ", rules of others"
	switch h.random.IntN(5) {
	case 0:
		h.undo += "nft delete table inet foreign\n"
		return "nft 'table inet foreign { chain c { type filter hook input priority -5; ip saddr 198.51.100.0/24 drop; }; }'\n"
	case 1:
		h.undo += "nft delete table inet foreign\n"
		return "nft 'table inet foreign { chain c { type filter hook prerouting priority -250; ip saddr 10.77.0.3 tcp dport { 80, 8080 } drop; ip6 saddr 2001:db8:9::/48 udp dport 5300 drop; }; }'\n"
	case 2:
		h.undo += "iptables -D DOCKER-USER -s 10.77.0.3 -j DROP\n"
		return "iptables -I DOCKER-USER -s 10.77.0.3 -j DROP\n"
	case 3:
		h.undo += "nft delete table inet foreign\n"
		return "nft 'table inet foreign { chain c { type filter hook input priority 10; tcp dport 6379 accept; udp dport 5300 reject; }; }'\n"
	}
	h.undo += "nft delete table inet foreign\n"
	return "nft 'table inet foreign { chain c { type filter hook input priority 5; tcp dport 6379 accept; iifname dmz0 tcp dport 22 accept; meta nfproto ipv6 tcp dport 22 drop; }; }'\n"
}

// about says what was drawn.
func (h *realHost) about() string {
	return fmt.Sprintf("%s\nwaits %+v\npublished %+v\n%s\n", h.rules, h.waits, h.published, strings.Join(h.shown, "\n---\n"))
}
