package apply

import (
	"os"
	"os/user"
	"strconv"
	"time"
)

// Who names the person behind this process: "alice (sudo)" where sudo(8) or
// doas(1) says so, else the user it runs as.
func Who() string {
	for _, v := range []struct{ variable, by string }{{"SUDO_USER", "sudo"}, {"DOAS_USER", "doas"}} {
		if name := os.Getenv(v.variable); name != "" {
			return name + " (" + v.by + ")"
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// now is the time of the host's clock, or the last that the store has seen if
// the clock stands before it: a clock without a battery must not bring expired
// services back.
func (s *Store) now() time.Time {
	now := time.Now()
	payload, err := s.read(clockFile)
	if err != nil {
		return now
	}
	if last, err := time.Parse(time.RFC3339, string(payload)); err == nil && now.Before(last) {
		return last
	}
	return now
}

// tick remembers the time.
func (s *Store) tick(t time.Time) error {
	return s.write(clockFile, []byte(t.UTC().Format(time.RFC3339)))
}
