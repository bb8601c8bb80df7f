package apply

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// For a name that does not resolve the last good answer stays, and is spoken of;
// without one nothing is applied.
func TestNamesFallBackToTheLastAnswer(t *testing.T) {
	const name = "name.invalid" // never resolves (RFC 6761)
	known := []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	before := &stored{Host: testHost()}
	before.Host.Names = map[string][]netip.Addr{name: known}

	c := &change{host: testHost(), before: before, out: newOutcome("p")}
	if err := c.names(t.Context(), []string{name}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.host.Names[name], known) || len(c.out.Warnings) != 1 || !strings.Contains(c.out.Warnings[0], name) {
		t.Errorf("names %v, warnings %q", c.host.Names, c.out.Warnings)
	}

	c = &change{host: testHost(), out: newOutcome("p")}
	if err := c.names(t.Context(), []string{name}); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("without an earlier answer: %v", err)
	}
}
