package nftables

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// The names that nft 1.0.6 prints for ICMP types (its datatypes icmp_type and
// icmpv6_type); others are numbers.
var (
	icmpNames = map[uint8]string{
		0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
		9: "router-advertisement", 10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem",
		13: "timestamp-request", 14: "timestamp-reply", 15: "info-request", 16: "info-reply",
		17: "address-mask-request", 18: "address-mask-reply",
	}
	icmp6Names = map[uint8]string{
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem",
		128: "echo-request", 129: "echo-reply", 130: "mld-listener-query", 131: "mld-listener-report",
		132: "mld-listener-done", 133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit",
		136: "nd-neighbor-advert", 137: "nd-redirect", 138: "router-renumbering", 141: "ind-neighbor-solicit",
		142: "ind-neighbor-advert", 143: "mld2-listener-report",
	}
)

func icmpText(is6 bool, t uint8) string {
	names := icmpNames
	if is6 {
		names = icmp6Names
	}
	if s, ok := names[t]; ok {
		return s
	}
	return strconv.Itoa(int(t))
}

// maskText writes the mask of a prefix length as an address.
func maskText(is6 bool, bits int) string {
	all := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if is6 {
		all = netip.AddrFrom16([16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	}
	p, _ := all.Prefix(bits) // bits are those of a valid prefix
	return p.Addr().String()
}

// maxName is less than NFT_NAME_MAXLEN (256 bytes, linux/netfilter/nf_tables.h)
// and leaves room for the endings that are put behind a name.
const maxName = 120

// join makes one name of several, "a/b"; a long one ends in a digest of all.
func join(prefix string, names []string) string {
	s := prefix + strings.Join(names, "/")
	if len(s) <= maxName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:maxName-13] + "." + hex.EncodeToString(sum[:6])
}

// maxComment is what nft accepts as a comment (NFTNL_UDATA_COMMENT_MAXLEN, 128
// with the final zero) with some room.
const maxComment = 120

// comment joins the names of those who own an object.
func comment(owners []string) string {
	s := strings.Join(owners, ", ")
	if len(s) > maxComment {
		s = s[:maxComment-3] + "..."
	}
	return s
}

// slug makes a part of a set's name of words.
func slug(s string) string { return strings.ReplaceAll(s, " ", "-") }
