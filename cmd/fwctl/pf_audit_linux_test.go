package main

import (
	"encoding/json"
	"slices"
	"testing"
)

// Where pf decides the audit says who gets in by its rules: those of the policy, and
// what somebody's quick rule before the anchor lets in beside it.
func TestPFAudit(t *testing.T) {
	b := newPFBox(t)
	b.sh("ip link add em0 type veth peer name em1 && ip address add 192.0.2.10/24 dev em0 && ip link set em0 up")
	for _, port := range []string{"22", "3306"} {
		b.listen(port)
	}
	policy := b.write("audited.toml", `version = 1
[service.ssh]
ports = ["22/tcp"]
from  = ["198.51.100.0/24"]
`)
	b.want(0, "apply", "--no-confirm", policy)
	audit := func(status int) (from map[int][]string, codes []string) {
		var a struct {
			Doors []struct {
				Port int
				From []string
			}
			Findings []struct{ Code string }
		}
		if err := json.Unmarshal([]byte(b.want(status, "audit", "--json")), &a); err != nil {
			t.Fatal(err)
		}
		from = map[int][]string{}
		for _, d := range a.Doors {
			from[d.Port] = append(from[d.Port], d.From...)
		}
		for _, f := range a.Findings {
			codes = append(codes, f.Code)
		}
		return from, codes
	}
	from, codes := audit(1) // 3306 waits for nobody: a warning
	if !slices.Equal(from[22], []string{"198.51.100.0/24"}) || len(from[3306]) > 0 || slices.Contains(codes, "FW101") {
		t.Errorf("%v %v", from, codes)
	}
	s := b.pfState()
	if problems := s.Load("", "set skip on lo\nblock return\npass in quick proto tcp from 203.0.113.0/24 to port 3306\npass out\nanchor \"fwctl\"\n"); problems != nil {
		t.Fatal(problems)
	}
	if err := s.Write(b.pf); err != nil {
		t.Fatal(err)
	}
	from, codes = audit(1)
	if !slices.Equal(from[3306], []string{"203.0.113.0/24"}) || !slices.Contains(codes, "FW101") {
		t.Errorf("what another rule opens is not told: %v %v", from, codes)
	}
}
