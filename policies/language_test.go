package policies

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// language has every key of a policy, NAME standing for a section's name, and
// words that have a meaning of their own as values.
var language = []string{
	"version", "include",
	"defaults.inbound=drop", "defaults.inbound=reject", "defaults.outbound=accept", "defaults.outbound=drop",
	"defaults.routed=ignore", "defaults.routed=drop", "defaults.published=ignore", "defaults.container_interfaces",
	"defaults.icmp=minimal", "defaults.icmp=standard", "defaults.log=denied",
	"safety.keep", "safety.confirm", "safety.cut",
	"group.NAME.addresses", "group.NAME.except", "group.NAME.file", "group.NAME.min_entries", "group.NAME.names",
	"group.NAME.interfaces", "group.NAME.allow_empty",
	"service.NAME.ports", "service.NAME.source_ports", "service.NAME.protocols", "service.NAME.profile", "service.NAME.with",
	"service.NAME.from", "service.NAME.from.AUDIENCE", "service.NAME.to", "service.NAME.in", "service.NAME.limit",
	"service.NAME.expires", "service.NAME.log", "service.NAME.shared", "service.NAME.owner", "service.NAME.reason",
	"service.NAME.expect.user", "service.NAME.expect.process", "service.NAME.expect.unit", "service.NAME.expect.listen", "service.NAME.expect.tls",
	"service.NAME.protocols=any", "service.NAME.from=any", "service.NAME.from=loopback", "service.NAME.from=private", "block.NAME.from=host",
	"block.NAME.from", "block.NAME.ports", "block.NAME.to", "block.NAME.direction=outbound",
	"outbound.NAME.to", "outbound.NAME.ports", "outbound.NAME.protocols",
	"route.NAME.from", "route.NAME.to", "route.NAME.ports",
	"accept.NAME.finding", "accept.NAME.match", "accept.NAME.reason", "accept.NAME.expires",
	"pf.anchors",
	"test.NAME.packet", "test.NAME.except", "test.NAME.expect=accept", "test.NAME.expect=drop", "test.NAME.expect=reject",
}

// Whoever has read the examples has seen the whole language. Left out are values
// that no host should copy: inbound = "accept" and log = "none", the default; and
// published = "enforce", which no renderer obeys yet.
func TestExamplesShowTheLanguage(t *testing.T) {
	shown := map[string]bool{}
	err := fs.WalkDir(Examples(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".toml") {
			return err
		}
		var doc map[string]any
		if _, err := toml.DecodeFS(Examples(), path, &doc); err != nil {
			return err
		}
		show(shown, nil, doc)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range language {
		if !shown[f] {
			t.Errorf("no example has %s", f)
		}
	}
}

// show notes what is below a path.
func show(shown map[string]bool, path []string, v any) {
	key := strings.Join(path, ".")
	shown[key] = true
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			show(shown, append(slices.Clone(path), general(path, k)), x)
		}
	case []any:
		for _, x := range v {
			show(shown, path, x)
		}
	case string:
		shown[key+"="+v] = true
	}
}

// general replaces the names that a policy chooses itself.
func general(path []string, key string) string {
	switch {
	case len(path) == 1 && !slices.Contains([]string{"defaults", "safety", "pf"}, path[0]):
		return "NAME"
	case len(path) == 3 && path[2] == "from":
		return "AUDIENCE"
	}
	return key
}
