package main

import (
	"cmp"
	"fmt"
)

// row is one line of the table: a ratio, or where there is nothing to set beside it
// a measure, and the limit that it has to keep.
type row struct {
	work      string
	ratio     float64
	unit      string  // of a measure; "" for a ratio
	low, high float64 // the limits; zero: none on that side
	detail    string  // what was set side by side
}

// holds reports whether the ratio keeps its limits.
func (r row) holds() bool {
	return (r.low == 0 || r.ratio >= r.low) && (r.high == 0 || r.ratio <= r.high)
}

// String is the row as printed.
func (r row) String() string {
	verdict := "ok"
	switch {
	case r.low == 0 && r.high == 0:
		verdict = "-"
	case !r.holds():
		verdict = "BROKEN"
	}
	return fmt.Sprintf("%-6s %7.3f %-3s  %-14s %s\n%28s%s", verdict, r.ratio, cmp.Or(r.unit, "x"), r.limit(), r.work, "", r.detail)
}

func (r row) limit() string {
	switch {
	case r.low != 0 && r.high != 0:
		return fmt.Sprintf("%.2f to %.2f", r.low, r.high)
	case r.low != 0:
		return fmt.Sprintf(">= %.2f", r.low)
	case r.high != 0:
		return fmt.Sprintf("<= %.2f", r.high)
	}
	return "no limit"
}
