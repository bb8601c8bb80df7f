package adopt

import (
	"encoding/hex"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// Text is a file that was read.
type Text struct{ File, Text string }

// ufwNote is what ufw does beside the rules that a person adds.
const ufwNote = "these are the rules that were added to ufw, with its default of refusing; what its before.rules accept on their own (ping, mDNS, UPnP) is not among them"

// UFW reads /etc/ufw/user.rules and user6.rules, or what "ufw show added" prints.
// Apps are the ports of ufw's applications: see UFWApps.
func UFW(name string, v4, v6 Text, opt iptables.Options, apps map[string]string) (*Ruleset, error) {
	rs := &Ruleset{Name: name, Notes: []string{ufwNote}, Part: true}
	if !strings.Contains(v4.Text, "*filter") {
		return rs, rs.ufwAdded(v4, apps)
	}
	var err error
	if is6 := strings.Contains(v4.Text, "ufw6-user-input"); is6 {
		rs.V6, err = userRules(v4, true, opt)
		return rs, err
	}
	if rs.V4, err = userRules(v4, false, opt); err != nil || v6.File == "" {
		return rs, err
	}
	rs.V6, err = userRules(v6, true, opt)
	return rs, err
}

// userRules reads a file of rules for iptables-restore: chains of ufw that nothing
// in the file leads to.
func userRules(t Text, is6 bool, opt iptables.Options) (*packet.Filter, error) {
	chain := "ufw-user-input"
	if is6 {
		chain = "ufw6-user-input"
	}
	f, err := IPTables(t.File, t.Text+"\n*filter\n:INPUT DROP [0:0]\n-A INPUT -j "+chain+"\nCOMMIT\n", is6, opt)
	if err != nil {
		return nil, err
	}
	names := tupleNames(t.Text)
	f.Steps(func(s *packet.Step) {
		if name := names[s.Place.Line]; name != "" && (s.Place.Name == "" || strings.HasPrefix(s.Place.Name, "dapp_")) {
			s.Place.Name = name
		}
	})
	return f, nil
}

// tupleNames are what the lines of rules are called: by the comment, or the
// application, of the tuple above them.
func tupleNames(text string) map[int]string {
	names := map[int]string{}
	name, n := "", 0
	for line := range strings.Lines(text) {
		n++
		if tuple, ok := strings.CutPrefix(strings.TrimSpace(line), "### tuple ### "); ok {
			name = tupleName(strings.Fields(tuple))
			continue
		}
		if strings.HasPrefix(line, "-A ") {
			names[n] = name
		}
	}
	return names
}

// tupleName reads "allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 Apache - in comment=686932".
func tupleName(f []string) string {
	for _, w := range f {
		if code, ok := strings.CutPrefix(w, "comment="); ok {
			if text, err := hex.DecodeString(code); err == nil {
				return string(text)
			}
		}
	}
	if len(f) >= 9 && f[6] != "-" {
		return strings.ReplaceAll(f[6], "%20", " ")
	}
	return ""
}
