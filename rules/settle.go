package rules

import (
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// settle merges the settings of included files into those of the file that
// includes them: its own win, and files that it includes must agree on the rest.
func (l *loader) settle(w *whole, below []*whole) {
	settle(l, "defaults.inbound", w, below, func(of *whole) *Value[packet.Verdict] { return &of.defaults.Inbound }, equal)
	settle(l, "defaults.outbound", w, below, func(of *whole) *Value[packet.Verdict] { return &of.defaults.Outbound }, equal)
	settle(l, "defaults.routed", w, below, func(of *whole) *Value[Routed] { return &of.defaults.Routed }, equal)
	settle(l, "defaults.published", w, below, func(of *whole) *Value[Published] { return &of.defaults.Published }, equal)
	settle(l, "defaults.container_interfaces", w, below, func(of *whole) *Value[[]Text] { return &of.defaults.ContainerInterfaces }, sameTexts)
	settle(l, "defaults.icmp", w, below, func(of *whole) *Value[ICMP] { return &of.defaults.ICMP }, equal)
	settle(l, "defaults.log", w, below, func(of *whole) *Value[bool] { return &of.defaults.Log }, equal)
	settle(l, "safety.keep", w, below, func(of *whole) *Value[[]Text] { return &of.safety.Keep }, sameTexts)
	settle(l, "safety.confirm", w, below, func(of *whole) *Value[time.Duration] { return &of.safety.Confirm }, equal)
	settle(l, "safety.cut", w, below, func(of *whole) *Value[bool] { return &of.safety.Cut }, equal)
}

func settle[T any](l *loader, name string, w *whole, below []*whole, at func(*whole) *Value[T], same func(a, b T) bool) {
	own := at(w)
	if own.Given() {
		return
	}
	for _, sub := range below {
		switch v := at(sub); {
		case !v.Given():
		case !own.Given():
			*own = *v
		case !same(own.V, v.V):
			l.errorAt(v.Pos, name+" differs from another included file", "the other is at "+own.Pos.String()+"; set it in the file that includes both")
		}
	}
}

func equal[T comparable](a, b T) bool { return a == b }

func sameTexts(a, b []Text) bool {
	return slices.EqualFunc(a, b, func(x, y Text) bool { return x.V == y.V })
}
