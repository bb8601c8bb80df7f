package rules

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// Feed is a file of addresses that groups of a policy name.
type Feed struct {
	Path string        // slash path in the file system that the policy was loaded from
	Set  *netipx.IPSet // what it holds, merged; perhaps empty
}

// Feeds lists the files of addresses that groups name, by path, each once.
func (p *Policy) Feeds() []Feed {
	var out []Feed
	for _, g := range p.Groups {
		if g.feed != nil {
			out = append(out, Feed{g.feed.path, g.feed.set})
		}
	}
	slices.SortFunc(out, func(a, b Feed) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(out, func(a, b Feed) bool { return a.Path == b.Path })
}

// feed is what a file of addresses holds.
type feed struct {
	path    string
	name    string        // as messages show it
	set     *netipx.IPSet // perhaps empty
	entries int           // lines with an address, before merging
	broken  bool
}

// maxFeedProblems is how many wrong lines of one file are told apart.
const maxFeedProblems = 10

// feed reads the file of a group.
func (r *reader) feed(name string, g *GroupSection) *feed {
	f := r.feeds[name]
	if f == nil {
		f = r.readFeed(name, g.File.Pos)
		r.feeds[name] = f
	}
	g.broken = g.broken || f.broken
	if want := g.MinEntries.Or(0); !f.broken && int64(f.entries) < want {
		r.loader.errorAt(g.MinEntries.Pos, r.display(name)+" has "+count(f.entries, "entry", "entries")+", fewer than "+strconv.FormatInt(want, 10),
			"is the file complete?")
		g.broken = true
	}
	return f
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (l *loader) readFeed(name string, at Pos) *feed {
	f := &feed{path: name, name: l.display(name)}
	text := l.fetch(l.fsys, name, AddressSource, at)
	if text == nil {
		f.broken = true
		return f
	}
	var b feedBuilder
	wrong, last := 0, 0
	eachLine(text.data, func(n int, line []byte) {
		off, entry := feedEntry(line)
		if len(entry) == 0 {
			return
		}
		f.entries++
		if bad := b.add(entry); bad != nil {
			if wrong++; wrong <= maxFeedProblems {
				l.errorAt(Pos{File: text.name, Line: n, Col: off + 1}, bad.summary, bad.hint)
				last = n
			}
		}
	})
	if wrong > maxFeedProblems {
		l.errorAt(Pos{File: text.name, Line: last + 1}, count(wrong-maxFeedProblems, "line is", "lines are")+" wrong from here on", "")
	}
	f.broken = wrong > 0
	f.set = b.set()
	return f
}

// eachLine calls visit with each line and its number.
func eachLine(data []byte, visit func(n int, line []byte)) {
	for n := 1; len(data) > 0; n++ {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			visit(n, data)
			return
		}
		visit(n, data[:end])
		data = data[end+1:]
	}
}

// feedEntry returns the address of a line and where in the line it stands.
func feedEntry(line []byte) (int, []byte) {
	if hash := bytes.IndexByte(line, '#'); hash >= 0 {
		line = line[:hash]
	}
	line = bytes.TrimRight(line, " \t\r")
	entry := bytes.TrimLeft(line, " \t")
	return len(line) - len(entry), entry
}

// feedBuilder merges a million entries in little time: IPv4 ranges are sorted
// as plain numbers.
type feedBuilder struct {
	ranges4 []uint64 // first address in the upper half, last one in the lower
	ranges6 []netipx.IPRange
}

func (b *feedBuilder) add(entry []byte) *mistake {
	if lo, hi, ok := scanRange4(entry); ok {
		b.ranges4 = append(b.ranges4, uint64(lo)<<32|uint64(hi))
		return nil
	}
	s := string(entry)
	r, wrong := parseRange(s)
	switch {
	case wrong != nil:
		return feedMistake(wrong, s)
	case r.From().Is4():
		b.ranges4 = append(b.ranges4, uint64(number4(r.From()))<<32|uint64(number4(r.To())))
	default:
		b.ranges6 = append(b.ranges6, r)
	}
	return nil
}

// feedMistake is a mistake in a file, where no group can stand.
func feedMistake(wrong *mistake, s string) *mistake {
	if *notAddress(s) != *wrong {
		return wrong
	}
	hint := addressHint
	switch {
	case s == "any":
		hint = `a file lists addresses; everyone is addresses = ["any"] in the group`
	case strings.ContainsAny(s, ";!"):
		hint = "a comment begins with #"
	case strings.ContainsAny(s, " \t,"):
		hint = "one a line"
	case strings.Contains(s, "/"):
		hint = prefixHint(s)
	}
	return &mistake{quote(s) + " is not an address, a prefix or a range", hint}
}

func number4(a netip.Addr) uint32 {
	four := a.As4()
	return binary.BigEndian.Uint32(four[:])
}

func addr4(n uint32) netip.Addr {
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], n)
	return netip.AddrFrom4(four)
}

func (b *feedBuilder) set() *netipx.IPSet {
	slices.Sort(b.ranges4)
	var sb netipx.IPSetBuilder
	for i := 0; i < len(b.ranges4); {
		lo, hi := b.ranges4[i]>>32, b.ranges4[i]&0xffffffff
		for i++; i < len(b.ranges4) && b.ranges4[i]>>32 <= hi+1; i++ {
			hi = max(hi, b.ranges4[i]&0xffffffff)
		}
		sb.AddRange(netipx.IPRangeFrom(addr4(uint32(lo)), addr4(uint32(hi))))
	}
	for _, r := range b.ranges6 {
		sb.AddRange(r)
	}
	set, _ := sb.IPSet() // every range is valid: nothing to report
	return set
}

// scanRange4 reads an IPv4 address, prefix or range. What it does not take,
// perhaps for good reason, is left to the parser that can say why.
func scanRange4(b []byte) (lo, hi uint32, ok bool) {
	lo, b, ok = scanAddr4(b)
	switch {
	case !ok:
		return 0, 0, false
	case len(b) == 0:
		return lo, lo, true
	case b[0] == '/':
		bits, rest, ok := scanNumber(b[1:], 32)
		mask := uint32(uint64(0xffffffff) >> bits)
		return lo, lo | mask, ok && len(rest) == 0 && lo&mask == 0
	case b[0] == '-':
		hi, b, ok = scanAddr4(b[1:])
		return lo, hi, ok && len(b) == 0 && lo <= hi
	}
	return 0, 0, false
}

func scanAddr4(b []byte) (uint32, []byte, bool) {
	var a uint32
	for i := range 4 {
		if i > 0 {
			if len(b) == 0 || b[0] != '.' {
				return 0, b, false
			}
			b = b[1:]
		}
		n, rest, ok := scanNumber(b, 255)
		if !ok {
			return 0, b, false
		}
		a, b = a<<8|n, rest
	}
	return a, b, true
}

// scanNumber reads a decimal number without leading zeros.
func scanNumber(b []byte, most uint32) (uint32, []byte, bool) {
	var n uint32
	i := 0
	for ; i < len(b) && i < 4 && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + uint32(b[i]-'0')
	}
	return n, b[i:], i > 0 && n <= most && (i == 1 || b[0] != '0')
}
