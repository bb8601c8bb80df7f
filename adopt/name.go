package adopt

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/fwctl/fwctl/packet"
)

// longestName is how long the name of a section may be.
const longestName = 40

// validName makes a name for a section of a text: "" if there is nothing in it.
func validName(text string) string {
	text = strings.ToLower(text)
	for _, prefix := range []string{"service.", "block.", "group."} {
		text = strings.TrimPrefix(text, prefix)
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	name := strings.TrimRight(b.String(), "-_")
	if name == "" {
		return ""
	}
	if name[0] < 'a' || name[0] > 'z' {
		name = "r-" + strings.TrimLeft(name, "_")
	}
	if len(name) > longestName {
		name = strings.TrimRight(name[:longestName], "-_")
	}
	return name
}

// names hands out names, each once.
type names map[string]bool

func (n names) unique(name string) string {
	if name == "" {
		name = "rule"
	}
	for i, try := 2, name; ; i++ {
		if !n[try] {
			n[try] = true
			return try
		}
		suffix := fmt.Sprintf("-%d", i)
		try = name[:min(len(name), longestName-len(suffix))] + suffix
	}
}

// reserved are names that groups cannot have.
func newGroupNames() names {
	return names{"any": true, "private": true, "loopback": true, "host": true}
}

var (
	nftComment = regexp.MustCompile(`comment "([^"]*)"`)
	setInRule  = regexp.MustCompile(`--match-set (\S+) src|addr @(\S+)`)
)

// comment is what a rule says of itself.
func comment(p packet.Place) string {
	if p.Name != "" {
		return p.Name
	}
	if m := nftComment.FindStringSubmatch(p.Text); m != nil {
		return m[1]
	}
	return ""
}

// proposal is what to call a section, by the first of: its limit, a comment, the
// port, the chain.
func (s *section) proposal() string {
	if s.name != "" {
		return s.name
	}
	if len(s.places) > 0 {
		if name := validName(comment(s.places[0])); name != "" && name != "defaults-inbound" {
			return name
		}
	}
	if s.called != "" {
		return s.called
	}
	if name := portName(s.transports); name != "" {
		return name
	}
	if len(s.places) > 0 {
		if m := setInRule.FindStringSubmatch(s.places[0].Text); m != nil {
			return validName(m[1] + m[2])
		}
		switch c := s.places[0].Chain; strings.ToLower(c) {
		case "input", "", "ufw-user-input", "ufw6-user-input":
		default:
			return validName(c)
		}
	}
	return map[bool]string{true: "refused", false: "trusted"}[s.block]
}

// wellKnown are the names of ports that everybody knows by them.
var wellKnown = map[uint16]string{
	21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 67: "dhcp", 69: "tftp", 80: "http", 110: "pop3", 111: "rpcbind", 123: "ntp",
	139: "netbios", 143: "imap", 161: "snmp", 389: "ldap", 443: "https", 445: "smb", 465: "submissions", 514: "syslog", 587: "submission",
	631: "ipp", 636: "ldaps", 873: "rsync", 993: "imaps", 995: "pop3s", 1194: "openvpn", 1883: "mqtt", 2049: "nfs", 3306: "mysql",
	3389: "rdp", 5353: "mdns", 5432: "postgresql", 5900: "vnc", 6379: "redis", 6443: "kubernetes", 8080: "http-alt", 9090: "prometheus",
	9100: "node-exporter", 51820: "wireguard",
}

func portName(ts []transport) string {
	t := ts[0]
	switch {
	case t.any:
		return ""
	case !t.proto.HasPorts():
		return validName(t.proto.String())
	case len(t.dst) == 0:
		return "all-" + t.proto.String()
	}
	first := t.dst[0]
	if name, ok := wellKnown[first.Lo]; ok && first.Lo == first.Hi {
		return name
	}
	return validName(t.proto.String() + "-" + first.String())
}

// printable writes a text that others wrote on one line, without what a terminal
// would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
