package live

import (
	"strconv"
	"strings"
)

// pane is where in tmux a process runs.
type pane struct {
	socket  string
	server  int    // the process
	session string // "$3": of then; panes move
	id      string // "%5", or empty
}

// parsePane reads TMUX, "/tmp/tmux-0/default,812,3", and TMUX_PANE, "%5".
func parsePane(e environment) (pane, bool) {
	head, session, ok1 := cutLast(e.get("TMUX"), ",")
	socket, server, ok2 := cutLast(head, ",")
	pid, err := strconv.Atoi(server)
	return pane{socket, pid, "$" + session, e.get("TMUX_PANE")}, ok1 && ok2 && err == nil && socket != ""
}

// client reads what tmux says of its panes and clients, and returns the client
// on a session with the pane that was used last, 0 if there is none. A window,
// and so a pane, may be in several sessions.
//
//	pane %5 $3
//	client $3 1700000000 812
func (p pane) client(text string) int {
	sessions := map[string]bool{p.session: p.id == ""}
	var pid, latest int
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "pane" && f[1] == p.id:
			sessions[f[2]] = true
		case len(f) == 4 && f[0] == "client" && sessions[f[1]]:
			at, err1 := strconv.Atoi(f[2])
			id, err2 := strconv.Atoi(f[3])
			if err1 == nil && err2 == nil && at >= latest {
				pid, latest = id, at
			}
		}
	}
	return pid
}
