package rules

import (
	"math/bits"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// maxName is the longest name of a section, in bytes: names stand in comments
// of 128 bytes and in labels of 64.
const maxName = 40

const namePattern = `^[a-z][a-z0-9_-]{0,39}$`

// isName reports whether s is a name as namePattern has it.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// isDigits reports whether s is a decimal number.
func isDigits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// mistake is why a string is not what it should be, with the way out.
type mistake struct{ summary, hint string }

// parseMember reads an entry of a list of addresses.
func parseMember(s string) (Member, *mistake) {
	m := Member{Text: s}
	switch {
	case isName(s):
		m.Group = s
	case strings.HasPrefix(s, "@"):
		if !isInterface(s[1:]) {
			return m, &mistake{quote(s) + " does not name an interface", `"@eth1" is the addresses of interface eth1`}
		}
		m.Interface = s[1:]
	default:
		var wrong *mistake
		m.Range, wrong = parseRange(s)
		return m, wrong
	}
	return m, nil
}

// parseRange reads an address, a prefix or a range of addresses.
func parseRange(s string) (netipx.IPRange, *mistake) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netipx.IPRangeFrom(a, a), checkAddr(s, a)
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return netipx.RangeOfPrefix(p), checkPrefix(s, p)
	}
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		from, err1 := netip.ParseAddr(strings.TrimSpace(lo))
		to, err2 := netip.ParseAddr(strings.TrimSpace(hi))
		if err1 == nil && err2 == nil {
			return netipx.IPRangeFrom(from, to), checkRange(s, from, to)
		}
	}
	return netipx.IPRange{}, notAddress(s)
}

func checkAddr(s string, a netip.Addr) *mistake {
	switch {
	case a.Zone() != "":
		return &mistake{"an address has no zone here: " + quote(s), `write ` + quote(a.WithZone("").String()) + ` and bind it with in = [` + quote(a.Zone()) + `]`}
	case a.Is4In6():
		return &mistake{quote(s) + " is an IPv4 address in IPv6 form", "write " + quote(a.Unmap().String())}
	}
	return nil
}

func checkPrefix(s string, p netip.Prefix) *mistake {
	if wrong := checkAddr(s, p.Addr()); wrong != nil {
		return &mistake{quote(s) + " is an IPv4 prefix in IPv6 form", "write it as an IPv4 prefix"}
	}
	if p != p.Masked() {
		return &mistake{quote(s) + " has bits set behind its prefix length",
			"write " + quote(p.Masked().String()) + " for the network or " + quote(p.Addr().String()) + " for the address"}
	}
	return nil
}

func checkRange(s string, from, to netip.Addr) *mistake {
	for _, a := range []netip.Addr{from, to} {
		if wrong := checkAddr(s, a); wrong != nil {
			return wrong
		}
	}
	switch {
	case from.Is4() != to.Is4():
		return &mistake{quote(s) + " begins in one address family and ends in the other", ""}
	case to.Less(from):
		return &mistake{quote(s) + " ends before it begins", "write " + quote(to.String()+"-"+from.String())}
	case strings.ContainsAny(s, " \t"):
		return &mistake{quote(s) + " has a space in it", "write " + quote(from.String()+"-"+to.String())}
	}
	return nil
}

