package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// keepBundle is the bundle of the kept services of a ruleset.
func keepBundle(rs *rules.Ruleset, h *rules.Host) *Bundle {
	const name = "keep.toml"
	text := keepPolicy(rs)
	return &Bundle{
		Manifest: Manifest{Policy: "/" + name, Time: time.Now().UTC().Truncate(time.Second), User: Who()},
		Host:     h,
		Sources:  []rules.Source{{Path: name, Data: text}},
	}
}

// keepPolicy writes a policy that has the kept services of a ruleset and nothing
// else, every name resolved. It is what boot falls back to when no bundle can be
// read, so it leans on as little as possible.
func keepPolicy(rs *rules.Ruleset) []byte {
	w := &keepWriter{names: map[string]bool{}}
	var kept []string
	keep := rs.Keep
	if len(keep) == 0 {
		keep = []string{"ssh"} // a policy that says nothing of safety means no lock-out by it
	}
	for _, r := range rs.Services {
		if !slices.Contains(keep, r.Name) || nobody(r.From) || nobody(r.To) {
			continue
		}
		for _, part := range bySource(r) {
			kept = append(kept, w.service(part))
		}
	}
	var head strings.Builder
	head.WriteString("# Written by fwctl: the services that [safety] keep names, for a boot at which the\n# confirmed policy cannot be read. Do not edit.\nversion = 1\n\n")
	fmt.Fprintf(&head, "[safety]\nkeep = %s\n", quoted(kept))
	return []byte(head.String() + w.groups.String() + w.services.String())
}

// nobody reports whether no address is in the set, of groups that are empty too.
func nobody(as rules.Addresses) bool {
	return !as.Any && !as.Host && as.Set == nil &&
		!slices.ContainsFunc(as.Groups, func(g *rules.Group) bool { return g.Host || len(g.Terms) > 0 })
}

// bySource splits a rule into one for all that asks for no source port and one
// for each transport that does: in a policy source ports count for every port
// of the service.
func bySource(r *rules.Rule) []*rules.Rule {
	var out []*rules.Rule
	split := func(ts ...rules.Transport) {
		part := *r
		part.Transports = ts
		out = append(out, &part)
	}
	var plain []rules.Transport
	for _, t := range r.Transports {
		if len(t.Src) > 0 {
			split(t)
		} else {
			plain = append(plain, t)
		}
	}
	if len(plain) > 0 || len(r.Transports) == 0 {
		split(plain...)
	}
	return out
}

type keepWriter struct {
	groups, services strings.Builder
	names            map[string]bool
	count            int
}

func (w *keepWriter) service(r *rules.Rule) string {
	name := w.name(r)
	s := &w.services
	fmt.Fprintf(s, "\n[service.%s]\nshared = true\n", name)
	w.transports(r.Transports)
	fmt.Fprintf(s, "from = %s\n", quoted(w.members(r.From)))
	if !r.To.Any {
		fmt.Fprintf(s, "to = %s\n", quoted(w.members(r.To)))
	}
	if len(r.In) > 0 {
		fmt.Fprintf(s, "in = %s\n", quoted(r.In))
	}
	if r.Limit.Count > 0 {
		fmt.Fprintf(s, "limit = %q\n", limitText(r.Limit))
	}
	if !r.Expires.IsZero() {
		fmt.Fprintf(s, "expires = %s\n", r.Expires.UTC().Format(time.RFC3339))
	}
	return name
}

// name is the rule's own name where it can be: two audiences of one service need
// two.
func (w *keepWriter) name(r *rules.Rule) string {
	name := r.Name
	if r.Part != "" {
		name += "-" + r.Part
	}
	if len(name) > 40 || w.names[name] { // the longest name that a policy may use
		w.count++
		name = "keep-" + strconv.Itoa(w.count)
	}
	w.names[name] = true
	return name
}

func (w *keepWriter) transports(ts []rules.Transport) {
	var ports, sources, protocols []string
	for _, t := range ts {
		switch {
		case t.Any:
			protocols = append(protocols, "any")
		case len(t.Dst) == 0 && len(t.Src) == 0:
			protocols = append(protocols, t.Proto.String())
		}
		ports = append(ports, portTexts(t.Dst, t.Proto)...)
		sources = append(sources, portTexts(t.Src, t.Proto)...)
	}
	if len(ts) == 0 {
		protocols = []string{"any"}
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"ports", ports}, {"source_ports", sources}, {"protocols", protocols}} {
		if len(l.list) > 0 {
			slices.Sort(l.list)
			fmt.Fprintf(&w.services, "%s = %s\n", l.key, quoted(slices.Compact(l.list)))
		}
	}
}

func portTexts(ports packet.Ports, proto packet.Proto) []string {
	var out []string
	for _, r := range ports {
		out = append(out, r.String()+"/"+proto.String())
	}
	return out
}

// members lists what a set of addresses holds; addresses that count only on
// certain interfaces become groups of their own.
func (w *keepWriter) members(as rules.Addresses) []string {
	switch {
	case as.Any:
		return []string{"any"}
	case as.None():
		return []string{}
	}
	var out []string
	if as.Host {
		out = append(out, "host")
	}
	out = append(out, prefixes(as.Set)...)
	for _, g := range as.Groups {
		if g.Host {
			out = append(out, "host")
		}
		for _, t := range g.Terms {
			if len(t.In) == 0 {
				out = append(out, prefixes(t.Set)...)
				continue
			}
			out = append(out, w.group(t))
		}
	}
	return out
}

func (w *keepWriter) group(t rules.Term) string {
	w.count++
	name := "keep-" + strconv.Itoa(w.count)
	fmt.Fprintf(&w.groups, "\n[group.%s]\ninterfaces = %s\naddresses = %s\n", name, quoted(t.In), quoted(prefixes(t.Set)))
	return name
}

func prefixes(set *netipx.IPSet) []string {
	if set == nil {
		return nil
	}
	return texts(set.Prefixes())
}

func texts(ps []netip.Prefix) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return out
}

func limitText(l rules.Limit) string {
	units := map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour", 24 * time.Hour: "day"}
	return fmt.Sprintf("%d/%s", l.Count, units[l.Per])
}

// quoted writes a TOML array of strings. Names, patterns and addresses need no
// escapes beyond those that Go and TOML share.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}
