package adopt

import (
	"fmt"
	"net/netip"
	"strings"
)

// zone is the work on one zone.
type zone struct {
	rs      *Ruleset
	script  *script
	service func(string) (string, bool)
	entry   []string // what brings packets into the zone: "-i eth0 ", "-s 10.0.0.0/8 "
	deny    []func() // rules that refuse come first: see firewalld.richlanguage(5)
	allow   []func()
}

// Firewalld reads the XML of a zone, firewalld.zone(5), as if all packets came into
// it that its interfaces and sources, if it names any, bring there. Service returns
// the XML of a service.
func Firewalld(name, file, text string, service func(string) (string, bool)) (*Ruleset, error) {
	root, err := parseXML(Text{file, text})
	if err != nil {
		return nil, err
	}
	z := root.child("zone")
	if z == nil {
		return nil, &TextError{file, 0, "no <zone> in it: not a zone of firewalld"}
	}
	w := &zone{rs: &Ruleset{Name: name, Part: true}, script: newScript(), service: service}
	w.bindings(z)
	for _, c := range z.children {
		w.element(c)
	}
	for _, write := range append(w.deny, w.allow...) {
		write()
	}
	w.target(z)
	w.rs.V4, w.rs.V6 = w.script.filter(false), w.script.filter(true)
	return w.rs, nil
}

// bindings are what brings packets into the zone.
func (z *zone) bindings(e *element) {
	for _, c := range e.children {
		switch {
		case c.name == "interface" && isWord(c.attrs["name"]) && c.attrs["name"] != "":
			z.entry = append(z.entry, "-i "+c.attrs["name"]+" ")
		case c.name == "source" && isNetwork(c.attrs["address"]):
			z.entry = append(z.entry, "-s "+c.attrs["address"]+" ")
		case c.name == "interface" || c.name == "source":
			z.left(c, "only interfaces and addresses can be said")
		}
	}
	if z.entry == nil {
		z.entry = []string{""}
		return
	}
	z.rs.Notes = append(z.rs.Notes, "the zone is for its interfaces and sources alone; what enters elsewhere belongs to other zones, and is refused here")
}

func isNetwork(s string) bool {
	_, err := netip.ParsePrefix(s)
	_, err2 := netip.ParseAddr(s)
	return err == nil || err2 == nil
}

func (z *zone) left(e *element, why string) {
	z.rs.Left = append(z.rs.Left, Left{Line: e.line, Rule: printable(e.text()), Reason: why})
}

// element reads one element of a zone.
func (z *zone) element(e *element) {
	switch e.name {
	case "short", "description", "interface", "source", "forward":
	case "service", "port", "protocol", "source-port":
		if ms := z.matches(e, e); ms != nil {
			z.allow = append(z.allow, func() { z.write(e, "", ms, "-j ACCEPT") })
		}
	case "icmp-block":
		if ms := z.icmp(e, e); ms != nil {
			z.deny = append(z.deny, func() { z.write(e, "", ms, "-j REJECT") })
		}
	case "rule":
		z.rich(e)
	case "masquerade", "forward-port":
		z.rs.Notes = append(z.rs.Notes, fmt.Sprintf("line %d: a policy translates no addresses: %s", e.line, printable(e.text())))
	default:
		z.left(e, "not understood")
	}
}

// match is what an element asks for, in the families that it can be asked in.
type match struct {
	text   string
	v4, v6 bool
}

func both(text string) match { return match{text, true, true} }

// matches returns what an element opens; nil if it is left out. A rule of rich
// language is named as a whole.
func (z *zone) matches(e, whole *element) []match {
	a := e.attrs
	for _, k := range []string{"port", "protocol", "value", "name"} {
		if !isWord(a[k]) {
			z.left(whole, "not understood")
			return nil
		}
	}
	port := strings.ReplaceAll(a["port"], "-", ":")
	switch {
	case e.name == "port" && a["protocol"] != "" && port != "":
		return []match{both("-p " + a["protocol"] + " -m multiport --dports " + port + " ")}
	case e.name == "port" && a["protocol"] != "":
		return []match{both("-p " + a["protocol"] + " ")}
	case e.name == "source-port" && a["protocol"] != "" && port != "":
		return []match{both("-p " + a["protocol"] + " -m multiport --sports " + port + " ")}
	case e.name == "protocol" && a["value"] != "":
		return []match{both("-p " + a["value"] + " ")}
	case e.name == "service" && a["name"] != "":
		return z.serviceMatches(a["name"], whole)
	}
	z.left(whole, "not understood")
	return nil
}

