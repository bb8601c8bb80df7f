package fault

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A shell that writes files one after the other is ended at every one of them.
func TestKillEndsAtTheCall(t *testing.T) {
	dir := t.TempDir()
	script := "for i in 1 2 3 4 5; do echo $i >" + dir + "/$i; done"
	whole, err := Kill(exec.Command("sh", "-c", script), 0, false)
	if err != nil || whole.Killed || !whole.Status.Exited() || whole.Status.ExitStatus() != 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	most := 0
	for at := 1; at <= whole.Calls; at++ {
		for n := range 5 {
			_ = os.Remove(filepath.Join(dir, string(rune('1'+n))))
		}
		out, err := Kill(exec.Command("sh", "-c", script), at, at%2 == 0)
		if err != nil || !out.Killed || out.Status.Signal() != syscall.SIGKILL {
			t.Fatalf("at call %d: %+v, %v", at, out, err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(files) < most {
			t.Errorf("at call %d: %d files, at one before %d", at, len(files), most)
		}
		most = len(files)
	}
	if most != 5 {
		t.Errorf("at the last call there were %d files", most)
	}
}