var (
	interfaceLike = regexp.MustCompile(`^(eth|en[opsx]|wlan|wlp|wg|docker|br|bond|tun|tap|ppp|veth|virbr|lo|vlan|em|ib|team|dummy|lxdbr|incusbr|podman|cni|tailscale|zt|ens|eno|enp)[0-9a-z._-]*(\*|[0-9*][0-9a-z.*]*)?$`)
	hostLike      = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.[A-Za-z][A-Za-z0-9-]*\.?$`)
)

// looksLikeInterface reports whether a name that is no group's may be meant as
// an interface.
func looksLikeInterface(s string) bool {
	return interfaceLike.MatchString(s) && strings.ContainsAny(s, "0123456789*") || s == "lo"
}

func notAddress(s string) *mistake {
	summary := quote(s) + " is neither an address nor the name of a group"
	switch {
	case s == "":
		return &mistake{"an empty string is no address", "leave it out; an empty list is nobody"}
	case s == "*":
		return &mistake{summary, `everyone is "any"`}
	case looksLikeInterface(s):
		return &mistake{summary, "use in = [" + quote(s) + "]"}
	case isName(strings.ToLower(s)):
		return &mistake{summary, "names are in lower case: did you mean " + quote(strings.ToLower(s)) + "?"}
	case len(s) > maxName && isName(s[:maxName]):
		return &mistake{summary, "names have at most 40 characters"}
	case strings.HasPrefix(s, "!"):
		return &mistake{summary, "exceptions stand in a group's except = [...]"}
	case strings.ContainsAny(s, ", "):
		return &mistake{summary, "each address is a string of its own"}
	case hostLike.MatchString(s):
		return &mistake{summary, "a DNS name stands in a group: names = [" + quote(s) + "]"}
	case strings.Contains(s, "/"):
		return &mistake{summary, prefixHint(s)}
	}
	return &mistake{summary, ipv4Hint(s)}
}

const addressHint = `an address is such as "192.0.2.1", "192.0.2.0/24", "192.0.2.1-192.0.2.9" or "2001:db8::/32"`

var (
	zeros     = regexp.MustCompile(`(^|\.)0+([0-9])`)
	shortened = regexp.MustCompile(`^([0-9]+\.[0-9]+\.[0-9]+\.)([0-9]+)-([0-9]+)$`)
)

// ipv4Hint mends what other programs take for an IPv4 address or range.
func ipv4Hint(s string) string {
	if a, err := netip.ParseAddr(zeros.ReplaceAllString(s, "$1$2")); err == nil && a.Is4() {
		return "without leading zeros: " + quote(a.String())
	}
	if full := shortened.ReplaceAllString(s, "$1$2-$1$3"); full != s {
		if _, wrong := parseRange(full); wrong == nil {
			return "write " + quote(full)
		}
	}
	return addressHint
}

func prefixHint(s string) string {
	addr, length, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	switch {
	case err != nil:
		return quote(addr) + " is not an address"
	case isDigits(length) && a.Is4():
		return "a prefix length of IPv4 is from 0 to 32"
	case isDigits(length):
		return "a prefix length of IPv6 is from 0 to 128"
	}
	if n, ok := maskLength(length); ok && a.Is4() {
		return "write " + quote(addr+"/"+strconv.Itoa(n))
	}
	return "the prefix length is a number, such as " + quote(addr+"/24")
}

// maskLength returns the prefix length that a netmask stands for.
func maskLength(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	n := bits.LeadingZeros32(^number4(a))
	return n, number4(a) == ^uint32(0)<<(32-n)
}

// interfacePattern is the name of an interface, perhaps with a final "*".
// Linux takes any byte but white space and "/", at most 15 of them
// (IFNAMSIZ in linux/if.h); only those that real names use are allowed here.
const interfacePattern = `^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}\*?$`

var interfaceName = regexp.MustCompile(interfacePattern)

// isInterface reports whether s can be an interface's name, not a pattern.
func isInterface(s string) bool {
	return len(s) <= 15 && interfaceName.MatchString(s) && !strings.HasSuffix(s, "*")
}

// checkPattern says what is wrong with a pattern of interface names, nil if nothing.
func checkPattern(s string) *mistake {
	switch {
	case s == "*":
		return &mistake{`"*" is every interface`, "leave it out"}
	case strings.HasPrefix(s, "@"):
		return &mistake{quote(s) + " is no interface", "write " + quote(s[1:])}
	case strings.HasSuffix(s, "+"):
		return &mistake{quote(s) + " is no interface", "write " + quote(strings.TrimSuffix(s, "+")+"*")}
	case strings.Contains(strings.TrimSuffix(s, "*"), "*"):
		return &mistake{quote(s) + ` has a "*" that is not at its end`, ""}
	case len(strings.TrimSuffix(s, "*")) > 15:
		return &mistake{quote(s) + " is longer than an interface's name can be", "at most 15 characters"}
	case !interfaceName.MatchString(s):
		return &mistake{quote(s) + " is no interface", `such as "eth1" or "wg*"`}
	}
	return nil
}
