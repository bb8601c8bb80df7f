package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// doors holds the list of what waits against what ss(8) lists and what was drawn.
func (h *realHost) doors(a *realAudit) {
	h.Helper()
	var listed, told []string
	for _, line := range strings.Split(strings.TrimSpace(h.script("ss -Hlntu")), "\n") {
		f := strings.Fields(line)
		at := strings.LastIndex(f[4], ":")
		addr, port := strings.Trim(f[4][:at], "[]"), f[4][at+1:]
		addrs := []string{addr}
		if addr == "*" {
			addrs = []string{"0.0.0.0", "::"}
		}
		for _, x := range addrs {
			listed = append(listed, fmt.Sprintf("%s %s %s", f[0], port, x))
		}
	}
	for _, d := range a.Doors {
		if d.Untold || d.More {
			h.Errorf("%d/%s: not all is told", d.Port, d.Protocol)
		}
		if h.redirect && d.Port == 8444 { // where nothing waits
			continue
		}
		for _, x := range d.Addresses {
			told = append(told, fmt.Sprintf("%s %d %s", d.Protocol, d.Port, x))
		}
	}
	slices.Sort(listed)
	slices.Sort(told)
	if listed = slices.Compact(listed); !slices.Equal(listed, told) {
		h.Errorf("the audit lists\n%q\nss lists\n%q", told, listed)
	}
	h.owners(a)
	h.containers(a)
}

