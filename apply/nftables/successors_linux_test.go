package nftables_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A set gets other elements where it is, if nothing else changes that a packet meets on
// the same way; else a successor.
func TestSetsGetSuccessors(t *testing.T) {
	for name, c := range map[string]struct {
		replace []string // in pairs
		renewed string
	}{
		"an address in a group":         {[]string{`"198.51.100.0/24", `, `"198.51.100.0/24", "203.0.113.77", `}, ""},
		"both families":                 {[]string{`"198.51.100.0/24", `, `"198.51.100.0/24", "203.0.113.77", "2001:db8:99::/48", `}, ""},
		"a port":                        {[]string{`"80/tcp", `, `"80/tcp", "88/tcp", `}, ""},
		"a service that goes":           {[]string{"[service.vrrp]\nprotocols = [\"vrrp\"]\nto = [\"224.0.0.18\"]\nfrom = [\"mgmt\"]\n", ""}, ""},
		"a service with its own chain":  {[]string{"[service.dhcp]", "[service.more]\nports = [\"7/tcp\"]\nfrom = [\"any\"]\nlimit = \"3/minute\"\n[service.dhcp]"}, "input.limited.ports"},
		"a port and an address":         {[]string{`"80/tcp", `, `"80/tcp", "88/tcp", `, `"198.51.100.0/24", `, `"198.51.100.0/24", "203.0.113.77", `}, "input.ports office.v4"},
		"an address, and a block of it": {[]string{`"198.51.100.0/24", `, `"198.51.100.0/24", "203.0.113.77", `, "[block.scanners]", "[block.more]\nfrom = [\"203.0.113.77\"]\n[block.scanners]"}, "office.v4"},
	} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			before := program(t, full)
			mustApply(t, before)
			after := strings.NewReplacer(c.replace...).Replace(full)
			sets := setHandles(t)
			changes := mustApply(t, program(t, after))
			var renewed []string
			for name := range setHandles(t) {
				if base, _, ok := strings.Cut(name, "/"); ok {
					renewed = append(renewed, base)
				}
			}
			slices.Sort(renewed)
			if got := strings.Join(renewed, " "); got != c.renewed {
				t.Errorf("successors of %q, want %q", got, c.renewed)
			}
			if slices.ContainsFunc(changes, func(s string) bool { return strings.Contains(s, "/2") }) {
				t.Errorf("the changes name a successor: %q", changes)
			}
			if sent := mustApply(t, program(t, after)); len(sent) > 0 {
				t.Errorf("a second apply sends %q", sent)
			}
			mustApply(t, before)
			if now := setHandles(t); len(now) != len(sets) {
				t.Errorf("there were the sets %v, now %v", sets, now)
			}
		})
	}
}

// setHandles are the kernel's numbers of the sets of our table.
func setHandles(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(?:set|map) (\S+) \{ # handle (\d+)`).FindAllStringSubmatch(nft(t, "-a", "list", "table", "inet", "fwctl"), -1) {
		out[m[1]] = m[2]
	}
	return out
}

// A rule that names a successor goes on with the counters of the one before it.
func TestCountersGoOn(t *testing.T) {
	namespace(t)
	policy := "version = 1\n[group.bad]\naddresses = [\"203.0.113.0/24\"]\n[group.worse]\naddresses = [\"198.51.100.0/24\"]\n" +
		"[block.bad]\nfrom = [\"bad\"]\n[block.worse]\nfrom = [\"worse\"]\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n"
	mustApply(t, program(t, policy))
	rule := regexp.MustCompile(`(?m)^\t\t(.*) counter packets \d+ bytes \d+ (drop comment "block\.(\w+)") # handle (\d+)`)
	for i, m := range rule.FindAllStringSubmatch(nft(t, "-a", "list", "chain", "inet", "fwctl", "blocks"), -1) {
		nft(t, "replace rule inet fwctl blocks handle "+m[4]+" "+m[1]+" counter packets "+[]string{"7", "9"}[i]+" bytes 900 "+m[2])
	}
	counts := func() map[string]string {
		out := map[string]string{}
		for _, m := range regexp.MustCompile(`saddr @(\S+) counter packets (\d+) bytes (\d+)`).FindAllStringSubmatch(nft(t, "list", "chain", "inet", "fwctl", "blocks"), -1) {
			out[m[1]] = m[2] + " " + m[3]
		}
		return out
	}
	if got := counts(); !maps.Equal(got, map[string]string{"bad.v4": "7 900", "worse.v4": "9 900"}) {
		t.Fatalf("the counters are %v", got)
	}
	mustApply(t, program(t, strings.NewReplacer("203.0.113.0/24", "203.0.113.0/25", "198.51.100.0/24", "198.51.100.0/25").Replace(policy)))
	if got := counts(); !maps.Equal(got, map[string]string{"bad.v4/2": "7 900", "worse.v4/2": "9 900"}) {
		t.Errorf("then the counters are %v", got)
	}
}
