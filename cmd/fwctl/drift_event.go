package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/live"
)

// The events of the journal that tell of drift from the confirmed policy. They
// never change.
const (
	driftFoundID   = "72970ee9d00e46b4b4ef1a5be671912e" // the host does not do what the policy says, or in another way than before
	driftClearedID = "b6b7ddf2debc46a4841e0411ae8f4249" // that is over
)

// driftMemory is the file in the run directory that says what the last run of drift
// has found. It is not there when that was nothing.
const driftMemory = "drift"

// tell tells the journal of a drift that was not told of yet, and of its end. Who
// cannot keep in mind what was told, does not tell: an event is one of the host, not
// of each user that asks.
func (a *drifted) tell(runDir string) {
	path := filepath.Join(runDir, driftMemory)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	found := a.found()
	switch {
	case found == string(before):
	case found == "":
		if os.Remove(path) == nil {
			live.Tell(a.cleared())
		}
	case remember(path, found) == nil:
		live.Tell(a.event())
	}
}

// found identifies what was found, "" for no drift.
func (a *drifted) found() string {
	if a.Verdict != drift.Drift {
		return ""
	}
	h := sha256.New()
	for _, f := range a.Findings {
		fmt.Fprintf(h, "%s\n%s\n%s\n", f.Kind, f.Summary, strings.Join(f.Packets, "\n"))
	}
	return a.Digest + " " + hex.EncodeToString(h.Sum(nil)) + "\n"
}

// event is that a drift was found. The packet is one that fares otherwise than the
// policy says; where rules were changed to no effect, there is none.
func (a *drifted) event() live.Event {
	fields := a.fields()
	for _, f := range a.Findings {
		if len(f.Examples) > 0 {
			fields["FWCTL_PACKET"] = f.Examples[0].Packet
			break
		}
	}
	text := fmt.Sprintf("drift from %s (%s)%s", a.Policy, short(a.Digest), a.tally())
	if len(a.Findings) > 0 {
		text += "; " + a.Findings[0].Kind.String() + " " + a.Findings[0].Summary
	}
	return live.Event{ID: driftFoundID, Priority: journal.PriWarning, Message: text, Fields: fields}
}

// cleared is that no drift is found any more.
func (a *drifted) cleared() live.Event {
	text := fmt.Sprintf("no drift any more: in sync with %s (%s)", a.Policy, short(a.Digest))
	if a.Verdict != drift.InSync {
		text = fmt.Sprintf("no drift is found any more from %s (%s), but whether it is in sync cannot be told%s", a.Policy, short(a.Digest), a.tally())
	}
	return live.Event{ID: driftClearedID, Priority: journal.PriNotice, Message: text, Fields: a.fields()}
}

func (a *drifted) fields() map[string]string {
	return map[string]string{
		"FWCTL_VERDICT": a.Verdict.String(), "FWCTL_FINDINGS": strconv.Itoa(len(a.Findings)),
		"FWCTL_POLICY": a.Policy, "FWCTL_DIGEST": a.Digest, "FWCTL_BACKEND": a.Backend,
	}
}

func remember(path, found string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), replace(path, []byte(found), 0o644))
}

// replace writes a file that a reader sees whole, the old one or the new.
func replace(path string, text []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
