package live

import (
	"os"
	"strings"
	"time"
)

// Zone returns the IANA name of the host's time zone and the zone itself: from
// TZ, else from where /etc/localtime points, else from /etc/timezone, as
// localtime(5) and tzset(3) have it. What cannot be named is UTC.
func Zone() (string, *time.Location) {
	tz, set := os.LookupEnv("TZ")
	if set && tz == "" { // tzset(3): set but empty is UTC
		return "UTC", time.UTC
	}
	target, _ := os.Readlink("/etc/localtime")
	file, _ := os.ReadFile("/etc/timezone")
	for _, candidate := range []string{strings.TrimPrefix(tz, ":"), target, string(file)} {
		name := zoneName(candidate)
		if name == "" || name == "Local" {
			continue
		}
		if loc, err := time.LoadLocation(name); err == nil {
			return name, loc
		}
	}
	return "UTC", time.UTC
}

// zoneName cuts the zone's name out of a path below a zoneinfo directory.
func zoneName(s string) string {
	s = strings.TrimSpace(s)
	if _, after, found := strings.Cut(s, "zoneinfo/"); found {
		s = after
	}
	s = strings.TrimPrefix(strings.TrimPrefix(s, "posix/"), "right/")
	if strings.HasPrefix(s, "/") || strings.Contains(s, "..") {
		return ""
	}
	return s
}
