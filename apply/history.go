package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is one change in the history of the host.
type Entry struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	Action  string    `json:"action"` // "apply", "rollback", "refresh", "rolled back", "off"
	Policy  string    `json:"policy,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Backend string    `json:"backend,omitempty"`
	Changes int       `json:"changes"` // objects of the kernel that were changed
	// Confirmed is who confirmed it, where that was another than who applied it.
	Confirmed string `json:"confirmed,omitempty"`
	// Number is that of the policy's file, zero if none was kept.
	Number int `json:"number,omitempty"`
	// Back is the number for rollback: how many policies were confirmed since; nil
	// where there is nothing to go back to.
	Back *int `json:"back,omitempty"`
}

// historyLength is how many entries are kept, oldLength how many policies.
const (
	historyLength = 200
	oldLength     = 20
)

// keepOld keeps the confirmed policy under the next number, and forgets the oldest
// beyond oldLength.
func (s *Store) keepOld() (number int, err error) {
	numbers := s.oldNumbers()
	number = 1
	if len(numbers) > 0 {
		number = numbers[0] + 1
	}
	if err := os.Link(s.path(confirmedFile), s.path(oldName(number))); err != nil {
		return 0, fmt.Errorf("keep the policy for rollback: %w", err)
	}
	for _, n := range numbers[min(len(numbers), oldLength-1):] {
		_ = os.Remove(s.path(oldName(n)))
	}
	return number, nil
}

// oldPrefix begins the names of the policies that were kept.
const oldPrefix = "policy"

func oldName(number int) string { return fmt.Sprintf("%s-%d", oldPrefix, number) }

// oldNumbers are those of the policies that were kept, the newest first.
func (s *Store) oldNumbers() []int {
	paths, _ := filepath.Glob(s.path(oldPrefix + "-*"))
	var out []int
	for _, path := range paths {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), oldPrefix+"-")); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// Past returns the history with the numbers for rollback, oldest first.
func (s *Store) Past() ([]Entry, error) {
	entries, err := s.History()
	numbers := s.oldNumbers()
	for i := range entries {
		if back := slices.Index(numbers, entries[i].Number); back >= 0 {
			entries[i].Back = &back
		}
	}
	return entries, err
}

// old returns the policy that was confirmed so many confirmations ago.
func (s *Store) old(back int) (*stored, error) {
	numbers := s.oldNumbers()
	if back < 0 || back >= len(numbers) {
		return nil, fmt.Errorf("there is no policy %d to go back to: %d are kept, number 0 is the confirmed one", back, len(numbers))
	}
	return s.bundle(oldName(numbers[back]))
}

// History returns the changes, oldest first. What cannot be read any more is an
// error, beside which there are no entries.
func (s *Store) History() ([]Entry, error) {
	payload, err := s.read(historyFile)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for line := range bytes.Lines(payload) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, &DamagedError{s.path(historyFile), err.Error()}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// record adds an entry and forgets the oldest beyond historyLength. A history
// that cannot be read any more begins anew.
func (s *Store) record(e Entry) error {
	entries, _ := s.History()
	entries = append(entries, e)
	entries = entries[max(0, len(entries)-historyLength):]
	var buf bytes.Buffer
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write history: %w", err)
		}
		buf.Write(append(line, '\n'))
	}
	return s.write(historyFile, buf.Bytes())
}
