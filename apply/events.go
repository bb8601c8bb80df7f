package apply

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/fwctl/fwctl/live"
)

// The events of the journal: journalctl MESSAGE_ID=… finds them. They never change.
const (
	AppliedID    = "ba76b55e4a634bfd953725f70d96353e" // the kernel was changed
	ConfirmedID  = "7843ebc39cf34945bb4fd87b92a4cb8a" // and that is to stay
	RolledBackID = "899a2742e57a4281bd51f7b96e96cd71" // it was taken back
	RefusedID    = "218b6a9e6663444eb4e98fd0c5ab0db8" // nothing was changed
)

// tell writes an event about a change.
func (p *Pending) tell(id string, priority journal.Priority, format string, args ...any) {
	fields := map[string]string{
		"FWCTL_ACTION": p.Action, "FWCTL_POLICY": p.Policy, "FWCTL_DIGEST": p.Digest, "FWCTL_BACKEND": p.Backend, "FWCTL_USER": p.User,
		"FWCTL_TOKEN": p.Token, "FWCTL_CHANGES": strconv.Itoa(p.Changes),
	}
	if !p.Until.IsZero() {
		fields["FWCTL_UNTIL"] = p.Until.UTC().Format(time.RFC3339)
	}
	live.Tell(live.Event{ID: id, Priority: priority, Message: fmt.Sprintf(format, args...), Fields: fields})
}

// tellApplied says that the kernel was changed, and by whom.
func (p *Pending) tellApplied() {
	did := "applied"
	if p.Action == refreshing {
		did = "refreshed"
	}
	text := fmt.Sprintf("%s %s (%.12s) by %s, %d changes to %s", did, p.Policy, p.Digest, p.User, p.Changes, p.Backend)
	if !p.Until.IsZero() {
		text += ", to be confirmed until " + p.Until.Local().Format(time.TimeOnly)
	}
	p.tell(AppliedID, journal.PriNotice, "%s", text)
}

// tellConfirmed says that a change is to stay.
func (p *Pending) tellConfirmed(by string) {
	p.tell(ConfirmedID, journal.PriNotice, "confirmed %s (%.12s) by %s", p.Policy, p.Digest, by)
}

// tellBack says that a change was taken back, and why.
func (p *Pending) tellBack(why string) {
	p.tell(RolledBackID, journal.PriWarning, "rolled back %s (%.12s), applied by %s: %s", p.Policy, p.Digest, p.User, why)
}

// refused says that a policy was not applied.
func (c *change) refused(err error) {
	var held *HeldError
	var back *RolledBackError
	var stuck *StuckError
	if errors.As(err, &held) || errors.As(err, &back) || errors.As(err, &stuck) {
		return // they are told of otherwise
	}
	p := &Pending{Action: c.action, Policy: "/" + c.Policy, User: Who(), Backend: c.Backend}
	if c.out != nil {
		p.Digest = c.out.Digest
	}
	p.tell(RefusedID, journal.PriWarning, "refused /%s, by %s: %v", c.Policy, p.User, err)
}
