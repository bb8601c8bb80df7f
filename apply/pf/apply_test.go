package pf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/pfctl"
	livepf "github.com/fwctl/fwctl/live/pf"
	render "github.com/fwctl/fwctl/render/pf"
)

// TestMain is the stand-in for pfctl where it is started by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "pfctl" {
		os.Exit(pfctl.Main())
	}
	os.Exit(m.Run())
}

// system is one that fwctl works on, and what a policy can say there.
type system struct {
	name, release string
	dialect       render.Dialect
	can           gen.PF
}

var systems = []system{
	{"openbsd", "7.7", render.OpenBSD, gen.PF{Groups: true, Routed: true, WayOut: true}},
	{"freebsd", "15.0-RELEASE", render.FreeBSD, gen.PF{SCTPPorts: true, Groups: true, Routed: true, WayOut: true}},
	{"freebsd", "14.3-RELEASE-p2", render.FreeBSDOld, gen.PF{Groups: true, Routed: true}},
	{"darwin", "24.1.0", render.MacOS, gen.PF{WayOut: true}},
}

// host is a stand-in for a host with pf.
type host struct {
	*testing.T
	*Conn
	dir string
}

func newHost(t *testing.T, sys system, main string) *host {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pfctl")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PFCTL_DIR", dir)
	c, err := Open(Options{Options: livepf.Options{System: sys.name, Release: sys.release, Path: path}, MainFile: filepath.Join(dir, "pf.conf")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Dialect != sys.dialect {
		t.Fatalf("%s %s has the dialect %v", sys.name, sys.release, c.Dialect)
	}
	h := &host{t, c, dir}
	h.main(main)
	return h
}

// main makes a text the main rules, and the file.
func (h *host) main(text string) {
	h.Helper()
	s := h.state()
	s.Dialect, s.Enabled = h.Dialect.String(), true
	if problems := s.Load("", text); problems != nil {
		h.Fatalf("%v\n%s", problems, text)
	}
	if err := s.Write(h.dir); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.mainFile, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *host) state() *pfctl.State {
	h.Helper()
	s, err := pfctl.Read(h.dir)
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// loads counts the loads of the anchor so far.
func (h *host) loads() int {
	text, _ := os.ReadFile(filepath.Join(h.dir, "calls"))
	return strings.Count("\n"+string(text), "\n-a fwctl -o none -f -\n")
}

// Whatever policy follows on another, one load makes the anchor what it says, none is
// sent again, and nothing is left when it goes.
func TestApply(t *testing.T) {
	for _, sys := range systems {
		t.Run(sys.name+" "+sys.release, func(t *testing.T) {
			h := newHost(t, sys, "pass\nanchor \"fwctl\"\n")
			r := rand.New(rand.NewPCG(gen.Seed(t), 41))
			facts := gen.Host()
			for range gen.Dose(t, "FWCTL_POLICIES", 20) / 4 {
				text := gen.ForPF(gen.Policy(r, gen.Options{}))
				rs, ps := gen.Load(text, facts)
				if ps.Err() != nil {
					t.Fatalf("%v\n%s", ps, text)
				}
				p, ps := render.Render(sys.can.Adapt(rs), render.Options{Dialect: sys.dialect, Form: render.Anchor, At: facts.Time})
				if ps.Err() != nil {
					t.Fatalf("%v\n%s", ps, text)
				}
				h.follows(p)
				if t.Failed() {
					t.Fatal(p.Text())
				}
			}
			if _, err := h.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := h.state()
			if s.Rules["fwctl"] != "" || len(s.Tables) > 0 || !strings.Contains(s.Rules[""], "anchor") {
				t.Errorf("left is %+v", s)
			}
			if there, err := h.Present(t.Context()); there || err != nil {
				t.Errorf("present: %v, %v", there, err)
			}
		})
	}
}

// follows applies a program and fails unless the anchor has it then, by one load.
func (h *host) follows(p *render.Program) {
	h.Helper()
	ctx := h.Context()
	planned, err := h.Plan(ctx, p)
	if err != nil {
		h.Fatal(err)
	}
	before := h.loads()
	r, err := h.Apply(ctx, p)
	if err != nil || len(r.Changes) != len(planned) {
		h.Fatalf("%d changes of %d planned: %v", len(r.Changes), len(planned), err)
	}
	if n := h.loads() - before; n != min(1, len(planned)) {
		h.Errorf("%d loads for %d changes", n, len(planned))
	}
	if r, err := h.Apply(ctx, p); err != nil || len(r.Changes) > 0 || h.loads() > before+1 {
		h.Errorf("the same again: %v, %v", r.Changes, err)
	}
	if there, err := h.Present(ctx); !there || err != nil {
		h.Errorf("present: %v, %v", there, err)
	}
}

// Ready refuses main rules that let fragments through in pieces, where the system does
// not put them together by itself.
func TestReadyReassembles(t *testing.T) {
	const ask = "pass all\nanchor \"fwctl\"\n"
	for _, sys := range systems {
		for _, c := range []struct {
			text  string
			ready func(render.Dialect) bool
		}{
			{ask, func(d render.Dialect) bool { return d == render.OpenBSD }},
			{"scrub in all\n" + ask, func(d render.Dialect) bool { return d != render.OpenBSD }},
			{"scrub in on em0 all\n" + ask, func(render.Dialect) bool { return false }},
			{"set reassemble yes\n" + ask, func(d render.Dialect) bool { return d == render.FreeBSD || d == render.OpenBSD }},
			{"set reassemble no\n" + ask, func(d render.Dialect) bool { return d == render.OpenBSD }},
		} {
			t.Run(sys.release+" "+strings.SplitN(c.text, "\n", 2)[0], func(t *testing.T) {
				if s := (&pfctl.State{Dialect: sys.dialect.String(), Rules: map[string]string{}}); s.Load("", c.text) != nil {
					return // not of this grammar
				}
				h := newHost(t, sys, c.text)
				_, err := h.Ready(t.Context())
				if (err == nil) != c.ready(sys.dialect) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// Tables for which there is no room are found before they are sent; pfctl -n does not
// tell.
func TestRoom(t *testing.T) {
	h := newHost(t, systems[0], "pass\nanchor \"fwctl\"\n")
	var large strings.Builder
	for i := range few + 1 {
		fmt.Fprintf(&large, "%q, ", fmt.Sprintf("198.18.%d.%d", i>>7, i<<1&0xff))
	}
	text := "version = 1\n[group.large]\naddresses = [" + large.String() + "]\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"large\"]\n"
	rs, ps := gen.Load(text, gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	p, ps := render.Render(rs, render.Options{Form: render.Anchor})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	for room, fits := range map[int]bool{5: false, 100_000: true} {
		s := h.state()
		s.Room = room
		if err := s.Write(h.dir); err != nil {
			t.Fatal(err)
		}
		before := h.loads()
		_, err := h.Apply(t.Context(), p)
		if (err == nil) != fits || !fits && (h.loads() > before || !strings.Contains(err.Error(), "set limit table-entries")) {
			t.Errorf("room for %d: %v", room, err)
		}
		if _, err := h.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// An order of rules that is another is a change, since with pf it counts.
func TestRuleChanges(t *testing.T) {
	if got := ruleChanges([]string{"a", "b"}, []string{"b", "a"}); len(got) != 1 || !strings.Contains(got[0], "order") {
		t.Errorf("%v", got)
	}
	if got := ruleChanges([]string{"a", "b", "b"}, []string{"b", "c"}); strings.Join(got, ",") != "+ a,+ b,- c" {
		t.Errorf("%v", got)
	}
}
