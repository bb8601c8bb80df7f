package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"

	"github.com/fwctl/fwctl/rules"
)

// inputs is what a policy was made of, in a form that is checked without reading
// the policy: an apply that changes nothing is the commonest one.
type inputs struct {
	Policy string            `json:"policy"`
	Files  map[string]string `json:"files"` // path to SHA-256
	Globs  []glob            `json:"globs"` // of include
	Names  []string          `json:"names"` // DNS names
	Facts  string            `json:"facts"` // SHA-256 of the host's facts without the time
}

type glob struct {
	Pattern string   `json:"pattern"`
	Paths   []string `json:"paths"`
}

func inputsOf(p *rules.Policy, h *rules.Host, fsys fs.FS) inputs {
	in := inputs{Policy: p.Path, Files: map[string]string{}, Names: p.Names(), Facts: factsDigest(h)}
	for _, s := range p.Sources {
		if s.Kind != rules.BuiltinSource { // the program's own; see record.Program
			in.Files[s.Path] = sum(s.Data)
		}
	}
	for _, pattern := range p.Includes {
		paths, _ := fs.Glob(fsys, pattern.V)
		in.Globs = append(in.Globs, glob{pattern.V, paths})
	}
	return in
}

// same reports whether a policy that is read now would be made of the same.
func (in inputs) same(fsys fs.FS, h *rules.Host) bool {
	if in.Facts != factsDigest(h) {
		return false
	}
	for _, g := range in.Globs {
		if paths, err := fs.Glob(fsys, g.Pattern); err != nil || !slices.Equal(paths, g.Paths) {
			return false
		}
	}
	for path, want := range in.Files {
		if data, err := fs.ReadFile(fsys, path); err != nil || sum(data) != want {
			return false
		}
	}
	return len(in.Files) > 0
}

// factsDigest is the identity of the facts that a ruleset may depend on: all but
// the time at which they were taken.
func factsDigest(h *rules.Host) string {
	text, err := json.Marshal(struct {
		Interfaces []rules.Interface
		Names      any
		Zone, OS   string
	}{h.Interfaces, h.Names, h.TimeZone, h.OS})
	if err != nil {
		return ""
	}
	return sum(text)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
