package house

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fwctl/fwctl"

// room is one line of the plan of the house: what a directory and all below it
// may import. Data goes one way, so that a reader of one room needs to know
// only the rooms in front of it.
type room struct {
	dir     string
	rooms   []string // rooms of this house, each with all below it
	modules []string // modules of others, each with all its packages
	why     string
}

// linux are the modules that build or make sense on Linux alone. A room that has
// to work on the BSD host it renders for must not import them.
var linux = []string{
	"github.com/google/nftables", "github.com/vishvananda/netlink", "github.com/vishvananda/netns",
	"github.com/mdlayher", "github.com/coreos/go-iptables",
}

// anyModule in room.modules allows every module.
const anyModule = "*"

var plan = []room{
	{"packet", nil, nil, "what everybody speaks about knows nobody"},
	{"policies", nil, nil, "data: profiles and examples, embedded"},
	{
		"rules",
		[]string{"packet"},
		[]string{"github.com/BurntSushi/toml", "github.com/pelletier/go-toml/v2", "go4.org/netipx", "github.com/invopop/jsonschema", "golang.org/x/text"},
		"pure: the host is an argument, so a policy means the same wherever it is read",
	},
	{
		"render",
		[]string{"rules", "packet"},
		[]string{"go4.org/netipx"},
		"pure: must run on a pf host, and on the desk of whoever reviews",
	},
	{"read", []string{"packet"}, []string{"go4.org/netipx"}, "pure: bytes in, meaning out, so that it can be fuzzed"},
	{"live", []string{"read", "rules", "packet"}, []string{anyModule}, "the host's answers, and no opinion about them"},
	{"apply", []string{"rules", "render", "read", "live", "packet"}, []string{anyModule}, "changes the kernel; nothing but the command stands above it"},
	{"audit", []string{"rules", "read", "live", "packet"}, []string{anyModule}, "reports what is; must not be able to change it"},
	{"adopt", []string{"rules", "read", "live", "packet"}, []string{anyModule}, "writes policies; must not be able to apply them"},
	{"cmd", []string{"packet", "policies", "rules", "render", "read", "live", "apply", "audit", "adopt"}, []string{anyModule}, "puts the rooms together"},
	// Below, what is never part of the program.
	{"bench", []string{"packet", "rules", "render", "apply", "live", "policies", "internal"}, []string{anyModule}, "measures the others"},
	{"internal/house", nil, nil, "looks at the source alone"},
	{"internal", []string{"packet", "policies", "rules", "render", "read", "live", "apply"}, []string{anyModule}, "laboratory and generators for tests"},
}

// onlyTests are rooms that the program must not contain.
var onlyTests = []string{"internal", "bench"}

func TestImports(t *testing.T) {
	for _, f := range load(t) {
		if f.Test() {
			continue // a test may look at its room from any side
		}
		r := roomOf(f.Path)
		if r == nil {
			t.Errorf("%s: no room of the house; see the table in this test", f.Path)
			continue
		}
		for _, imp := range f.AST.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if !r.allows(name) {
				t.Errorf("%s imports %s, but %s: %s", f.Path, name, r.dir, r.why)
			}
		}
	}
}

// Outside files for Linux alone, the Linux modules would break the build for the
// systems that pf runs on.
func TestLinuxModulesStayInLinuxFiles(t *testing.T) {
	for _, f := range load(t) {
		if strings.HasSuffix(f.Path, "_linux.go") || strings.HasSuffix(f.Path, "_linux_test.go") || taggedLinux(f) {
			continue
		}
		for _, imp := range f.AST.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if slices.ContainsFunc(linux, func(m string) bool { return within(name, m) }) {
				t.Errorf("%s imports %s: call the file …_linux.go", f.Path, name)
			}
		}
	}
}

func TestPlanOfTheHouse(t *testing.T) {
	for _, r := range plan {
		for _, other := range r.rooms {
			if o := find(other); o != nil && slices.Contains(o.rooms, r.dir) {
				t.Errorf("%s and %s import each other", r.dir, other)
			}
		}
		for _, o := range onlyTests {
			if !within(r.dir, o) && r.dir != "bench" && slices.Contains(r.rooms, o) {
				t.Errorf("%s may import %s, which is for tests", r.dir, o)
			}
		}
	}
}

func roomOf(path string) *room {
	var best *room
	for i := range plan {
		if within(path, plan[i].dir) && (best == nil || len(plan[i].dir) > len(best.dir)) {
			best = &plan[i]
		}
	}
	return best
}

func find(dir string) *room {
	i := slices.IndexFunc(plan, func(r room) bool { return r.dir == dir })
	if i < 0 {
		return nil
	}
	return &plan[i]
}

func (r *room) allows(name string) bool {
	if own, ok := strings.CutPrefix(name, module+"/"); ok {
		return within(own, r.dir) || slices.ContainsFunc(r.rooms, func(o string) bool { return within(own, o) })
	}
	first, _, _ := strings.Cut(name, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.Contains(r.modules, anyModule) || slices.ContainsFunc(r.modules, func(m string) bool { return within(name, m) })
}

// within reports whether the slash-separated name is dir or below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// taggedLinux reports whether a build constraint keeps the file to Linux.
func taggedLinux(f File) bool {
	for _, c := range f.AST.Comments {
		if c.Pos() > f.AST.Package {
			break
		}
		for _, line := range c.List {
			if line.Text == "//go:build linux" {
				return true
			}
		}
	}
	return false
}
