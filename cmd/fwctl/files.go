package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// source is where a policy is: a path below the root directory, so that absolute
// paths in it mean what they say.
type source struct {
	files fs.FS
	name  string // slash path in files
	load  rules.LoadOptions
}

// stdinName is the file, beside which relative paths start, that stands for
// standard input.
const stdinName = "-"

// open finds a policy by what was written on the command line.
func (g *global) open(arg string) (source, error) {
	dir, err := os.Getwd()
	if err != nil {
		return source{}, fmt.Errorf("read working directory: %w", err)
	}
	abs := arg
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(dir, arg)
	}
	s := source{files: os.DirFS("/"), name: strings.TrimPrefix(filepath.ToSlash(filepath.Clean(abs)), "/")}
	s.load = rules.LoadOptions{Profiles: policies.Profiles(), Trust: live.Trust, Display: displayer(arg, dir)}
	if arg != stdinName {
		return s, nil
	}
	text, err := io.ReadAll(g.ui.in)
	if err != nil {
		return source{}, fmt.Errorf("read standard input: %w", err)
	}
	s.files = overlay{s.files, s.name, text}
	below := s.load.Display
	s.load.Display = func(path string) string {
		if path == s.name {
			return "standard input"
		}
		return below(path)
	}
	s.load.Trust = func(path string, info fs.FileInfo) error {
		if path == s.name {
			return nil
		}
		return live.Trust(path, info)
	}
	return s, nil
}

// displayer shows files as a person named them: relative to the working
// directory if the policy was given so, else absolute.
func displayer(arg, dir string) func(string) string {
	return func(path string) string {
		abs := "/" + path
		if filepath.IsAbs(arg) {
			return abs
		}
		rel, err := filepath.Rel(dir, abs)
		if err != nil || strings.HasPrefix(rel, "..") && !strings.HasPrefix(arg, "..") {
			return abs
		}
		return rel
	}
}

// overlay is a file system with one more file.
type overlay struct {
	fs.FS
	name string
	text []byte
}

// Open opens the one file or one of those below.
func (o overlay) Open(name string) (fs.File, error) {
	if name == o.name {
		return &memoryFile{bytes.NewReader(o.text), int64(len(o.text))}, nil
	}
	return o.FS.Open(name)
}

type memoryFile struct {
	*bytes.Reader
	size int64
}

// Close has nothing to close.
func (*memoryFile) Close() error { return nil }

// Stat describes the file.
func (f *memoryFile) Stat() (fs.FileInfo, error) { return memoryInfo(f.size), nil }

type memoryInfo int64

// Name is that of standard input.
func (memoryInfo) Name() string { return stdinName }

// Size is the length of the text in bytes.
func (i memoryInfo) Size() int64 { return int64(i) }

// Mode is that of a regular file which only its owner reads.
func (memoryInfo) Mode() fs.FileMode { return 0o400 }

// ModTime is not known.
func (memoryInfo) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (memoryInfo) IsDir() bool { return false }

// Sys is nil.
func (memoryInfo) Sys() any { return nil }

// readHost reads the facts that --host names; nil if it was not given.
func readHost(path string) (*rules.Host, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read facts: %w", err)
	}
	var h rules.Host
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("read facts: %s: %w", path, err)
	}
	return &h, nil
}

// understood is a policy and what it means.
type understood struct {
	policy   *rules.Policy
	ruleset  *rules.Ruleset // nil if there is a problem of severity Error
	problems rules.Problems // of loading and resolving
}

// understand loads and resolves a policy for the commands that need no host. All
// problems of both steps come together.
func (g *global) understand(arg, hostFile string) (understood, error) {
	s, err := g.open(arg)
	if err != nil {
		return understood{}, err
	}
	h, err := readHost(hostFile)
	if err != nil {
		return understood{}, err
	}
	defer g.ui.working("reading " + arg)()
	p, ps := rules.Load(s.files, s.name, s.load)
	rs, more := rules.Resolve(p, h)
	ps = append(ps, more...)
	ps.Sort()
	return understood{p, rs, ps}, nil
}

// meaning is the ruleset of a policy that can be used, a policyError otherwise.
func (g *global) meaning(arg, hostFile string) (*rules.Ruleset, error) {
	u, err := g.understand(arg, hostFile)
	if err != nil {
		return nil, err
	}
	if u.problems.Err() != nil {
		return nil, &policyError{u.problems}
	}
	return u.ruleset, nil
}
