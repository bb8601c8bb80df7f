package live

import (
	"maps"

	"github.com/coreos/go-systemd/v22/journal"
)

// Event is something that the host's journal keeps.
type Event struct {
	ID       string            // 128 bits in hexadecimal, one for each kind of event: MESSAGE_ID
	Priority journal.Priority  // as in syslog(3): PriNotice, PriWarning, …
	Message  string            // for people
	Fields   map[string]string // for programs; names as in systemd.journal-fields(7)
}

// Tell sends an event to the systemd journal, where there is one, or on a BSD its
// message to syslogd(8). That it cannot is no error: what happened is in the state, too.
func Tell(e Event) {
	if !journal.Enabled() {
		toSyslog(e)
		return
	}
	fields := map[string]string{"MESSAGE_ID": e.ID, "SYSLOG_IDENTIFIER": "fwctl"}
	maps.Copy(fields, e.Fields)
	_ = journal.Send(e.Message, e.Priority, fields)
}
