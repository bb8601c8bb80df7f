package rules

import (
	"errors"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// shape is the packet of a test, read but not resolved.
type shape struct {
	expr     packet.Expr
	src, dst Member
}

// shape reads the packet of a test.
func (r *reader) shape(v *node) shape {
	e, err := packet.ParseExpr(v.text)
	if err != nil {
		wrong := &packet.SyntaxError{Summary: err.Error()}
		errors.As(err, &wrong)
		hint := wrong.Hint
		if strings.Contains(hint, "shell") || hint == "" {
			hint = `such as "tcp any -> host:8000"` // no shell is near
		}
		r.errorAt(r.inside(v, wrong.Offset), wrong.Summary, hint)
		return shape{}
	}
	r.checkShape(v, e)
	return shape{expr: e, src: r.end(v, e.Src), dst: r.end(v, e.Dst)}
}

// inside returns the offset of a byte of a string's value: exact where the
// string is written without escapes, else that of the string.
func (r *reader) inside(v *node, off int) int {
	if strings.HasPrefix(string(r.file.data[min(v.off+1, len(r.file.data)):]), v.text) {
		return v.off + 1 + off
	}
	return v.off
}

func (r *reader) checkShape(v *node, e packet.Expr) {
	for _, pattern := range []string{e.In, e.Out} {
		if pattern != "" {
			r.mistaken(v, checkPattern(pattern))
		}
	}
	switch {
	case e.State != packet.New:
		r.errorAt(v.off, "a test speaks of new packets, not of "+e.State.String()+" ones", "leave the state out")
	case e.Flags != nil:
		r.errorAt(v.off, "a test speaks of the first packet of a flow", "leave the flags out")
	case e.Hook == packet.Input && e.Src.Name == "host" && e.Dst.Name != "host" && !strings.HasPrefix(strings.TrimSpace(v.text), "in"):
		r.errorAt(v.off, "a packet from this host leaves it", "begin it with output: "+quote("output "+v.text))
	case e.Hook == packet.Input && e.Out != "", e.Hook == packet.Output && e.In != "":
		r.errorAt(v.off, "an "+e.Hook.String()+" packet has one interface", "")
	}
}

// end reads one end of the packet.
func (r *reader) end(v *node, e packet.End) Member {
	m, wrong := parseMember(e.Name)
	if wrong != nil {
		r.errorAt(r.inside(v, e.Offset), wrong.summary, strings.ReplaceAll(wrong.hint, "use in = [", "begin the packet with in, not ["))
	}
	m.Pos = r.pos(r.inside(v, e.Offset))
	return m
}

// tests resolves the tests of the policy.
func (r *resolver) tests(rs *Ruleset) {
	for _, t := range r.p.Tests {
		if t.broken {
			continue
		}
		e := t.shape.expr
		test := Test{
			Name: t.Name, Pos: t.Pos, Hook: e.Hook, Type: e.Type, Code: e.Code, Out: e.Out, Expect: t.Expect, Text: t.Packet.V,
			Match: Rule{From: r.testEnd(t.shape.src, source), To: r.testEnd(t.shape.dst, testTarget(e.Hook)), Transports: shapeTransports(e)},
		}
		if e.In != "" {
			test.Match.In = []string{e.In}
		}
		if t.Except.Given() {
			test.Except = r.addresses(t.Except, source)
		}
		rs.Tests = append(rs.Tests, test)
	}
}

func testTarget(h packet.Hook) role {
	if h == packet.Input {
		return ownTarget
	}
	return farTarget
}

// testEnd resolves an end. A test may speak of the loopback addresses, which
// elsewhere mean nobody.
func (r *resolver) testEnd(m Member, as role) Addresses {
	if m.Group == "loopback" {
		return Addresses{Set: loopbackSet}
	}
	return r.addresses(Members{Pos: m.Pos, Items: []Member{m}}, as)
}

// shapeTransports are the protocols and ports of a test. Ports with any protocol
// mean every protocol that has ports.
func shapeTransports(e packet.Expr) []Transport {
	if !e.AnyProto {
		return []Transport{{Proto: e.Proto, Dst: e.Dst.Ports, Src: e.Src.Ports}}
	}
	if len(e.Dst.Ports)+len(e.Src.Ports) == 0 {
		return []Transport{{Any: true}}
	}
	var out []Transport
	for _, name := range portProtocols {
		p, _ := packet.ParseProto(name)
		out = append(out, Transport{Proto: p, Dst: e.Dst.Ports, Src: e.Src.Ports})
	}
	return normalTransports(out)
}
