package adopt

import (
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// source is where a rule of a script came from.
type source struct {
	line       int
	text, name string
}

// script is rules for iptables that stand for those of another language.
type script struct {
	v4, v6 strings.Builder
	places [2][]source
}

func newScript() *script { return &script{} }

// add adds a rule of one family.
func (s *script) add(is6 bool, from source, rule string) {
	b, i := &s.v4, 0
	if is6 {
		b, i = &s.v6, 1
	}
	b.WriteString("-A INPUT " + strings.NewReplacer("\n", " ", "\r", " ").Replace(rule) + "\n")
	s.places[i] = append(s.places[i], from)
}

// filter returns what the rules of a family do, with the places that they stand
// for. What none decides is refused.
func (s *script) filter(is6 bool) *packet.Filter {
	text, places := s.v4.String(), s.places[0]
	if is6 {
		text, places = s.v6.String(), s.places[1]
	}
	f := iptables.Filter(iptables.Parse(":INPUT DROP [0:0]\n"+text), packet.Input, is6, iptables.Options{})
	f.Steps(func(st *packet.Step) {
		if i := st.Place.Line - 2; i >= 0 && i < len(places) {
			st.Place.Line, st.Place.Text, st.Place.Name = places[i].line, places[i].text, places[i].name
		}
	})
	return f
}