// serviceMatches reads the ports of a service.
func (z *zone) serviceMatches(name string, whole *element) []match {
	text, ok := z.service(name)
	if !ok {
		z.left(whole, "firewalld's description of the service "+name+" is not here")
		return nil
	}
	root, err := parseXML(Text{name, text})
	if err != nil || root.child("service") == nil {
		z.left(whole, "the description of the service "+name+" cannot be read")
		return nil
	}
	var out []match
	s := root.child("service")
	for _, c := range s.children {
		if !oneWord(c.name, "port", "protocol", "source-port") {
			continue
		}
		out = append(out, z.toDestination(z.matches(c, whole), s.child("destination"))...)
	}
	if s.child("include") != nil || out == nil {
		z.left(whole, "the service "+name+" is made of others, or opens no port of its own")
	}
	return out
}

// toDestination narrows what a service opens to its destinations.
func (z *zone) toDestination(ms []match, d *element) []match {
	if d == nil {
		return ms
	}
	var out []match
	for _, m := range ms {
		if to := d.attrs["ipv4"]; isNetwork(to) {
			out = append(out, match{m.text + "-d " + to + " ", true, false})
		}
		if to := d.attrs["ipv6"]; isNetwork(to) {
			out = append(out, match{m.text + "-d " + to + " ", false, true})
		}
	}
	return out
}

// icmpTypes are firewalld's names of types, by family; 0 means none.
var icmpTypes = map[string][2]int{
	"echo-request": {8, 128}, "echo-reply": {-1, 129}, "timestamp-request": {13, 0}, "timestamp-reply": {14, 0},
	"router-solicitation": {10, 133}, "router-advertisement": {9, 134}, "redirect": {5, 137},
	"destination-unreachable": {3, 1}, "time-exceeded": {11, 3}, "parameter-problem": {12, 4}, "packet-too-big": {0, 2},
}

// icmp returns what a name of an ICMP type stands for.
func (z *zone) icmp(e, whole *element) []match {
	types, known := icmpTypes[e.attrs["name"]]
	if !known {
		z.left(whole, "a type of ICMP that is not known by this name")
		return nil
	}
	var out []match
	if types[0] != 0 {
		out = append(out, match{fmt.Sprintf("-p icmp -m icmp --icmp-type %d ", max(types[0], 0)), true, false})
	}
	if types[1] != 0 {
		out = append(out, match{fmt.Sprintf("-p ipv6-icmp -m icmp6 --icmpv6-type %d ", types[1]), false, true})
	}
	return out
}

// write adds the rules for what brings packets into the zone.
func (z *zone) write(e *element, also string, ms []match, target string) {
	from := source{line: e.line, text: printable(e.text()), name: z.name(e)}
	for _, entry := range z.entry {
		for _, m := range ms {
			rule := entry + also + m.text + target
			if is6, is4 := strings.Contains(rule, "::"), hasIPv4(rule); m.v4 && !is6 || m.v6 && !is4 {
				if m.v4 && !is6 {
					z.script.add(false, from, rule)
				}
				if m.v6 && !is4 {
					z.script.add(true, from, rule)
				}
			}
		}
	}
}

// hasIPv4 reports whether a rule names an address of IPv4.
func hasIPv4(rule string) bool {
	words := strings.Fields(rule)
	for i, w := range words {
		if (w == "-s" || w == "-d") && i+1 < len(words) && !strings.Contains(words[i+1], ":") {
			return true
		}
	}
	return false
}

// name is what a section for an element is called.
func (z *zone) name(e *element) string {
	if e.name == "rule" {
		if s := e.child("service"); s != nil {
			return s.attrs["name"]
		}
		return ""
	}
	if e.name == "service" {
		return e.attrs["name"]
	}
	return ""
}

// target is what becomes of what no rule of the zone decides.
func (z *zone) target(e *element) {
	target := e.attrs["target"]
	end := &element{name: "zone", attrs: e.attrs, line: e.line}
	rule, ok := map[string]string{"": "-j REJECT", "default": "-j REJECT", "%%REJECT%%": "-j REJECT", "REJECT": "-j REJECT", "ACCEPT": "-j ACCEPT", "DROP": "-j DROP"}[target]
	if !ok {
		z.left(end, "not understood; what no rule decides is refused")
		return
	}
	if rule == "-j REJECT" { // these targets accept ICMP
		z.write(end, "", []match{{"-p icmp ", true, false}, {"-p ipv6-icmp ", false, true}}, "-j ACCEPT")
	}
	z.write(end, "", []match{both("")}, rule)
}