// owners fails unless each program is told of by its name and user, and no other.
func (h *realHost) owners(a *realAudit) {
	h.Helper()
	for _, d := range a.Doors {
		var want, got []string
		for _, w := range h.waits {
			if w.network == d.Protocol && w.port == d.Port && slices.ContainsFunc(w.addrs, func(x string) bool { return slices.Contains(d.Addresses, netip.MustParseAddr(x)) }) {
				want = append(want, w.process+" "+w.user)
			}
		}
		for _, w := range d.Waits {
			if w.Proxy == "" {
				got = append(got, w.Process+" "+w.User)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if drawn := slices.Contains(realPorts, portOf{d.Protocol, d.Port}); drawn && !slices.Equal(slices.Compact(want), slices.Compact(got)) {
			h.Errorf("%d/%s is of %q, the audit says %q", d.Port, d.Protocol, want, got)
		}
	}
}

// containers fails unless each published port is told of with the container's name.
func (h *realHost) containers(a *realAudit) {
	h.Helper()
	for _, p := range h.published {
		told := false
		for _, d := range a.Doors {
			named := slices.ContainsFunc(d.Published, func(s string) bool { return strings.Contains(s, "docker container "+p.container) })
			told = told || d.Protocol == p.network && d.Port == p.port && named
		}
		if !told {
			h.Errorf("the audit does not say that %d/%s is published by container %s", p.port, p.network, p.container)
		}
	}
}

// behind is what an oracle knows of one port.
type behind struct {
	portOf
	service *realService
	addrs   []string // not of loopback
	waits   []realProgram
	in      []probe // those that get in
	any4    bool
	any6    bool
	wanted  [2]bool // by the family: the policy lets some in
}

func (h *realHost) behind(p portOf, probes []probe) behind {
	b := behind{portOf: p}
	outside := func(addrs ...string) {
		for _, a := range addrs {
			if !netip.MustParseAddr(a).IsLoopback() && !slices.Contains(b.addrs, a) {
				b.addrs = append(b.addrs, a)
			}
		}
	}
	for _, w := range h.waits {
		if w.portOf() == p {
			outside(w.addrs...)
			b.waits = append(b.waits, w)
		}
	}
	for _, x := range h.published {
		switch {
		case x.portOf() != p:
		case x.addr == "":
			outside("0.0.0.0", "::")
		default:
			outside(x.addr)
		}
	}
	if h.redirect && p.port == 8444 {
		outside("0.0.0.0")
	}
	for _, x := range probes {
		if x.in && x.network == p.network && x.port == p.port {
			b.in = append(b.in, x)
			six := strings.Contains(x.to, ":")
			b.any4, b.any6 = b.any4 || !six, b.any6 || six
			if x.to == "127.0.0.1" && !slices.Contains(b.addrs, x.to) { // no longer for this host alone
				b.addrs = append(b.addrs, x.to)
			}
		}
	}
	if h.held != nil {
		h.meant(&b, probes)
	}
	return b
}

// meant adds what the policy says of the port.
func (h *realHost) meant(b *behind, probes []probe) {
	for _, s := range h.held.services {
		if s.portOf == b.portOf {
			b.service = s
		}
	}
	for _, x := range probes {
		six := strings.Contains(x.to, ":")
		waits := slices.Contains(b.addrs, x.to) || slices.Contains(b.addrs, []string{"0.0.0.0", "::"}[b2u(six)])
		if (portOf{x.network, x.port}) == b.portOf && waits && h.held.admits(x) {
			b.wanted[b2u(six)] = true
		}
	}
}

func (w realProgram) portOf() portOf { return portOf{w.network, w.port} }

// allows reports whether a policy lets the probe in, by itself.
func (p *realPolicy) allows(x probe) bool {
	return p.published == "enforce" && x.link == "docker0" || p.admits(x)
}

// admits reports whether a service lets the probe in.
func (p *realPolicy) admits(x probe) bool {
	if p.blocked != nil && holdsAddr(p.blocked, x.from) {
		return false
	}
	return slices.ContainsFunc(p.services, func(s *realService) bool {
		return s.network == x.network && s.port == x.port && s.opens() && holdsAddr(s.from, x.from) && holdsAddr(s.to, x.to)
	})
}

func (p *realPolicy) names(port uint16) bool {
	return slices.ContainsFunc(p.services, func(s *realService) bool { return s.port == port })
}

// findings holds what the audit found against what the measured and the drawn amount
// to.
func (h *realHost) findings(a *realAudit, probes []probe) {
	h.Helper()
	var want, got []string
	for _, f := range a.Findings {
		about := f.Door
		if about == "" {
			about = f.Section
		}
		if f.Packet == "" && slices.Contains([]string{"FW101", "FW102", "FW104", "FW105", "FW116"}, f.Code) {
			h.Errorf("no packet shows %s %s", f.Code, f.Door)
		}
		if len(f.Evidence) == 0 {
			h.Errorf("nothing is told of %s %s", f.Code, about)
		}
		code := f.Code
		if f.Severity == "note" && code == "FW116" { // the policy closes it
			code = "note " + code
		}
		got = append(got, strings.TrimSpace(code+" "+about))
	}
	for _, p := range realPorts {
		b := h.behind(p, probes)
		for _, code := range b.codes(h) {
			want = append(want, code+" "+p.String())
		}
		want = append(want, b.sections()...)
	}
	if h.rules == "ufw" || strings.HasPrefix(h.rules, "ufw,") {
		want = append(want, "FW114")
	}
	slices.Sort(want)
	slices.Sort(got)
	for _, w := range want {
		code, _, _ := strings.Cut(strings.TrimPrefix(w, "note "), " ")
		h.counts[code]++
	}
	if want, got = slices.Compact(want), slices.Compact(got); !slices.Equal(want, got) {
		h.Errorf("the audit finds\n%q\nbut there is\n%q\n%s", got, want, a.text)
	}
}

// sections are the findings about a service itself.
func (b *behind) sections() (out []string) {
	s := b.service
	if s == nil {
		return nil
	}
	if s.opens() && len(b.addrs) == 0 {
		out = append(out, "FW103 "+s.name())
	}
	if s.ends < 0 {
		out = append(out, "FW112 "+s.name())
	} else if s.ends > 0 {
		out = append(out, "FW113 "+s.name())
	}
	return out
}

// codes are the findings about what waits at the port.
func (b *behind) codes(h *realHost) (out []string) {
	add := func(is bool, code string) {
		if is {
			out = append(out, code)
		}
	}
	add(b.service != nil && b.speaksOther(), "FW110")
	add(b.service != nil && b.service.tls == "true" && b.speaks(true), "FW111") // nobody signed it
	if len(b.addrs) == 0 {
		return out
	}
	s, reached := b.service, b.any4 || b.any6
	if slices.Contains(b.addrs, "0.0.0.0") && slices.Contains(b.addrs, "::") && b.any4 != b.any6 {
		out = append(out, map[bool]string{false: "FW116", true: "note FW116"}[s != nil && b.wanted == [2]bool{b.any4, b.any6}])
	}
	programs := 0
	for _, w := range b.waits {
		if slices.ContainsFunc(w.addrs, func(a string) bool { return slices.Contains(b.addrs, a) }) {
			programs++
		}
	}
	add(programs > 1, "FW108")
	if h.held == nil || s == nil && b.port == 8444 && h.held.names(22) { // where it leads is judged
		return out
	}
	excess := slices.ContainsFunc(b.in, func(p probe) bool {
		enforced := h.held.published == "enforce" && p.link == "docker0"
		return !enforced && (s == nil || !h.held.allows(p))
	})
	add(s == nil && excess, "FW101")
	add(s != nil && excess, "FW102")
	add(s == nil && !reached && b.network == "tcp", "FW104")
	if s == nil {
		return out
	}
	add(b.wanted != [2]bool{} && !reached, "FW105")
	add(b.ownedByOther(), "FW106")
	add(b.listensMore(), "FW107")
	return out
}

// speaksOther reports whether an address speaks what the service does not expect.
func (b *behind) speaksOther() bool {
	return b.service.tls == "true" && b.speaks(false) || b.service.tls == "false" && b.speaks(true)
}

// speaks reports whether one of the addresses for others does, or if there are none one
// of loopback.
func (b *behind) speaks(tls bool) bool {
	for _, w := range b.waits {
		for i, a := range w.addrs {
			if len(b.addrs) > 0 && netip.MustParseAddr(a).IsLoopback() {
				continue
			}
			if does := w.tls != nil && w.tls[i]; does == tls {
				return true
			}
		}
	}
	return false
}

func (b *behind) ownedByOther() bool {
	s := b.service
	return slices.ContainsFunc(b.waits, func(w realProgram) bool {
		outside := slices.ContainsFunc(w.addrs, func(a string) bool { return slices.Contains(b.addrs, a) })
		return outside && (s.user != "" && s.user != w.user || s.process != "" && s.process != w.process)
	})
}

// listensMore reports whether it listens on more addresses than the service says.
func (b *behind) listensMore() bool {
	if b.service.listen != "" {
		return slices.ContainsFunc(b.addrs, func(a string) bool { return a != b.service.listen })
	}
	return b.service.to != nil && (slices.Contains(b.addrs, "0.0.0.0") || slices.Contains(b.addrs, "::"))
}
