package live

import "testing"

// Where processes do not tell how somebody came, the environment does, and a terminal
// at the host; a terminal that outlives its connection tells nothing.
func TestReachTold(t *testing.T) {
	consoles := map[uint64]string{7: "ttyC0"}
	for _, c := range []struct {
		env      environment
		terminal uint64
		kind     ReachKind
	}{
		{environment{"SSH_CONNECTION=203.0.113.9 51234 192.0.2.10 22"}, 99, ReachConnection},
		{environment{"SSH_CONNECTION=2001:db8::9 51234 2001:db8::10 22"}, 7, ReachConnection},
		{environment{"SSH_CONNECTION=203.0.113.9 51234 192.0.2.10 22", "TMUX=/tmp/tmux,1,0"}, 7, ReachUnknown},
		{environment{"SSH_CONNECTION=nonsense"}, 99, ReachUnknown},
		{environment{}, 7, ReachConsole},
		{environment{}, 0, ReachUnknown},
	} {
		if got := c.env.toldBy(c.terminal, consoles); got.Kind != c.kind || got.By == "" {
			t.Errorf("%v at terminal %d: %+v", c.env, c.terminal, got)
		}
	}
}
