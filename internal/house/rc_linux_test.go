package house

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The frames of the systems' start scripts, as far as these need them: rc.subr(8) of
// OpenBSD finds out by rc_check what is to do, that of FreeBSD runs what variables name.
const (
	openBSDFrame = `rc_exec() { /bin/sh -c "$*"; }
rc_cmd() {
	case $1 in
	check) rc_check ;;
	start) [ -n "$INRC" ] || ! rc_check || return 0; rc_start ;;
	stop) rc_check || return 0; rc_stop; ! rc_check ;; # waits until there is nothing
	restart) "$0" stop && "$0" start ;;
	reload) rc_check && rc_reload ;;
	*) return 1 ;;
	esac
}
`
	freeBSDFrame = `load_rc_config() { fwctl_enable=$ENABLED; }
run_rc_command() {
	eval "on=\$$rcvar"
	[ "$on" = YES ] || [ "$1" = status ] || return 0
	eval "cmd=\$${1}_cmd"
	$cmd
}
`
)

// The start scripts load what was confirmed, tell whether it stands, and never take
// rules away.
func TestStartScripts(t *testing.T) {
	for _, c := range []struct {
		system, frame, path, action, env string
		applied                          bool
		runs                             string // the commands of fwctl
		status                           int
	}{
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "start", "INRC=1", false, "boot", 0},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "start", "INRC=", true, "boot", 0},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "check", "", true, "status --json", 0},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "check", "", false, "status --json", 1},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "stop", "", true, "", 0},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "restart", "", true, "boot", 0},
		{"openbsd", openBSDFrame, "/etc/rc.d/rc.subr", "reload", "", true, "status --json,boot", 0},
		{"freebsd", freeBSDFrame, "/etc/rc.subr", "start", "ENABLED=YES", false, "boot", 0},
		{"freebsd", freeBSDFrame, "/etc/rc.subr", "start", "ENABLED=", false, "", 0},
		{"freebsd", freeBSDFrame, "/etc/rc.subr", "stop", "ENABLED=YES", true, "", 0},
		{"freebsd", freeBSDFrame, "/etc/rc.subr", "reload", "ENABLED=YES", true, "boot", 0},
		{"freebsd", freeBSDFrame, "/etc/rc.subr", "status", "ENABLED=YES", true, "status", 0},
	} {
		for _, shell := range shells() {
			t.Run(strings.Join([]string{c.system, c.action, c.env, filepath.Base(shell)}, " "), func(t *testing.T) {
				dir := t.TempDir()
				text, err := os.ReadFile(filepath.Join(root, "rc", c.system, "fwctl"))
				if err != nil {
					t.Fatal(err)
				}
				script := filepath.Join(dir, "fwctl.rc")
				replace := strings.NewReplacer("#!/bin/ksh", "#!"+shell, "#!/bin/sh", "#!"+shell, c.path, filepath.Join(dir, "subr"), "/usr/local/sbin/fwctl", filepath.Join(dir, "fwctl"))
				program := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s/ran\necho '  \"applied\": %v,'\n", dir, c.applied)
				for path, text := range map[string]string{script: replace.Replace(string(text)), filepath.Join(dir, "subr"): c.frame, filepath.Join(dir, "fwctl"): program} {
					put(t, path, []byte(text))
					if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // it is a program
						t.Fatal(err)
					}
				}
				cmd := exec.Command(script, c.action)
				cmd.Env = append(os.Environ(), c.env)
				out, _ := cmd.CombinedOutput()
				ran, _ := os.ReadFile(filepath.Join(dir, "ran"))
				got := strings.ReplaceAll(strings.TrimSpace(string(ran)), "\n", ",")
				if got != c.runs || cmd.ProcessState.ExitCode() != c.status {
					t.Errorf("it runs %q and exits with %d, want %q and %d\n%s", got, cmd.ProcessState.ExitCode(), c.runs, c.status, out)
				}
			})
		}
	}
}

// shells are those of the systems, as far as they are here.
func shells() []string {
	out := []string{"/bin/sh"}
	for _, name := range []string{"ksh", "mksh", "oksh"} {
		if path, err := exec.LookPath(name); err == nil {
			out = append(out, path)
		}
	}
	return out
}
