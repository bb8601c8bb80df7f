package apply

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// Bundle is all that a policy means, without the host it was written on: its
// files, the facts it was resolved with and where it stands. It is a zip archive
// on disk, so that it can be looked into without fwctl.
type Bundle struct {
	Manifest Manifest
	Host     *rules.Host
	Sources  []rules.Source
}

// Manifest says where a Bundle comes from.
type Manifest struct {
	Policy  string    `json:"policy"`  // absolute path of the main file
	Digest  string    `json:"digest"`  // of all its files, see [Digest]
	Backend string    `json:"backend"` // that it was applied with
	Time    time.Time `json:"time"`    // when it was confirmed
	User    string    `json:"user"`    // who confirmed it
	FWCTL   string    `json:"fwctl"`   // version of the program
	Keeps   bool      `json:"keeps"`   // it names services to keep
}

// Digest is the identity of a policy as written: SHA-256 over the path and
// content of every file that it is made of, built-in profiles included.
func Digest(sources []rules.Source) string {
	h := sha256.New()
	sorted := slices.Clone(sources)
	slices.SortFunc(sorted, func(a, b rules.Source) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
	for _, s := range sorted {
		fmt.Fprintf(h, "%s %q %d\n", s.Kind, s.Path, len(s.Data))
		h.Write(s.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// The names in the archive.
const (
	manifestName = "manifest.json"
	hostName     = "host.json"
	filesDir     = "files"    // the root directory
	profilesDir  = "profiles" // the built-in profiles
)

// encode writes the archive.
func (b *Bundle) encode() ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestSpeed)
	})
	add := func(name string, data []byte) error {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o600) // rules.Load refuses files that others may write
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(data)
		}
		return err
	}
	for name, value := range map[string]any{manifestName: b.Manifest, hostName: b.Host} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return nil, err
		}
		if err := add(name, text); err != nil {
			return nil, err
		}
	}
	for _, s := range b.Sources {
		if err := add(archiveName(s), s.Data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

func archiveName(s rules.Source) string {
	if s.Kind == rules.BuiltinSource {
		return profilesDir + "/" + s.Path
	}
	return filesDir + "/" + s.Path
}

// stored is a bundle as read back: its files are a file system.
type stored struct {
	Manifest Manifest
	Host     *rules.Host
	files    fs.FS
	profiles fs.FS
	policy   *rules.Policy // what meaning found, perhaps a million addresses: once
	meant    *rules.Ruleset
}

func decodeBundle(path string, payload []byte) (*stored, error) {
	r, err := zip.NewReader(bytes.NewReader(payload), int64(len(payload)))
	if err != nil {
		return nil, &DamagedError{path, err.Error()}
	}
	b := &stored{}
	if err := readJSON(r, manifestName, &b.Manifest); err != nil {
		return nil, &DamagedError{path, err.Error()}
	}
	if err := readJSON(r, hostName, &b.Host); err != nil {
		return nil, &DamagedError{path, err.Error()}
	}
	if b.files, err = fs.Sub(r, filesDir); err != nil {
		return nil, err
	}
	b.profiles, err = fs.Sub(r, profilesDir)
	return b, err
}

func readJSON(r *zip.Reader, name string, into any) error {
	text, err := fs.ReadFile(r, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// bundle reads the bundle in one of the store's files.
func (s *Store) bundle(name string) (*stored, error) {
	payload, err := s.read(name)
	if err != nil {
		return nil, err
	}
	return decodeBundle(s.path(name), payload)
}

// load is how its files are read.
func (b *stored) load() rules.LoadOptions {
	return rules.LoadOptions{Profiles: b.profiles, Display: func(path string) string { return "/" + path }}
}

// meaning is a stored policy and the ruleset that it had with the stored facts.
func (b *stored) meaning() (*rules.Policy, *rules.Ruleset, error) {
	if b.meant != nil {
		return b.policy, b.meant, nil
	}
	p, ps := rules.Load(b.files, strings.TrimPrefix(b.Manifest.Policy, "/"), b.load())
	if err := ps.Err(); err != nil {
		return nil, nil, err
	}
	rs, ps := rules.Resolve(p, b.Host)
	if err := ps.Err(); err != nil {
		return p, nil, err
	}
	b.policy, b.meant = p, rs
	return p, rs, nil
}

// ruleset is the ruleset alone.
func (b *stored) ruleset() (*rules.Ruleset, error) {
	_, rs, err := b.meaning()
	return rs, err
}
