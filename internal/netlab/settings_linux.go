package netlab

import (
	"fmt"
	"os"
	"strings"
)

// setting is a file under /proc/sys/net and what is written to it.
type setting struct{ path, value string }

// The client never speaks by itself: no addresses, no IPv6.
var clientSettings = []setting{
	{"ipv6/conf/all/disable_ipv6", "1"},
	{"ipv6/conf/default/disable_ipv6", "1"},
}

// The host routes, believes every source, answers every refusal at once, and
// does not talk of its own accord.
var hostSettings = []setting{
	{"ipv4/conf/all/forwarding", "1"},
	{"ipv4/conf/default/forwarding", "1"},
	{"ipv4/conf/all/rp_filter", "0"},
	{"ipv4/conf/default/rp_filter", "0"},
	{"ipv4/conf/all/accept_local", "1"}, // a source that is an own address may come from outside
	{"ipv4/conf/default/accept_local", "1"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/ip_early_demux", "0"},
	{"ipv4/icmp_ratelimit", "0"},
	{"ipv4/icmp_ratemask", "0"}, // types that are limited; none also leaves the global limit out
	{"ipv4/igmp_max_memberships", "1000000"},
	{"ipv6/conf/all/forwarding", "1"},
	{"ipv6/conf/default/forwarding", "1"},
	{"ipv6/conf/all/accept_dad", "0"},
	{"ipv6/conf/default/accept_dad", "0"},
	{"ipv6/conf/default/accept_ra", "0"},
	{"ipv6/conf/default/addr_gen_mode", "1"}, // no link-local address but those that are asked for
	{"ipv6/auto_flowlabels", "0"},
	{"ipv6/ip_nonlocal_bind", "1"}, // probes may have any source
	{"ipv6/icmp/ratelimit", "0"},
	{"ipv6/icmp/ratemask", "2"}, // as above; packet too big is never sent here
}

// These exist once a rule that tracks connections is loaded.
var trackSettings = []setting{
	{"netfilter/nf_conntrack_checksum", "0"},       // Linux 6.18 checks UDP-Lite against UDP's pseudo header and calls all of it invalid
	{"netfilter/nf_conntrack_tcp_be_liberal", "1"}, // probes of established flows have no right window
}

func setAll(ss []setting) error {
	for _, s := range ss {
		err := os.WriteFile("/proc/sys/net/"+s.path, []byte(s.value), 0)
		if err != nil {
			return fmt.Errorf("set net.%s = %s: %w", strings.ReplaceAll(s.path, "/", "."), s.value, err)
		}
	}
	return nil
}
