package adopt

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fwctl/fwctl/read/iptables"
)

// ufwRule is one command of "ufw show added".
type ufwRule struct {
	action, dir      string
	in               string // interface
	proto            string
	from, to         netip.Prefix // invalid: any
	fromPort, toPort string       // as ufw writes them: "80,8000:8010"; "": any
	comment, app     string
	v4, v6           bool
}

// ufwAdded reads what "ufw show added" prints.
func (rs *Ruleset) ufwAdded(t Text, apps map[string]string) error {
	s := newScript()
	n := 0
	for line := range strings.Lines(t.Text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "Added user rules") || line == "(None)" {
			continue
		}
		words, ok := strings.CutPrefix(line, "ufw ")
		if !ok {
			return &TextError{t.File, n, fmt.Sprintf("neither a rule of user.rules nor a line of \"ufw show added\": %q", printable(line))}
		}
		r, why := parseUFW(iptables.Words(strings.ReplaceAll(words, "'", `"`)))
		if why == "" && r.app != "" && apps[r.app] == "" {
			why = "ufw's description of the application " + printable(r.app) + " is not here"
		}
		switch {
		case why != "":
			rs.Left = append(rs.Left, Left{Line: n, Rule: printable(line), Reason: why})
		case r.dir == "in":
			for _, one := range r.ports(apps) {
				one.write(s, source{line: n, text: printable(line), name: cmp.Or(r.comment, r.app)})
			}
		}
	}
	rs.V4, rs.V6 = s.filter(false), s.filter(true)
	return nil
}

// parseUFW reads the words of a command, and says why it cannot.
func parseUFW(words []string) (r ufwRule, why string) {
	r = ufwRule{dir: "in", v4: true, v6: true}
	p := &ufwWords{words: words}
	if p.next("route") {
		r.dir = "forward"
	}
	if r.action = p.word(); !oneWord(r.action, "allow", "deny", "reject", "limit") {
		return r, fmt.Sprintf("not understood: %q is no action of ufw", printable(r.action))
	}
	for len(p.words) > 0 && why == "" {
		why = r.option(p)
	}
	for _, w := range []string{r.in, r.proto, r.fromPort, r.toPort} {
		if why == "" && !isWord(w) {
			why = fmt.Sprintf("not understood: %q", printable(w))
		}
	}
	return r, why
}

// isWord reports whether a text is one word for iptables and nothing else.
func isWord(w string) bool {
	return !strings.HasPrefix(w, "-") && !strings.ContainsFunc(w, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"'!\\", r)
	})
}

func oneWord(w string, of ...string) bool {
	for _, o := range of {
		if w == o {
			return true
		}
	}
	return false
}

type ufwWords struct{ words []string }

func (p *ufwWords) word() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

// next takes a word if it is the next one.
func (p *ufwWords) next(w string) bool {
	if len(p.words) > 0 && p.words[0] == w {
		p.words = p.words[1:]
		return true
	}
	return false
}

// option reads the next option of a rule.
func (r *ufwRule) option(p *ufwWords) (why string) {
	switch w := p.word(); w {
	case "in", "out":
		if r.dir != "forward" {
			r.dir = w
		}
		if p.next("on") {
			r.in = p.word()
		}
	case "log", "log-all":
	case "proto":
		r.proto = p.word()
	case "comment":
		r.comment = p.word()
	case "from", "to":
		return r.end(w, p)
	default:
		return r.port(w)
	}
	return ""
}

// end reads "any", an address or a prefix, and its port.
func (r *ufwRule) end(w string, p *ufwWords) (why string) {
	a := p.word()
	if a != "any" {
		prefix, err := netip.ParsePrefix(a)
		if addr, err2 := netip.ParseAddr(a); err2 == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return fmt.Sprintf("not understood: %q is no address", printable(a))
		}
		if prefix.Addr().Is4() {
			r.v6 = false
		} else {
			r.v4 = false
		}
		if w == "from" {
			r.from = prefix
		} else {
			r.to = prefix
		}
	}
	if p.next("app") {
		if r.app = p.word(); w == "from" {
			return "not understood: an application that packets come from"
		}
	}
	if p.next("port") {
		if w == "from" {
			r.fromPort = p.word()
		} else {
			r.toPort = p.word()
		}
	}
	return ""
}

// port reads "22", "80,443/tcp", or the name of an application.
func (r *ufwRule) port(w string) (why string) {
	ports, proto, has := strings.Cut(w, "/")
	if strings.Trim(ports, "0123456789,:") != "" || ports == "" {
		if r.app != "" {
			return fmt.Sprintf("not understood: %q", printable(w))
		}
		r.app = w
		return ""
	}
	r.toPort = ports
	if has {
		r.proto = proto
	}
	return ""
}

// write adds the rules for iptables that ufw makes of the command.
func (r *ufwRule) write(s *script, from source) {
	protos := []string{r.proto}
	if r.proto == "" && r.toPort+r.fromPort != "" {
		protos = []string{"tcp", "udp"}
	}
	for _, proto := range protos {
		match := r.match(proto)
		for is6, speaks := range map[bool]bool{false: r.v4, true: r.v6} {
			if !speaks {
				continue
			}
			switch r.action {
			case "allow":
				s.add(is6, from, match+"-j ACCEPT")
			case "deny":
				s.add(is6, from, match+"-j DROP")
			case "reject":
				s.add(is6, from, match+"-j REJECT")
			case "limit": // as ufw does it: six connections in half a minute
				s.add(is6, from, match+"-m recent --update --seconds 30 --hitcount 6 -j REJECT")
				s.add(is6, from, match+"-j ACCEPT")
			}
		}
	}
}

func (r *ufwRule) match(proto string) string {
	m := ""
	if r.in != "" {
		m += "-i " + r.in + " "
	}
	if proto != "" {
		m += "-p " + proto + " "
	}
	if r.from.IsValid() {
		m += "-s " + r.from.String() + " "
	}
	if r.to.IsValid() {
		m += "-d " + r.to.String() + " "
	}
	if r.fromPort != "" {
		m += "-m multiport --sports " + r.fromPort + " "
	}
	if r.toPort != "" {
		m += "-m multiport --dports " + r.toPort + " "
	}
	return m
}
