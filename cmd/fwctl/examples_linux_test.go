package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// exampleHosts are the good hosts of the example policies: everything that a policy
// opens, by the programs and users that its product has.
var exampleHosts = map[string][]actor{
	"omero": {
		{"sshd", "root", []string{"0.0.0.0:22", "[::]:22"}, false},
		{"nginx", "root", []string{"0.0.0.0:80", "[::]:80"}, false},
		{"nginx", "root", []string{"0.0.0.0:443", "[::]:443"}, true},
		{"gunicorn", "omero-server", []string{"127.0.0.1:4080"}, false},
		{"glacier2router", "omero-server", []string{"0.0.0.0:4064", "[::]:4064"}, true},
		{"glacier2router", "omero-server", []string{"0.0.0.0:4063", "[::]:4063"}, false},
		{"icegridnode", "omero-server", []string{"127.0.0.1:4061"}, false},
	},
	"cromwell": {
		{"sshd", "root", []string{"0.0.0.0:22", "[::]:22"}, false},
		{"java", "cromwell", []string{"[::]:8000"}, false},
		{"java", "cromwell2", []string{"[::]:8001"}, false},
		{"mysqld", "mysql", []string{"127.0.0.1:3306"}, false},
	},
	"cloudify-manager": {
		{"sshd", "root", []string{"0.0.0.0:22", "[::]:22"}, false},
		{"nginx", "root", []string{"0.0.0.0:80", "[::]:80"}, false},
		{"nginx", "root", []string{"0.0.0.0:443", "[::]:443"}, true},
		{"nginx", "root", []string{"192.0.2.5:53333", "[2001:db8:2::5]:53333"}, true},
		{"nginx", "root", []string{"192.0.2.5:8009", "[2001:db8:2::5]:8009"}, true},
		{"beam.smp", "rabbitmq", []string{"192.0.2.5:5671", "[2001:db8:2::5]:5671"}, true},
		{"prometheus", "root", []string{"127.0.0.1:9090"}, false},
	},
}

// instead replaces the stand-ins of a port; without others they are gone.
func instead(port string, others ...actor) func([]actor) []actor {
	return func(all []actor) []actor {
		all = slices.DeleteFunc(all, func(s actor) bool { return strings.HasSuffix(s.Addrs[0], ":"+port) })
		return append(all, others...)
	}
}

func and(others ...actor) func([]actor) []actor {
	return func(all []actor) []actor { return append(all, others...) }
}

// On the hosts of the example policies, which stand-ins play with real sockets under
// the policies that are applied, an audit finds nothing that counts; and each mistake
// of an administrator by its code, and nothing else.
func TestAuditOfExamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, example string
		change        func([]actor) []actor
		sh            string // what somebody does to the rules
		want          string // the codes and doors of all findings that count
	}{
		{"omero", "omero", nil, "", ""},
		{"omero, another user", "omero", instead("4064", actor{"glacier2router", "root", []string{"[::]:4064"}, true}), "", "FW106 4064/tcp"},
		{"omero, plain text", "omero", instead("4064", actor{"glacier2router", "omero-server", []string{"[::]:4064"}, false}), "", "FW110 4064/tcp"},
		{"omero, not for others", "omero", instead("4064", actor{"glacier2router", "omero-server", []string{"127.0.0.1:4064"}, true}), "", "FW103 4064/tcp"},
		{
			"omero, an open registry", "omero", instead("4061", actor{"icegridnode", "omero-server", []string{"[::]:4061"}, false}),
			"nft insert rule inet fwctl input tcp dport 4061 accept", "FW102 4061/tcp",
		},
		{
			"omero, an open application server", "omero", instead("4080", actor{"gunicorn", "omero-server", []string{"[::]:4080"}, false}),
			"nft insert rule inet fwctl input tcp dport 4080 accept", "FW101 4080/tcp, FW109 4080/tcp",
		},
		{"cromwell", "cromwell", nil, "", ""},
		{"cromwell, another user", "cromwell", instead("8000", actor{"java", "cromwell2", []string{"[::]:8000"}, false}), "", "FW106 8000/tcp"},
		{"cromwell, another program", "cromwell", instead("8000", actor{"python3", "cromwell", []string{"[::]:8000"}, false}), "", "FW106 8000/tcp"},
		{"cromwell, twice on a port", "cromwell", and(actor{"java", "cromwell", []string{"[::]:8000"}, false}), "", "FW108 8000/tcp"},
		{
			"cromwell, twice by address", "cromwell",
			instead("8000", actor{"java", "cromwell", []string{"192.0.2.30:8000"}, false}, actor{"java", "cromwell2", []string{"[2001:db8:2::30]:8000"}, false}), "",
			"FW106 8000/tcp, FW108 8000/tcp",
		},
		{"cromwell, a third", "cromwell", and(actor{"java", "cromwell", []string{"[::]:8002"}, false}), "", "FW104 8002/tcp"},
		{"cromwell, the database on all addresses", "cromwell", instead("3306", actor{"mysqld", "mysql", []string{"0.0.0.0:3306"}, false}), "", "FW107 3306/tcp"},
		{"cloudify", "cloudify-manager", nil, "", ""},
		{
			"cloudify, plain text", "cloudify-manager",
			instead("5671", actor{"beam.smp", "rabbitmq", []string{"192.0.2.5:5671", "[2001:db8:2::5]:5671"}, false}), "", "FW110 5671/tcp",
		},
		{"cloudify, on all addresses", "cloudify-manager", instead("5671", actor{"beam.smp", "rabbitmq", []string{"[::]:5671"}, true}), "", "FW107 5671/tcp"},
		{"cloudify, another program", "cloudify-manager", instead("443", actor{"python3", "root", []string{"0.0.0.0:443", "[::]:443"}, true}), "", "FW106 443/tcp"},
		{"cloudify, an open Prometheus", "cloudify-manager", instead("9090", actor{"prometheus", "root", []string{"[::]:9090"}, false}), "", "FW104 9090/tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newExample(t, c.example)
			hosts := slices.Clone(exampleHosts[c.example])
			if c.change != nil {
				hosts = c.change(hosts)
			}
			for _, s := range hosts {
				e.play(s)
			}
			if c.sh != "" {
				e.sh(c.sh)
			}
			if got := e.found(); got != c.want {
				t.Errorf("found %q, want %q\n%s", got, c.want, e.said)
			}
		})
	}
}

