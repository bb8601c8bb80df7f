package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Entry is one change in the history of the host.
type Entry struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	Action  string    `json:"action"` // "apply", "off"
	Policy  string    `json:"policy,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Backend string    `json:"backend,omitempty"`
	Changes int       `json:"changes"` // objects of the kernel that were changed
}

// historyLength is how many entries are kept.
const historyLength = 200

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
