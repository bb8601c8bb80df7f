package netlab

import (
	"os/exec"
	"testing"
	"time"
)

// Nothing is answered before the host's end is up, then everything, and behind rules
// what they let in.
func TestCable(t *testing.T) {
	c := NewCable(t)
	sh := func(line string) {
		t.Helper()
		if err := c.Do(exec.Command("sh", "-ec", line).Run); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	flood := func(during func()) map[uint16]*Answers {
		stop := c.Flood(22, 4444)
		during()
		time.Sleep(100 * time.Millisecond)
		return stop()
	}
	for port, a := range flood(func() {}) {
		if a.Sent < 20 || a.IPv4+a.IPv6 > 0 {
			t.Errorf("unplugged, port %d: %+v", port, a)
		}
	}
	for port, a := range flood(func() { sh(Plug) }) {
		if a.IPv4 < 10 || a.IPv6 < 10 {
			t.Errorf("without rules, port %d: %+v", port, a)
		}
		t.Logf("port %d: %+v", port, a)
	}
	sh("nft 'table inet t { chain c { type filter hook input priority 0; tcp dport 4444 drop; }; }'")
	got := flood(func() {})
	if got[22].IPv4 < 10 || got[22].IPv6 < 10 || got[4444].IPv4+got[4444].IPv6 > 0 {
		t.Errorf("with rules: 22 %+v, 4444 %+v", got[22], got[4444])
	}
}