// exampleBox is a box with the interfaces of an example's host and its policy applied.
type exampleBox struct {
	*box
	said string // by the audit
}

func newExample(t *testing.T, name string) *exampleBox {
	t.Helper()
	b := &exampleBox{box: bare(t, boxBackend{"nftables", "true", "true", "true"})}
	data, err := fs.ReadFile(policies.Examples(), name+".host.json")
	if err != nil {
		t.Fatal(err)
	}
	h := rules.Host{}
	if err := json.Unmarshal(data, &h); err != nil {
		t.Fatal(err)
	}
	// The other ends of its cables are where a process of another network waits.
	far := b.elsewhere()
	// Programs without privileges wait on low ports.
	b.sh("sysctl -q -w net.ipv4.ip_unprivileged_port_start=0")
	for _, i := range h.Interfaces {
		if i.Loopback {
			continue
		}
		b.sh(fmt.Sprintf("ip link add %[1]s type veth peer name %[1]s netns %[2]d; ip link set %[1]s up", i.Name, far))
		for _, a := range i.Addrs {
			b.sh(fmt.Sprintf("ip address replace %s dev %s nodad", a, i.Name))
		}
	}
	text, err := fs.ReadFile(policies.Examples(), name+".toml")
	if err != nil {
		t.Fatal(err)
	}
	b.passwd = b.write("passwd", exampleUsers)
	b.want(0, "apply", "--no-confirm", "--backend", "nftables", b.write(name+".toml", string(text)))
	return b
}

// elsewhere is a process in a network namespace of its own, which ends with the test.
func (b *exampleBox) elsewhere() (pid int) {
	b.Helper()
	c := exec.Command("cat")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	return c.Process.Pid
}

// play starts a stand-in, which ends with the test.
func (b *exampleBox) play(s actor) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	// A process is named by the file that was executed.
	path := filepath.Join(b.TempDir(), s.Process)
	if err := os.Symlink(self, path); err != nil {
		b.Fatal(err)
	}
	told, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	c := exec.Command(path)
	c.Args = []string{"actor", string(told)}
	c.Stderr = os.Stderr
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	if err := b.in(c.Start); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	if word, _ := bufio.NewReader(out).ReadString('\n'); word != "waits\n" {
		b.Fatalf("%v does not wait", s)
	}
}

// found runs the audit, and says what it found that counts.
func (b *exampleBox) found() string {
	b.Helper()
	status, said := b.run("--json", "audit")
	b.said = said
	var r struct {
		Findings []struct{ Code, Severity, Door, Section, Summary string }
		Notes    []string
	}
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		b.Fatalf("%v\n%s", err, said)
	}
	var out []string
	for _, f := range r.Findings {
		if f.Severity == "note" {
			continue
		}
		door := f.Door
		if door == "" { // what dangles is behind no door
			door, _, _ = strings.Cut(strings.TrimPrefix(f.Summary, f.Section+" opens "), ",")
		}
		if text := f.Code + " " + door; !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	// Beside this test there may be processes that root may not look into, in containers.
	r.Notes = slices.DeleteFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "the descriptors of ") })
	if len(r.Notes) > 0 {
		b.Errorf("not all could be told: %q", r.Notes)
	}
	if good := status == 0 || status == 3; good != (len(out) == 0) {
		b.Errorf("exit status %d with %q", status, out)
	}
	return strings.Join(out, ", ")
}
