package packet

import "strconv"

// The names of ICMP types as nft(8) prints them; the numbers are IANA's ("ICMP
// Type Numbers", "ICMPv6 Parameters").
var (
	icmp4Names = map[uint8]string{
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

func icmpNames(p Proto) map[uint8]string {
	if p == ICMPv6 {
		return icmp6Names
	}
	return icmp4Names
}

// ICMPTypeName returns nft's name of an ICMP or ICMPv6 type, or its number.
func ICMPTypeName(p Proto, typ uint8) string {
	if s, ok := icmpNames(p)[typ]; ok {
		return s
	}
	return strconv.Itoa(int(typ))
}

// ParseICMPType reads an ICMP or ICMPv6 type by nft's name or in decimal.
func ParseICMPType(p Proto, s string) (uint8, bool) {
	for typ, name := range icmpNames(p) {
		if name == s {
			return typ, true
		}
	}
	if p == ICMPv6 && s == "mld-listener-reduction" {
		return 132, true // nft reads both names
	}
	return parseUint[uint8](s, 8)
}

func echoRequest(p Proto) uint8 {
	if p == ICMPv6 {
		return 128
	}
	return 8
}
