package live

import (
	"log/syslog"
	"runtime"
)

// toSyslog tells syslogd(8) of an event where there is no journal; on Linux without one
// nothing is told.
func toSyslog(e Event) {
	if runtime.GOOS == "linux" {
		return
	}
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.Priority(e.Priority), "fwctl")
	if err != nil {
		return
	}
	_, _ = w.Write([]byte(e.Message))
	_ = w.Close()
}
