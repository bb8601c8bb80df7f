package rules

import (
	"testing"
	"testing/fstest"
)

// load reads a policy of one file and resolves it without a host.
func load(t *testing.T, text string) *Ruleset {
	t.Helper()
	p, problems := Load(fstest.MapFS{"policy.toml": {Data: []byte(text)}}, "policy.toml", LoadOptions{})
	rs, more := Resolve(p, nil)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestLoadMinimal(t *testing.T) {
	rs := load(t, `version = 1
[group.office]
addresses = ["198.51.100.0/24"]
[service.ssh]
ports = ["22/tcp"]
from  = ["office"]
`)
	if len(rs.Services) != 1 || rs.Services[0].ID() != "service.ssh" || len(rs.Groups) != 1 {
		t.Fatalf("got %+v", rs)
	}
}
