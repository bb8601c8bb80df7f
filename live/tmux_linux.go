package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// tmuxWait is enough for tmux, and short should its server hang.
const tmuxWait = 3 * time.Second

// multiplexed handles tmux and screen, which keep terminals while connections
// come and go: their server descends from none of those. tmux tells who is
// attached, screen does not. The line ends with the process in question.
func (ss sockets) multiplexed(line []process, jumps int) (Reach, bool) {
	p := line[len(line)-1]
	for _, b := range line[:len(line)-1] {
		if at, ok := parsePane(environ(b.pid)); ok && at.server == p.pid && strings.HasPrefix(p.name, "tmux") {
			client := attached(at, line)
			if client == 0 {
				return Reach{By: "no client of tmux shows it"}, true
			}
			return ss.reach(client, jumps-1).by(fmt.Sprintf("tmux client %d", client)), true
		}
	}
	if p.name == "screen" || p.name == "tmux: server" {
		return Reach{By: fmt.Sprintf("%s does not tell who is attached", p)}, true
	}
	return Reach{}, false
}

// attached asks the server of tmux for the client that shows the pane, the one
// that was used last.
func attached(at pane, line []process) int {
	ctx, cancel := context.WithTimeout(context.Background(), tmuxWait)
	defer cancel()
	program, err := exec.LookPath("tmux")
	if err != nil {
		program = fmt.Sprintf("/proc/%d/exe", at.server) // what is in PATH was perhaps left behind with the environment
	}
	cmd := exec.CommandContext(ctx, program, "-S", at.socket,
		"list-panes", "-a", "-F", "pane #{pane_id} #{session_id}", ";",
		"list-clients", "-F", "client #{session_id} #{client_activity} #{client_pid}")
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{"PATH=" + os.Getenv("PATH")}, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: lesser(line)}
	text, err := cmd.Output()
	if err != nil {
		return 0
	}
	return at.client(string(text))
}

// lesser is the nearest user of the line who is not root, for root to become.
// Where the server's socket is comes out of an environment that this user may
// have written, and a server of tmux may have its client run commands.
func lesser(line []process) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, p := range line {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		uid, gid, ok := parseOwner(string(text))
		if ok && uid != 0 {
			return &syscall.Credential{Uid: uid, Gid: gid}
		}
	}
	return nil
}
