package exposure

import (
	"slices"

	"github.com/fwctl/fwctl/live"
)

// Elsewhere is another network namespace of the machine, as it was read.
type Elsewhere struct {
	live.Namespace
	Published []live.PublishedPort // by its own rules
}

// Namespace is another network namespace of the machine: a container's, mostly. Its
// doors are told for packets that have come into it, by its own rules alone. Which
// packets come so far is for the rules of the host and of what lies between to say: ports
// that are published lead there, and so may routes, bridges and programs; that is not
// followed here.
type Namespace struct {
	Name      string   `json:"name,omitempty"` // of the file where it is mounted
	Inode     uint64   `json:"inode"`          // of /proc/PID/ns/net
	Holds     []string `json:"holds"`          // containers and units of what waits there
	Addresses []string `json:"addresses"`      // of its interfaces, but loopback: "eth0 172.17.0.2/16"
	Doors     []Door   `json:"doors"`          // as those of the host
	Notes     []string `json:"notes"`          // what could not be told
}

// String writes "web (net:[4026532281])".
func (n *Namespace) String() string { return live.Netns{Inode: n.Inode, Name: n.Name}.String() }

// listening are the listeners of one network namespace.
func listening(all []live.Listener, ns live.Netns) []live.Listener {
	return slices.DeleteFunc(slices.Clone(all), func(l live.Listener) bool { return l.Netns.Inode != ns.Inode })
}

// elsewhere looks at the other network namespaces. What is not known of them is a note
// of the report, too.
func (r *Report) elsewhere(q Question, listeners []live.Listener) error {
	all := q.Elsewhere
	for _, l := range listeners {
		if l.Netns != (live.Netns{}) && !slices.ContainsFunc(all, func(e Elsewhere) bool { return e.Inode == l.Netns.Inode }) {
			all = append(all, Elsewhere{Namespace: live.Namespace{Netns: l.Netns, Unread: "it was not there when they were"}})
		}
	}
	for _, e := range all {
		n, err := lookInto(q, e, listening(listeners, e.Netns))
		if err != nil {
			return err
		}
		r.Namespaces = append(r.Namespaces, *n)
		for _, note := range n.Notes {
			r.Notes = append(r.Notes, "network namespace "+n.String()+": "+note)
		}
	}
	return nil
}

// lookInto looks at one of them.
func lookInto(q Question, e Elsewhere, listeners []live.Listener) (*Namespace, error) {
	n := &Namespace{Name: e.Name, Inode: e.Inode, Addresses: []string{}}
	there := &Report{Doors: doors(listeners, e.Published, e.Rules != nil && len(e.Rules.Localnet) > 0), Notes: []string{}}
	if e.Rules == nil {
		for i := range there.Doors {
			there.Doors[i].Untold = !there.Doors[i].Local
		}
		there.Notes = append(there.Notes, "its rules could not be read: "+e.Unread)
	} else {
		n.Addresses = linkAddresses(e.Rules)
		if err := there.look(Question{Host: e.Rules, Now: q.Now, Budget: q.Budget}); err != nil {
			return nil, err
		}
	}
	n.Doors, n.Notes = there.Doors, there.Notes
	n.Holds = holds(n.Doors)
	return n, nil
}

// holds are the containers, else the units, of what waits at the doors.
func holds(doors []Door) []string {
	out := []string{}
	for i := range doors {
		for _, w := range doors[i].Waits {
			name := w.Container
			if name == "" {
				name = w.Unit
			}
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// linkAddresses are those of the interfaces but loopback, and no link-local ones.
func linkAddresses(h *live.HostRules) []string {
	out := []string{}
	for _, l := range h.Links {
		for _, a := range l.Addrs {
			if !a.Addr().IsLoopback() && !a.Addr().IsLinkLocalUnicast() {
				out = append(out, l.Name+" "+a.String())
			}
		}
	}
	slices.Sort(out)
	return out
}
