package pf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/rules"
)

func quoted(s string) string { return strconv.Quote(s) }

// interfaces says patterns in pf's words, sorted; nil for any interface. It is
// false if none of them can be said.
func (b *builder) interfaces(at rules.Pos, patterns []string) ([]string, bool) {
	var names []string
	for _, p := range patterns {
		if name, ok := b.interfaceName(at, p); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) > 0 || len(patterns) == 0
}

// interfaceName is pf's word for a pattern: the interface, or the group of all
// interfaces of a driver.
func (b *builder) interfaceName(at rules.Pos, pattern string) (string, bool) {
	name, wild := strings.CutSuffix(pattern, "*")
	switch {
	case wild && b.groups == nil:
		b.fail(at, fmt.Sprintf("%s has no interface groups, so it cannot say %q", b.system, pattern), "name the interfaces")
		return "", false
	case wild && !slices.Contains(b.groups, name):
		b.fail(at, fmt.Sprintf("no interface group of %s stands for %q", b.system, pattern),
			`name the interfaces; the group of a driver can be said, as "wg*" or "vlan*"`)
		return "", false
	case wild:
		return name, true
	}
	return name, b.exact(at, name)
}

// exact looks at a name without a wildcard. pf takes one that does not end in a
// digit for a group.
func (b *builder) exact(at rules.Pos, name string) bool {
	switch {
	case !plainInterface(name):
		b.fail(at, fmt.Sprintf("%q is no interface of %s", name, b.system), "")
		return false
	case name[len(name)-1] >= '0' && name[len(name)-1] <= '9' || b.groups == nil:
		return true
	case name == "egress" && !b.egress:
		b.fail(at, b.system+" does not keep the interface group egress", "name the interface with the default route")
		return false
	}
	b.note(at, fmt.Sprintf("%s takes %q for an interface group", b.system, name), "")
	return true
}

func plainInterface(s string) bool {
	if s == "" || len(s) > maxInterface || isKeyword(s) {
		return false
	}
	for i, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return false
		}
	}
	return true
}

// both is the interfaces that are in both lists, nil standing for all of them;
// false if there are none. A driver's group holds the interfaces of its name and
// a number; which ones another group holds is not known here.
func (b *builder) both(at rules.Pos, v, w []string) ([]string, bool) {
	if v == nil {
		return w, true
	}
	if w == nil {
		return v, true
	}
	var names []string
	for _, x := range v {
		for _, y := range w {
			switch {
			case x == y, b.holds(y, x):
				names = append(names, x)
			case b.holds(x, y):
				names = append(names, y)
			case b.vague(x), b.vague(y):
				b.fail(at, fmt.Sprintf("pf cannot say which interfaces are both %q and %q", x, y), "name the interfaces")
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) > 0
}

// vague reports whether the name is a group that is not a driver's.
func (b *builder) vague(name string) bool {
	last := name[len(name)-1]
	return b.groups != nil && (last < '0' || last > '9') && !slices.Contains(b.groups, name)
}

// holds reports whether the interface is of the group's driver.
func (b *builder) holds(group, name string) bool {
	unit, ok := strings.CutPrefix(name, group)
	if !ok || unit == "" || !slices.Contains(b.groups, group) {
		return false
	}
	_, err := strconv.ParseUint(unit, 10, 32)
	return err == nil
}
