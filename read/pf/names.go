package pf

import (
	"net"
	"slices"
	"strconv"

	"github.com/fwctl/fwctl/packet"
)

// Names of ICMP types and codes, as pfctl_parser.c has them. Where two stand for
// one number, the first is the one that is printed.
type named struct {
	name string
	n    int
}

var icmpTypes = []named{
	{"echoreq", 8}, {"echorep", 0}, {"unreach", 3}, {"squench", 4}, {"redir", 5}, {"althost", 6}, {"routeradv", 9},
	{"routersol", 10}, {"timex", 11}, {"paramprob", 12}, {"timereq", 13}, {"timerep", 14}, {"inforeq", 15},
	{"inforep", 16}, {"maskreq", 17}, {"maskrep", 18}, {"trace", 30}, {"dataconv", 31}, {"mobredir", 32},
	{"ipv6-where", 33}, {"ipv6-here", 34}, {"mobregreq", 35}, {"mobregrep", 36}, {"skip", 39}, {"photuris", 40},
}

var icmp6Types = []named{
	{"unreach", 1}, {"toobig", 2}, {"timex", 3}, {"paramprob", 4}, {"echoreq", 128}, {"echorep", 129},
	{"groupqry", 130}, {"listqry", 130}, {"grouprep", 131}, {"listenrep", 131}, {"groupterm", 132},
	{"listendone", 132}, {"routersol", 133}, {"routeradv", 134}, {"neighbrsol", 135}, {"neighbradv", 136},
	{"redir", 137}, {"routrrenum", 138}, {"wrureq", 139}, {"fqdnreq", 139}, {"niqry", 139}, {"wrurep", 140},
	{"fqdnrep", 140}, {"nirep", 140}, {"mtraceresp", 200}, {"mtrace", 201},
}

// The codes, by type.
var icmpCodes = map[int][]named{
	3: {
		{"net-unr", 0}, {"host-unr", 1}, {"proto-unr", 2}, {"port-unr", 3}, {"needfrag", 4}, {"srcfail", 5},
		{"net-unk", 6}, {"host-unk", 7}, {"isolate", 8}, {"net-prohib", 9}, {"host-prohib", 10}, {"net-tos", 11},
		{"host-tos", 12}, {"filter-prohib", 13}, {"host-preced", 14}, {"cutoff-preced", 15},
	},
	5:  {{"redir-net", 0}, {"redir-host", 1}, {"redir-tos-net", 2}, {"redir-tos-host", 3}},
	9:  {{"normal-adv", 0}, {"common-adv", 16}},
	11: {{"transit", 0}, {"reassemb", 1}},
	12: {{"badhead", 0}, {"optmiss", 1}, {"badlen", 2}},
	40: {{"unknown-ind", 1}, {"auth-fail", 2}, {"decrypt-fail", 3}},
}

var icmp6Codes = map[int][]named{
	1:   {{"noroute-unr", 0}, {"admin-unr", 1}, {"beyond-unr", 2}, {"notnbr-unr", 2}, {"addr-unr", 3}, {"port-unr", 4}},
	3:   {{"transit", 0}, {"reassemb", 1}},
	4:   {{"badhead", 0}, {"nxthdr", 1}},
	137: {{"redironlink", 0}, {"redirrouter", 1}},
}

// codeName returns the name of a code. OpenBSD has another name for one than the systems
// that took pf from it.
func (d Dialect) codeName(codes map[int][]named, kind, code int) string {
	if d != OpenBSD && kind == 1 && code == 2 && codes[1] != nil {
		return "notnbr-unr"
	}
	return nameFor(codes[kind], code)
}

// number returns the number of a name, or of digits up to most.
func number(names []named, text string, most int) (int, bool) {
	i := slices.IndexFunc(names, func(n named) bool { return n.name == text })
	if i >= 0 {
		return names[i].n, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= most && text[0] != '+'
}

// nameFor returns the name of a number, the number itself if it has none.
func nameFor(names []named, n int) string {
	i := slices.IndexFunc(names, func(x named) bool { return x.n == n })
	if i >= 0 {
		return names[i].name
	}
	return strconv.Itoa(n)
}

// protocols are the names that /etc/protocols has everywhere.
var protocols = []named{
	{"icmp", 1}, {"igmp", 2}, {"ggp", 3}, {"ipencap", 4}, {"tcp", 6}, {"egp", 8}, {"udp", 17}, {"ipv6", 41}, {"gre", 47},
	{"esp", 50}, {"ah", 51}, {"ipv6-icmp", 58}, {"icmp6", 58}, {"ospf", 89}, {"ipip", 94}, {"etherip", 97}, {"pim", 103},
	{"carp", 112}, {"vrrp", 112}, {"l2tp", 115}, {"sctp", 132}, {"pfsync", 240},
}

func protoName(p packet.Proto) string { return nameFor(protocols, int(p)) }

// services are the names of ports that /etc/services has everywhere, as far as
// rules name them.
var services = []named{
	{"ftp-data", 20}, {"ftp", 21}, {"ssh", 22}, {"telnet", 23}, {"smtp", 25}, {"time", 37}, {"domain", 53},
	{"bootps", 67}, {"bootpc", 68}, {"tftp", 69}, {"gopher", 70}, {"finger", 79}, {"http", 80}, {"www", 80},
	{"kerberos", 88}, {"pop3", 110}, {"sunrpc", 111}, {"auth", 113}, {"nntp", 119}, {"ntp", 123}, {"netbios-ns", 137},
	{"netbios-dgm", 138}, {"netbios-ssn", 139}, {"imap", 143}, {"snmp", 161}, {"snmptrap", 162}, {"bgp", 179},
	{"ldap", 389}, {"https", 443}, {"microsoft-ds", 445}, {"submissions", 465}, {"smtps", 465}, {"isakmp", 500},
	{"syslog", 514}, {"submission", 587}, {"ldaps", 636}, {"domain-s", 853}, {"rsync", 873}, {"ftps", 990},
	{"imaps", 993}, {"pop3s", 995}, {"nfsd", 2049}, {"mysql", 3306}, {"ipsec-msft", 4500}, {"sip", 5060},
	{"dhcpv6-client", 546}, {"dhcpv6-server", 547}, {"mdns", 5353}, {"postgresql", 5432},
}

// service looks a name up in /etc/services, as pfctl does: which names it has differs by
// host.
func service(name string) (n int, ok bool) {
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return 0, false
	}
	for _, network := range []string{"tcp", "udp"} {
		if n, err := net.LookupPort(network, name); err == nil {
			return n, true
		}
	}
	return 0, false
}

