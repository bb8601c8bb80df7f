package nftables

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Text writes expressions as their names and attributes: it is the same for the
// same bytes.
func Text(exprs []Expr) string {
	parts := make([]string, 0, len(exprs))
	for _, e := range exprs {
		if e.Name == "counter" {
			continue
		}
		s := e.Name
		_ = eachAttr(e.Data, func(a Attr) error { // what is cut off is left out
			if !zero(a.Data) && !slices.Contains(skipped[e.Name], a.Type) {
				s += fmt.Sprintf(" %d:%s", a.Type, attrText(a.Data))
			}
			return nil
		})
		parts = append(parts, "["+s+"]")
	}
	return strings.Join(parts, " ")
}

// attrText writes a name as it is and anything else in hexadecimal digits.
func attrText(b []byte) string {
	s := bytes.TrimRight(b, "\x00")
	for _, c := range s {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("%x", b)
		}
	}
	return string(s)
}

// RuleText writes a rule of the table in nft's words.
func (t *Table) RuleText(r *Rule) string { return Text(r.Exprs) }

func (x *exec) exprText(e Expr) string { return Text([]Expr{e}) }
func (x *exec) loadText(e Expr) string { return Text([]Expr{e}) }

func (x *exec) setName(name string) string { return "@" + name }

// keyText names what a key is made of.
func (x *exec) keyText(bits []bit) string {
	var names []string
	for at := 0; at < len(bits); {
		n := stretch(bits[at:])
		names = append(names, x.textOf(bits[at:at+n]))
		at += n
	}
	return strings.Join(slices.Compact(names), " . ")
}
