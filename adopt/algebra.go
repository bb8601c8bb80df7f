package adopt

import (
	"errors"

	"github.com/fwctl/fwctl/packet"
)

// algebra is a Space whose spent budget ends the whole work: see guard.
type algebra struct{ *packet.Space }

// spent carries the error of a Space to guard.
type spent struct{ error }

// guard turns a spent budget into an error.
func guard(err *error) {
	if r := recover(); r != nil {
		s, ok := r.(spent)
		if !ok {
			panic(r)
		}
		*err = s.error
	}
}

// IsSpent reports whether an import was given up because it would have needed too
// much memory or time.
func IsSpent(err error) bool {
	return errors.Is(err, packet.ErrBudget) || errors.Is(err, packet.ErrTime)
}

func must(n packet.Node, err error) packet.Node {
	if err != nil {
		panic(spent{err})
	}
	return n
}

func (a algebra) and(x, y packet.Node) packet.Node  { return must(a.And(x, y)) }
func (a algebra) or(x, y packet.Node) packet.Node   { return must(a.Or(x, y)) }
func (a algebra) less(x, y packet.Node) packet.Node { return must(a.Minus(x, y)) }
func (a algebra) set(c packet.Cond) packet.Node     { return must(a.Set(c)) }

func (a algebra) only(x packet.Node, fields ...packet.Field) packet.Node {
	return must(a.Only(x, fields...))
}

func (a algebra) given(x packet.Node, key string, holds bool) packet.Node {
	return must(a.Given(x, key, holds))
}

// within reports whether all packets of one set are in another.
func (a algebra) within(x, y packet.Node) bool { return a.less(x, y) == packet.False }

// values cuts a set by the values of a field.
func (a algebra) values(x packet.Node, f packet.Field) []packet.Part {
	parts, _ := a.Split(x, f, int(^uint(0)>>1))
	return parts
}
