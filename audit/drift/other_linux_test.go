package drift_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fwctl/fwctl/internal/beside"
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
	script, err := os.ReadFile(filepath.Join("testdata", "managers", name+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	o := &other{host: newHost(t, facts, backends[0]), script: string(script)}
	beside.Enter(t, o.lab.Do, o.script, image)
	return o
}

// image puts an image for containers into a directory.
func image(dir string) error {
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "image", "waits"), "./testdata/managers/waits.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
