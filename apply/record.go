package apply

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
)

// record is what the last apply or boot left in the run directory: enough to say
// of the next one that nothing changed. It is a hint and no state; without it
// the next apply reads the policy and the kernel.
type record struct {
	Namespace  string `json:"namespace"`
	Generation uint32 `json:"generation"` // of nftables, right after our change
	Backend    string `json:"backend"`
	State      string `json:"state"`   // header of the confirmed bundle
	Program    string `json:"program"` // identity of the executable: another one may render otherwise
	Digest     string `json:"digest"`
	Inputs     inputs `json:"inputs"`
}

const recordFile = "applied.json"

func readRecord(runDir string) (record, bool) {
	text, err := os.ReadFile(filepath.Join(runDir, recordFile))
	var r record
	return r, err == nil && json.Unmarshal(text, &r) == nil
}

// write leaves the record; that it cannot is no error, see record.
func (r record) write(runDir string) {
	text, err := json.Marshal(r)
	if err != nil {
		return
	}
	tmp := filepath.Join(runDir, "."+recordFile)
	if os.WriteFile(tmp, text, 0o600) == nil {
		_ = os.Rename(tmp, filepath.Join(runDir, recordFile))
	}
}

func forgetRecord(runDir string) { _ = os.Remove(filepath.Join(runDir, recordFile)) }

// stands reports whether the kernel is known to have the confirmed policy, without
// reading its rules.
func stands(ctx context.Context, runDir string, s *Store) bool {
	r, ok := readRecord(runDir)
	return ok && r.holds(ctx, s)
}

// holds reports whether the kernel and the state still are what the record says.
func (r record) holds(ctx context.Context, s *Store) bool {
	if r.Backend != NFTables || r.Namespace == "" || r.Namespace != namespace() ||
		r.State == "" || r.State != s.header(confirmedFile) || r.Program != executable() {
		return false
	}
	gen, err := generation(ctx)
	if err != nil || gen != r.Generation {
		return false
	}
	b, err := open(ctx, NFTables)
	if err != nil {
		return false
	}
	// A namespace that is gone may have lent its number to this one.
	there, err := b.Present(ctx)
	return err == nil && there
}

// executable identifies the running program file.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	text, _ := json.Marshal(struct {
		Path string
		Size int64
		Time int64
	}{path, fi.Size(), fi.ModTime().UnixNano()})
	return string(text)
}

// leave writes the record of a change, or removes the old one where the next
// apply has to look for itself.
func leave(runDir string, s *Store, m Manifest, gen uint32, in inputs) {
	if m.Backend != NFTables || gen == 0 {
		forgetRecord(runDir)
		return
	}
	record{
		Namespace:  namespace(),
		Generation: gen,
		Backend:    m.Backend,
		State:      s.header(confirmedFile),
		Program:    executable(),
		Digest:     m.Digest,
		Inputs:     in,
	}.write(runDir)
}
