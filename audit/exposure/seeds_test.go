package exposure

import (
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// On the hosts of the example policies, each mistake of an administrator is found, and
// a host without one has nothing that counts.
func TestExamplesFindMistakes(t *testing.T) {
	ssh := owned("[::]:22", tcp, "sshd", "root")
	router := owned("0.0.0.0:4064", tcp, "glacier2router", "omero-server")
	plainRouter := owned("0.0.0.0:4063", tcp, "glacier2router", "omero-server")
	web := []live.Listener{owned("0.0.0.0:80", tcp, "nginx", "root"), owned("0.0.0.0:443", tcp, "nginx", "root")}
	cromwell := owned("0.0.0.0:8000", tcp, "java", "cromwell")
	second := owned("0.0.0.0:8001", tcp, "java", "cromwell2")
	database := owned("127.0.0.1:3306", tcp, "mysqld", "mysql")
	for name, c := range map[string]struct {
		example   string
		listeners []live.Listener
		plain     uint16 // the port that speaks none of the TLS that is expected
		want      string // the finding and its port; empty: nothing but what dangles
	}{
		"omero":                        {"omero", append(web, ssh, router, plainRouter), 0, ""},
		"omero by another user":        {"omero", append(web, ssh, plainRouter, owned("0.0.0.0:4064", tcp, "glacier2router", "root")), 0, "FW106 4064/tcp"},
		"omero in plain text":          {"omero", append(web, ssh, router, plainRouter), 4064, "FW110 4064/tcp"},
		"omero's registry":             {"omero", append(web, ssh, router, plainRouter, owned("0.0.0.0:4061", tcp, "icegridnode", "omero-server")), 0, "FW102 4061/tcp"},
		"cromwell":                     {"cromwell", []live.Listener{ssh, cromwell, second, database}, 0, ""},
		"cromwell by another user":     {"cromwell", []live.Listener{ssh, owned("0.0.0.0:8000", tcp, "java", "root"), second, database}, 0, "FW106 8000/tcp"},
		"cromwell twice on a port":     {"cromwell", []live.Listener{ssh, cromwell, owned("192.0.2.10:8000", tcp, "java", "cromwell2"), second, database}, 0, "FW108 8000/tcp"},
		"cromwell's open database":     {"cromwell", []live.Listener{ssh, cromwell, second, owned("0.0.0.0:3306", tcp, "mysqld", "mysql")}, 0, "FW107 3306/tcp"},
		"cloudify's queue in plain":    {"cloudify-manager", []live.Listener{ssh, owned("0.0.0.0:5671", tcp, "beam.smp", "rabbitmq")}, 5671, "FW110 5671/tcp"},
		"cloudify's console, a user's": {"cloudify-manager", []live.Listener{ssh, owned("0.0.0.0:443", tcp, "python3", "root")}, 0, "FW106 443/tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			q := Question{Policy: example(t, c.example), Host: &live.HostRules{}, Listeners: c.listeners}
			q.Now = q.Policy.Host.Time
			q.Speak = func(qs []live.SpeakQuestion) []live.SpeakAnswer {
				out := make([]live.SpeakAnswer, len(qs))
				for i, x := range qs {
					if out[i].Spoken = (live.Spoken{Answer: "HTTP/1.0 200 OK"}); x.Addr.Port() != c.plain {
						out[i].Spoken = live.Spoken{TLS: &live.TLS{Leaf: &live.Certificate{Trusted: true, Days: 90}}}
					}
				}
				return out
			}
			r, err := Look(q)
			if err != nil {
				t.Fatal(err)
			}
			var all, others []string
			for _, f := range r.Findings {
				if f.counts() {
					all = append(all, f.Code+" "+f.Door)
				}
				// The host has no rules, so that all are let in; and not all of the product runs.
				if f.counts() && f.Code != "FW102" && f.Code != "FW103" {
					others = append(others, f.Code+" "+f.Door)
				}
			}
			if c.want == "" && len(others) > 0 || c.want != "" && !slices.Contains(all, c.want) {
				t.Errorf("found %q, want %q\n%+v", all, c.want, r.Findings)
			}
		})
	}
}

// example is an example policy on its host.
func example(t *testing.T, name string) *rules.Ruleset {
	t.Helper()
	data, err := fs.ReadFile(policies.Examples(), name+".host.json")
	if err != nil {
		t.Fatal(err)
	}
	h := &rules.Host{}
	if err := json.Unmarshal(data, h); err != nil {
		t.Fatal(err)
	}
	p, ps := rules.Load(policies.Examples(), name+".toml", rules.LoadOptions{Profiles: policies.Profiles()})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	rs, ps := rules.Resolve(p, h)
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	return rs
}
