package rules

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The readers of single values: each reports what is wrong with its value and
// returns what is right of it.

func (r *reader) text(v *node) Text { return value(r, v, v.text) }

func (r *reader) texts(v *node) []Text {
	var out []Text
	for _, item := range v.items {
		out = append(out, r.text(item))
	}
	return out
}

// mistaken reports a mistake in a value, if there is one.
func (r *reader) mistaken(v *node, wrong *mistake) bool {
	if wrong == nil {
		return false
	}
	r.errorAt(v.off, wrong.summary, wrong.hint)
	return true
}

func (r *reader) members(v *node) Members {
	m := Members{Pos: r.pos(v.off)}
	for _, item := range v.items {
		member, wrong := parseMember(item.text)
		if r.mistaken(item, wrong) {
			continue
		}
		member.Pos = r.pos(item.off)
		m.Items = append(m.Items, member)
	}
	return m
}

func (r *reader) ports(v *node) []PortSpec {
	var out []PortSpec
	for _, item := range v.items {
		p, wrong := parsePort(item.text)
		if r.mistaken(item, wrong) {
			continue
		}
		p.Pos = r.pos(item.off)
		out = append(out, p)
	}
	return out
}

func (r *reader) protocols(v *node) []ProtocolSpec {
	var out []ProtocolSpec
	for _, item := range v.items {
		p, wrong := parseProtocol(item.text)
		if r.mistaken(item, wrong) {
			continue
		}
		p.Pos = r.pos(item.off)
		out = append(out, p)
	}
	return out
}

func (r *reader) patterns(v *node) []Text {
	var out []Text
	for _, item := range v.items {
		if !r.mistaken(item, checkPattern(item.text)) {
			out = append(out, r.text(item))
		}
	}
	return out
}

// anchorPattern is the name of a pf anchor (pf.conf(5), ANCHORS): levels joined
// by "/", "*" for all children.
var anchorPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(/\*)?$`)

func (r *reader) anchors(v *node) []Text {
	var out []Text
	for _, item := range v.items {
		if !r.mistaken(item, checkAnchor(item.text)) {
			out = append(out, r.text(item))
		}
	}
	return out
}

func checkAnchor(s string) *mistake {
	levels := strings.Split(s, "/")
	switch {
	case !anchorPattern.MatchString(s) || len(s) > 1024 || slices.Contains(levels, ".") || slices.Contains(levels, ".."):
		return &mistake{quote(s) + " is not the name of an anchor", `such as "f2b/*"`}
	case levels[0] == ownAnchor:
		return &mistake{"the anchor " + quote(s) + " is fwctl's own", "leave it out: it is always there"}
	}
	return nil
}

// ownAnchor is the anchor that fwctl loads its rules into.
const ownAnchor = "fwctl"

// dnsName is a name of RFC 1123, section 2.1, in lower case, with at least one
// dot; underscores occur in practice.
var dnsName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?\.?$`)

func (r *reader) dnsNames(v *node) []Text {
	var out []Text
	for _, item := range v.items {
		if wrong := checkDNSName(item.text); wrong != nil {
			r.mistaken(item, wrong)
			continue
		}
		out = append(out, r.text(item))
	}
	return out
}

func checkDNSName(s string) *mistake {
	_, wrong := parseRange(s)
	switch {
	case wrong == nil:
		return &mistake{quote(s) + " is an address, not a DNS name", "it belongs in addresses"}
	case len(s) <= 253 && dnsName.MatchString(s):
		return nil
	case dnsName.MatchString(strings.ToLower(s)):
		return &mistake{quote(s) + " is not in lower case", "write " + quote(strings.ToLower(s))}
	case strings.HasPrefix(s, "*."):
		return &mistake{quote(s) + " cannot be resolved", "DNS has no way to list the names below a domain"}
	case !strings.Contains(s, "."):
		return &mistake{quote(s) + " is not a full DNS name", "add its domain"}
	}
	return &mistake{quote(s) + " is not a DNS name", `such as "api.example.org"`}
}

