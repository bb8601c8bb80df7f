package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of the state directory. Each begins with a header that holds its
// checksum, and each is replaced whole.
const (
	confirmedFile = "confirmed" // the bundle that boot loads
	previousFile  = "previous"  // the one before it
	keepFile      = "keep"      // a policy of the kept services alone, for the day when neither can be read
	pendingFile   = "pending"   // a change of the kernel that nobody has confirmed
	offFile       = "off"       // who switched fwctl off and when; boot then loads nothing
	clockFile     = "clock"     // the last time that was seen: it never runs backwards over a boot
	historyFile   = "history"
	answersFile   = "answers" // when names and feeds were last read with success
)

// Store is the state directory.
type Store struct{ dir string }

// NewStore returns the store in the directory, which need not exist yet.
func NewStore(dir string) *Store { return &Store{dir} }

// DamagedError says that a file of the store cannot be trusted.
type DamagedError struct {
	Path string
	Why  string
}

// Error says which file and why.
func (e *DamagedError) Error() string { return e.Path + " is damaged: " + e.Why }

// magic begins every file; the number is the version of its form.
const magic = "fwctl-state 1 sha256:"

// seal puts the header before the payload.
func seal(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return append([]byte(magic+hex.EncodeToString(sum[:])+"\n"), payload...)
}

// unseal checks the header and returns the payload.
func unseal(path string, data []byte) ([]byte, error) {
	header, payload, found := bytes.Cut(data, []byte("\n"))
	want, ok := bytes.CutPrefix(header, []byte(magic))
	if !found || !ok {
		return nil, &DamagedError{path, "it does not begin with " + magic[:len(magic)-len(" sha256:")]}
	}
	sum := sha256.Sum256(payload)
	if hex.EncodeToString(sum[:]) != string(want) {
		return nil, &DamagedError{path, "its checksum does not match"}
	}
	return payload, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// read returns the payload of a file. The error is fs.ErrNotExist where there is
// none, a *DamagedError where its checksum does not match.
func (s *Store) read(name string) ([]byte, error) {
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		return nil, err
	}
	return unseal(s.path(name), data)
}

// header returns the first line of a file, which names its content by checksum;
// "" if there is none.
func (s *Store) header(name string) string {
	f, err := os.Open(s.path(name))
	if err != nil {
		return ""
	}
	defer closeFile(f)
	buf := make([]byte, len(magic)+2*sha256.Size)
	if n, _ := f.Read(buf); n != len(buf) {
		return ""
	}
	return string(buf)
}

// create makes the directory, for root and its group alone: the state tells who
// may reach what.
func (s *Store) create() error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return nil
}

// staged is a file of the store that is on disk in full, but not in force yet.
type staged struct {
	Tmp  string `json:"tmp"`  // its name until then
	Name string `json:"name"` // and from then on
}

// stage writes a file beside the one it will replace and waits until the disk
// has it, so that putting it in force needs no more room.
func (s *Store) stage(name string, payload []byte) (staged, error) {
	f, err := os.CreateTemp(s.dir, "."+name+"-*")
	if err != nil {
		return staged{}, fmt.Errorf("write state: %w", err)
	}
	st := staged{Tmp: filepath.Base(f.Name()), Name: name}
	_, werr := f.Write(seal(payload))
	if err := errors.Join(werr, f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		s.discard(st)
		return staged{}, fmt.Errorf("write state: %w", err)
	}
	return st, nil
}

// discard removes what was staged and never put in force.
func (s *Store) discard(st staged) { _ = os.Remove(s.path(st.Tmp)) }

// commit puts the file in force.
func (s *Store) commit(st staged) error { return os.Rename(s.path(st.Tmp), s.path(st.Name)) }

// sweep removes what was staged by processes that ended before they could decide.
// The caller has the lock, and no change is pending.
func (s *Store) sweep() {
	for _, name := range []string{confirmedFile, previousFile, keepFile, pendingFile, historyFile, clockFile, offFile, answersFile, oldPrefix} {
		left, _ := filepath.Glob(s.path("." + name + "-*"))
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

// write stages a file and puts it in force.
func (s *Store) write(name string, payload []byte) error {
	st, err := s.stage(name, payload)
	if err != nil {
		return err
	}
	if err := s.commit(st); err != nil {
		s.discard(st)
		return fmt.Errorf("write state: %w", err)
	}
	return s.sync()
}

// sync waits until the disk has the directory, and with it all renames.
func (s *Store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("sync state directory: %w", err)
	}
	defer closeFile(d)
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync state directory: %w", err)
	}
	return nil
}

// keepPrevious makes the confirmed file the previous one without a moment in
// which there is no confirmed one.
func (s *Store) keepPrevious() error {
	tmp := s.path("." + previousFile + "-link")
	_ = os.Remove(tmp)
	err := os.Link(s.path(confirmedFile), tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, s.path(previousFile))
}

// remove removes a file; that it is not there is no error.
func (s *Store) remove(name string) error {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("change state: %w", err)
	}
	return nil
}

// empty reports whether the store has neither a confirmed nor a previous bundle
// nor a kept set: nothing was ever confirmed.
func (s *Store) empty() bool {
	for _, name := range []string{confirmedFile, previousFile, keepFile} {
		if _, err := os.Lstat(s.path(name)); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}
