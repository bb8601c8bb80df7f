package beside

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// process is the first process of a process namespace: what ends it ends all that
// the script started. The script runs in a copy of the root in memory. Ready, it
// waits for the end of its input, which comes when the test ends, however it
// does, and takes away what is no namespace's.
const process = `
mount -t tmpfs tmpfs "$DIR/mnt"
cd "$DIR/mnt"
mkdir upper work root
mount -t overlay -o "lowerdir=$ROOT,upperdir=upper,workdir=work" overlay root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
for d in run tmp; do mount -t tmpfs tmpfs $d; done
cp -r "$DIR/share" share
code=0
chroot . /bin/sh -exu /share/script </dev/null 3<&- || code=$?
echo $code >&3
cat >/dev/null
kill -KILL -1
for c in $(find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*"); do
  for try in 1 2 3 4 5 6 7 8 9; do rmdir $c && break; sleep 0.1; done
done
`

// Enter runs a script in the root and where do runs what it is given, in a network
// namespace. It returns when the script has ended well; what it started lives until the
// test ends. The script finds itself as /share/script, beside what share puts into
// that directory; share may be nil. Without a root the test is skipped.
func Enter(tb testing.TB, do func(func() error) error, script string, share func(dir string) error) {
	tb.Helper()
	root := os.Getenv("FWCTL_ROOT")
	if root == "" {
		tb.Skip("needs other managers: make coexist")
	}
	dir := tb.TempDir()
	if err := fill(dir, script, share); err != nil {
		tb.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	ready, says, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer ready.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-eu", "-c", process)
	cmd.Env = []string{"ROOT=" + root, "DIR=" + dir, fmt.Sprintf("CGROUP=fwctl-test-%d", os.Getpid()), "HOME=/", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{says}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	life, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := do(cmd.Start); err != nil {
		tb.Fatal(err)
	}
	says.Close()
	tb.Cleanup(func() {
		life.Close()
		_ = cmd.Wait()
	})
	if code, _ := io.ReadAll(io.LimitReader(ready, 2)); string(code) != "0\n" {
		text, _ := os.ReadFile(log.Name())
		tb.Fatalf("exit status %s\n%s", code, text)
	}
}

// fill makes the directory that the script finds as /share.
func fill(dir, script string, share func(string) error) error {
	for _, d := range []string{"mnt", "share"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "share", "script"), []byte(script), 0o600); err != nil || share == nil {
		return err
	}
	return share(filepath.Join(dir, "share"))
}