// keyword reports whether pfctl's lexer takes the word for itself wherever it stands
// unquoted (lookup in parse.y).
func (p *parser) keyword(s string) bool {
	if p.config != nil && p.config.Dialect == OpenBSD {
		return listed(openBSDKeywords, s)
	}
	return listed(keywords, s)
}

// isKeyword reports whether some pfctl does.
func isKeyword(s string) bool { return listed(keywords, s) || listed(openBSDKeywords, s) }

func listed(words []string, s string) bool {
	_, found := slices.BinarySearch(words, s)
	return found
}

var openBSDKeywords = []string{
	"af-to", "all", "allow-opts", "anchor", "antispoof", "any", "bandwidth", "binat-to", "bitmask", "block",
	"block-policy", "burst", "code", "debug", "default", "delay", "divert-packet", "divert-reply", "divert-to", "drop",
	"dup-to", "file", "fingerprints", "flags", "floating", "flows", "flush", "for", "fragment", "from", "global",
	"group", "hostid", "icmp-type", "icmp6-type", "if-bound", "in", "include", "inet", "inet6", "keep", "label",
	"least-states", "limit", "load", "log", "loginterface", "match", "matches", "max", "max-mss", "max-pkt-rate",
	"max-src-conn", "max-src-conn-rate", "max-src-nodes", "max-src-states", "min", "min-ttl", "modulate", "nat-to",
	"no", "no-df", "no-route", "no-sync", "on", "once", "optimization", "os", "out", "overload", "parent", "pass",
	"pflow", "port", "prio", "probability", "proto", "qlimit", "quantum", "queue", "quick", "random", "random-id",
	"rdomain", "rdr-to", "reassemble", "received-on", "reply-to", "return", "return-icmp", "return-icmp6",
	"return-rst", "round-robin", "route", "route-to", "rtable", "rule", "ruleset-optimization", "scrub", "set",
	"skip", "sloppy", "source-hash", "source-track", "state", "state-defaults", "state-policy", "static-port",
	"sticky-address", "syncookies", "synproxy", "table", "tag", "tagged", "timeout", "to", "tos", "ttl",
	"urpf-failed", "user", "weight",
}

var keywords = []string{
	"af-to", "all", "allow-opts", "allow-related", "altq", "anchor", "antispoof", "any", "bandwidth", "binat",
	"binat-anchor", "binat-to", "bitmask", "block", "block-policy", "cbq", "code", "codelq", "debug", "delay",
	"divert-packet", "divert-reply", "divert-to", "dnpipe", "dnqueue", "drop", "dummynet", "dummynet-anchor", "dup-to",
	"ether", "fail-policy", "fairq", "fastroute", "file", "fingerprints", "flags", "floating", "flush", "for",
	"fragment", "from", "global", "group", "hfsc", "hostid", "icmp-type", "icmp6-type", "if-bound", "in", "include",
	"inet", "inet6", "keep", "keepcounters", "label", "limit", "linkshare", "load", "log", "loginterface", "match",
	"matches", "max", "max-mss", "max-pkt-rate", "max-src-conn", "max-src-conn-rate", "max-src-nodes", "max-src-states",
	"min-ttl", "modulate", "nat", "nat-anchor", "nat-to", "no", "no-df", "no-route", "no-sync", "on", "once",
	"optimization", "os", "out", "overload", "pass", "pflow", "port", "prio", "priority", "priq", "probability",
	"proto", "qlimit", "queue", "quick", "random", "random-id", "rdomain", "rdr", "rdr-anchor", "rdr-to", "realtime",
	"reassemble", "received-on", "reply-to", "require-order", "return", "return-icmp", "return-icmp6", "return-rst",
	"ridentifier", "round-robin", "route", "route-to", "rtable", "rule", "ruleset-optimization", "scrub",
	"scrub-anchor", "set", "set-tos", "skip", "sloppy", "source-hash", "source-track", "state", "state-defaults",
	"state-policy", "static-port", "sticky-address", "syncookies", "synproxy", "table", "tag", "tagged", "tbrsize",
	"timeout", "to", "tos", "ttl", "upperlimit", "urpf-failed", "user", "weight",
}
