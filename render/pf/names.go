package pf

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// The longest names (PF_TABLE_NAME_SIZE, PF_RULE_LABEL_SIZE and IFNAMSIZ in
// pfvar.h and if.h, less the final zero byte).
const (
	maxTable     = 31
	maxLabel     = 63
	maxInterface = 15
)

// names gives every key a name of its own within pf's limits. A name does not
// depend on the others but for a collision.
type names struct {
	max   int
	byKey map[string]string
	owner map[string]string
}

func newNames(longest int) *names {
	return &names{max: longest, byKey: map[string]string{}, owner: map[string]string{}}
}

// of returns the name for the key: the wanted one where it fits and nobody has
// it, else its beginning and a digest of the key.
func (n *names) of(key, want string) string {
	if name, ok := n.byKey[key]; ok {
		return name
	}
	name := want
	if len(want) > n.max {
		name = n.digested(want, key)
	}
	for i := 1; n.owner[name] != ""; i++ {
		name = n.digested(want, key+"#"+strconv.Itoa(i))
	}
	n.byKey[key], n.owner[name] = name, key
	return name
}

func (n *names) digested(want, text string) string {
	sum := sha256.Sum256([]byte(text))
	return want[:min(len(want), n.max-9)] + "." + hex.EncodeToString(sum[:4])
}

// tableName is the name that a group's table would like to have. A keyword of the
// grammar cannot stand between < and >.
func tableName(name string) string {
	if isKeyword(name) {
		return "group." + name
	}
	return name
}

func isKeyword(s string) bool {
	_, found := slices.BinarySearch(keywords, s)
	return found
}

// keywords are the words that the lexer of any of the dialects takes for itself
// wherever they stand unquoted (lookup in sbin/pfctl/parse.y), sorted. One too
// many does no harm.
var keywords = []string{
	"above", "af-to", "all", "allow-opts", "allow-related", "altq", "anchor", "antispoof", "any", "bandwidth", "below",
	"binat", "binat-anchor", "binat-to", "bitmask", "block", "block-policy", "bridge-to", "buckets", "burst", "cbq", "code",
	"codelq", "debug", "default", "delay", "divert-packet", "divert-reply", "divert-to", "dnpipe", "dnqueue", "drop",
	"dummynet", "dummynet-anchor", "dup-to", "endpoint-independent", "entries", "ether", "fail-policy", "fairq",
	"fastroute", "file", "fingerprints", "flags", "floating", "flows", "flush", "for", "fragment", "from", "global",
	"group", "hfsc", "hogs", "hostid", "icmp-type", "icmp6-type", "id", "if-bound", "in", "include", "inet", "inet6",
	"interval", "keep", "keepcounters", "l3", "label", "least-states", "limit", "limiter", "linkshare", "load", "log",
	"loginterface", "map-e-portset", "mask", "match", "matches", "max", "max-mss", "max-pkt-rate", "max-pkt-size",
	"max-src-conn", "max-src-conn-rate", "max-src-nodes", "max-src-states", "min", "min-ttl", "modulate", "nat",
	"nat-anchor", "nat-to", "no", "no-df", "no-route", "no-sync", "on", "once", "optimization", "os", "out", "overload",
	"parent", "pass", "pflow", "port", "prio", "priority", "priq", "probability", "proto", "qlimit", "quantum", "queue",
	"quick", "random", "random-id", "rate", "rdomain", "rdr", "rdr-anchor", "rdr-to", "realtime", "reassemble",
	"received-on", "reply-to", "require-order", "return", "return-icmp", "return-icmp6", "return-rst", "ridentifier",
	"round-robin", "route", "route-to", "rtable", "rule", "ruleset-optimization", "scrub", "scrub-anchor", "set",
	"set-tos", "skip", "sloppy", "source", "source-hash", "source-track", "state", "state-defaults", "state-policy",
	"static-port", "sticky-address", "syncookies", "synproxy", "table", "tag", "tagged", "target", "tbrsize", "timeout",
	"to", "tos", "ttl", "upperlimit", "urpf-failed", "user", "warn", "weight",
}
