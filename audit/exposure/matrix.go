package exposure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// mostColumns are the sources that a matrix tells apart.
const mostColumns = 10

// matrix is who gets in by which door: the sources that the doors let in, the widest
// first, against the doors.
type matrix struct {
	columns []packet.Group // without destinations
	rest    int            // sources that have no column
	rows    []row
}

// row is a door that somebody reaches, or of which that cannot be told.
type row struct {
	door  *Door
	own   map[string]bool // the names of its sources
	cells []cell          // one a column
	drawn []int           // the columns that are sources of this door as they stand
	more  int             // of the rest, how many get in
}

// level is how much of a column's source gets in.
type level uint8

const (
	none   level = iota
	part         // some of its addresses, or by some of its interfaces
	whole        // all of it
	untold       // nothing is known of it
)

type cell struct {
	level level
	to    string // the only addresses of the host that are reached; empty: all of the door's
}

// newMatrix makes the matrix of the doors that are not for the host alone.
func newMatrix(doors []Door) *matrix {
	m := &matrix{}
	columns := map[string]packet.Group{}
	for i := range doors {
		d := &doors[i]
		if d.Local || len(d.Sources) == 0 && !d.Untold {
			continue
		}
		own := map[string]bool{}
		for j := range d.Sources {
			g := comesFrom(d, &d.Sources[j])
			name := sourceName(g)
			columns[name], own[name] = g, true
		}
		m.rows = append(m.rows, row{door: d, own: own})
	}
	for _, g := range columns {
		m.columns = append(m.columns, g)
	}
	slices.SortFunc(m.columns, wider)
	m.rest = max(0, len(m.columns)-mostColumns)
	m.columns = m.columns[:len(m.columns)-m.rest]
	for i := range m.rows {
		m.fill(&m.rows[i])
	}
	return m
}

// comesFrom is the source without its destinations. A door for one interface is reached
// by no other.
func comesFrom(d *Door, s *Source) packet.Group {
	g := packet.Group{Sources: s.group.Sources, Is6: s.group.Is6, In: s.group.In}
	if d.Interface != "" {
		g.In = []string{d.Interface}
	}
	return g
}

// sourceName is the source in full, by which it is told from others.
func sourceName(g packet.Group) string {
	return fmt.Sprintf("%t %s %q", g.Is6, packet.AddrText(g.Sources, g.Is6, math.MaxInt), g.In)
}

// wider orders the widest source first, by its part of the family's addresses.
func wider(a, b packet.Group) int {
	return cmp.Or(
		-cmp.Compare(width(a), width(b)), cmp.Compare(b2i(a.In != nil), b2i(b.In != nil)),
		cmp.Compare(b2i(a.Is6), b2i(b.Is6)), slices.CompareFunc(a.Sources, b.Sources, func(r, s packet.Range) int { return r.Lo.Compare(s.Lo) }),
		slices.Compare(a.In, b.In), cmp.Compare(sourceName(a), sourceName(b)))
}

func width(g packet.Group) float64 {
	if g.Sources == nil {
		return 1
	}
	sum := 0.0
	for _, r := range g.Sources {
		sum += float64(r.Hi.Hi-r.Lo.Hi)*math.Exp2(64) + float64(r.Hi.Lo) - float64(r.Lo.Lo) + 1
	}
	return sum / math.Exp2(float64(packet.FieldSrc.Width(g.Is6)))
}

// fill holds the columns against the row's door.
func (m *matrix) fill(r *row) {
	r.more = len(r.own)
	for i, c := range m.columns {
		r.cells = append(r.cells, reaches(c, r.door))
		if r.own[sourceName(c)] {
			r.drawn = append(r.drawn, i)
			r.more--
		}
	}
}

// reaches says how much of the source gets in by the door.
func reaches(c packet.Group, d *Door) cell {
	var all, free []packet.Group // that overlap; those of them that reach every address
	var to []string
	for i := range d.Sources {
		g := comesFrom(d, &d.Sources[i])
		if !overlap(c, g) {
			continue
		}
		all = append(all, g)
		if dst := d.Sources[i].group.Dst; dst == nil {
			free = append(free, g)
		} else if s := packet.AddrText(dst, c.Is6, 2); !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	switch {
	case len(all) == 0 && (d.More || d.Untold):
		return cell{level: untold}
	case len(all) == 0:
		return cell{}
	case covered(c, free):
		return cell{level: whole}
	case len(free) == 0 && len(to) == 1 && covered(c, all):
		return cell{whole, to[0]}
	case len(free) == 0:
		return cell{part, strings.Join(to[:min(2, len(to))], ", ")}
	}
	return cell{level: part}
}

// overlap reports whether a packet can be of both.
func overlap(a, b packet.Group) bool {
	if a.Is6 != b.Is6 || a.In != nil && b.In != nil && !slices.ContainsFunc(a.In, func(n string) bool { return slices.Contains(b.In, n) }) {
		return false
	}
	if a.Sources == nil || b.Sources == nil {
		return true
	}
	i, j := 0, 0
	for i < len(a.Sources) && j < len(b.Sources) {
		switch {
		case a.Sources[i].Hi.Compare(b.Sources[j].Lo) < 0:
			i++
		case b.Sources[j].Hi.Compare(a.Sources[i].Lo) < 0:
			j++
		default:
			return true
		}
	}
	return false
}

// covered reports whether the others together are all of the source.
func covered(c packet.Group, by []packet.Group) bool {
	if c.In == nil {
		return coveredOn(c.Sources, "", by)
	}
	return !slices.ContainsFunc(c.In, func(n string) bool { return !coveredOn(c.Sources, n, by) })
}

// coveredOn is covered for one interface; by "" for those that no source names.
func coveredOn(sources packet.Ranges, name string, by []packet.Group) bool {
	var rs []packet.Range
	for _, g := range by {
		if g.In != nil && !slices.Contains(g.In, name) {
			continue
		}
		if g.Sources == nil {
			return true
		}
		rs = append(rs, g.Sources...)
	}
	if sources == nil {
		return false // a union of parts that is all is rare, and told as a part
	}
	union := packet.NewRanges(rs...)
	i := 0
	for _, r := range sources {
		for i < len(union) && union[i].Hi.Compare(r.Lo) < 0 {
			i++
		}
		if i == len(union) || union[i].Lo.Compare(r.Lo) > 0 || union[i].Hi.Compare(r.Hi) < 0 {
			return false
		}
	}
	return true
}
