package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/rules"
)

// How long names may be: XT_EXTENSION_MAXNAMELEN (29, linux/netfilter/x_tables.h)
// and IPSET_MAXNAMELEN (32, linux/netfilter/ipset/ip_set.h), each with its final
// zero.
const (
	maxChain = 28
	maxSet   = 31
)

// chainTag is what the chains of each kind of rule begin with, behind "FWCTL-".
// Names of a policy are in small letters, so no two kinds can meet.
var chainTag = map[rules.Kind]string{
	rules.Service: "", rules.Block: "BLOCK-", rules.Outbound: "OUT-", rules.Route: "FWD-",
}

// chainOf is the name of a rule's chain, before it is cut to size.
func (b *builder) chainOf(r *rules.Rule) string { return b.tag + chainTag[r.Kind] + shortID(r) }

// shortID is the rule's ID without its kind.
func shortID(r *rules.Rule) string {
	if r.Part != "" {
		return r.Name + "." + r.Part
	}
	return r.Name
}

// digest is the beginning of a SHA-256 in hexadecimal, for names that also carry
// the words they stand for.
func digest(s string, digits int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:digits]
}

// chainName makes a chain's name. One that is too long is cut before its suffix,
// "/limit", and gets a digest of what it was; taken tells which names are gone
// already.
func chainName(name string, taken func(string) bool) string {
	full := "FWCTL-" + name
	if len(full) <= maxChain {
		return full
	}
	base, suffix, ok := strings.Cut(full, "/")
	if ok {
		suffix = "/" + suffix
	}
	for n := 0; ; n++ {
		salt := ""
		if n > 0 {
			salt = " " + strconv.Itoa(n)
		}
		end := "/" + digest(base+salt, 6) + suffix
		if cut := base[:min(len(base), maxChain-len(end))] + end; !taken(cut) {
			return cut
		}
	}
}

// digestName makes a name for what must be known by its content: a set, the
// table of a limit.
func digestName(name, content string) string {
	if room := maxSet - len("fwctl--") - 8; len(name) > room {
		name = name[:room]
	}
	return "fwctl-" + name + "-" + digest(name+"\x00"+content, 8)
}