// prose reads free text. Control characters are refused: they would break the
// comments and terminals where it is shown.
func (r *reader) prose(name string, v *node) string {
	switch {
	case strings.ContainsFunc(v.text, unicode.IsControl):
		r.errorAt(v.off, name+" holds a line break or another control character", "one line of text")
	case strings.TrimSpace(v.text) == "":
		r.errorAt(v.off, name+" is empty", "leave it out")
	}
	return v.text
}

func (r *reader) listen(v *node) netip.Addr {
	a, err := netip.ParseAddr(v.text)
	if err != nil {
		r.errorAt(v.off, quote(v.text)+" is not an address", `such as "127.0.0.1" or "::"`)
	}
	return a
}

const findingPattern = `^FW[0-9]{3}$`

var findingCode = regexp.MustCompile(findingPattern)

func (r *reader) finding(v *node) string {
	if !findingCode.MatchString(v.text) {
		r.errorAt(v.off, quote(v.text)+" is not the code of a finding", `such as "FW104"`)
	}
	return v.text
}

const limitPattern = `^[1-9][0-9]{0,6}/(second|minute|hour|day)$`

var (
	limitPeriods = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	periodNames  = []string{"second", "minute", "hour", "day"}
)

// maxLimit keeps rates within what a kernel can count.
const maxLimit = 1_000_000

func (r *reader) limit(v *node) Value[Limit] {
	l, wrong := parseLimit(v.text)
	r.mistaken(v, wrong)
	return value(r, v, l)
}

func parseLimit(s string) (Limit, *mistake) {
	count, period, ok := strings.Cut(s, "/")
	if !ok || !isDigits(count) {
		return Limit{}, &mistake{quote(s) + " is not a rate", `such as "10/minute"`}
	}
	per, ok := limitPeriods[period]
	if !ok {
		return Limit{}, &mistake{quote(s) + " has no period that is known: second, minute, hour or day", periodHint(count, period)}
	}
	n, err := strconv.ParseUint(count, 10, 32)
	switch {
	case err != nil || n > maxLimit:
		return Limit{}, &mistake{quote(s) + " is more than can be counted", "at most 1000000"}
	case n == 0:
		return Limit{}, &mistake{quote(s) + " lets nobody in", "from = [] says so"}
	case count[0] == '0':
		return Limit{}, &mistake{quote(s) + " has a leading zero", ""}
	}
	return Limit{Count: uint32(n), Per: per}, nil
}

func periodHint(count, period string) string {
	for _, p := range periodNames {
		if period != "" && strings.HasPrefix(p, strings.ToLower(period)) || strings.ToLower(period) == p+"s" {
			return "write " + quote(count+"/"+p)
		}
	}
	return nearest(period, periodNames)
}

func (r *reader) expiry(v *node) Value[Expiry] {
	e := Expiry{Date: v.kind == dateKind}
	var err error
	if e.Date {
		e.Time, err = time.Parse(time.DateOnly, v.text)
	} else {
		e.Time, err = time.Parse(time.RFC3339Nano, strings.ToUpper(strings.Replace(v.text, " ", "T", 1)))
	}
	first, last := e.Time.UTC(), e.Time.UTC().AddDate(0, 0, -1) // the end of a day is the next one
	switch {
	case err != nil:
		r.errorAt(v.off, v.text+" is not a day of the calendar", "")
	case first.Year() < firstYear || last.Year() > lastYear:
		r.errorAt(v.off, "expires must lie in the years 2000 to 2100", "leave it out if there is no end")
	default:
		return value(r, v, e)
	}
	return Value[Expiry]{}
}

// Kernels count time in unsigned seconds or nanoseconds since 1970, the former
// in 32 bits (xt_time.h, until 2106), so that an end too early or too late would
// be no end.
const firstYear, lastYear = 2000, 2100
