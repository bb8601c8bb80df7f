package drift_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fwctl/fwctl/rules"
)

// other is another program that manages the rules of a host, at work in a
// laboratory.
type other struct {
	*host
	script string // what it was told
	// links are those that it made itself. The laboratory has no cable to them.
	links []rules.Interface
}

// newOther makes a host on which another program has loaded its rules, as the
// script of that name in testdata/managers says.
func newOther(t *testing.T, name string, facts *rules.Host) *other {
	t.Helper()
	root := os.Getenv("FWCTL_ROOT")
	if root == "" {
		t.Skip("needs other managers: make coexist")
	}
	script, err := os.ReadFile(filepath.Join("testdata", "managers", name+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	o := &other{host: newHost(t, facts, backends[0]), script: string(script)}
	o.enter(root)
	return o
}

// enter is the first process of a process namespace: what ends it ends all that
// the script started. The script runs in a copy of the root in memory. Ready, it
// waits for the end of its input, which comes when the test ends, however it
// does, and takes away what is no namespace's.
const enter = `
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

// enter runs the script in the root and in the host's network namespace.
func (o *other) enter(root string) {
	o.Helper()
	dir := o.shared()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		o.Fatal(err)
	}
	defer log.Close()
	ready, says, err := os.Pipe()
	if err != nil {
		o.Fatal(err)
	}
	defer ready.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-eu", "-c", enter)
	cmd.Env = []string{"ROOT=" + root, "DIR=" + dir, fmt.Sprintf("CGROUP=fwctl-test-%d", os.Getpid()), "HOME=/", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{says}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	life, err := cmd.StdinPipe()
	if err != nil {
		o.Fatal(err)
	}
	if err := o.lab.Do(cmd.Start); err != nil {
		o.Fatal(err)
	}
	says.Close()
	o.Cleanup(func() {
		life.Close()
		_ = cmd.Wait()
	})
	if code, _ := io.ReadAll(io.LimitReader(ready, 2)); string(code) != "0\n" {
		text, _ := os.ReadFile(log.Name())
		o.Fatalf("exit status %s\n%s", code, text)
	}
}

// shared makes the directory that the script finds as /share: itself, and an
// image for containers.
func (o *other) shared() string {
	o.Helper()
	dir := o.TempDir()
	for _, d := range []string{"mnt", "share", "share/image"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			o.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "share", "script"), []byte(o.script), 0o600); err != nil {
		o.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "share", "image", "waits"), "./testdata/managers/waits.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		o.Fatalf("%v\n%s", err, out)
	}
	return dir
}
