package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// inWords is a listener and who has it open, in a line.
func inWords(ls []Listener) []string {
	var out []string
	for _, l := range ls {
		s := fmt.Sprintf("%s by %s", l, l.User)
		if l.V6Only {
			s += ", IPv6 alone"
		}
		for _, o := range l.Owners {
			s += fmt.Sprintf(", %s[%d]", o.Process, o.PID)
		}
		out = append(out, s)
	}
	return out
}

// What the programs of each system print of sockets, in the form of their manuals.
func TestListingsOfOtherSystems(t *testing.T) {
	for _, c := range []struct {
		name string
		read func(string) []Listener
		text string
		want []string
	}{
		{"fstat", parseFstat, `
USER     CMD          PID   FD MOUNT        INUM  MODE         R/W    SZ|DV
root     sshd       70215 text /usr        52010  -r-xr-xr-x     r   440072
root     sshd       70215    3* internet stream tcp 0x0 *:22
root     sshd       70215    4* internet6 stream tcp 0x0 *:22
root     sshd       88111    4* internet stream tcp 0x0 192.0.2.10:22 <-- 203.0.113.9:51234
root     sshd       70215    5* unix stream 0xfffffd8009bbd2a8
www      httpd      11223    3* internet stream tcp 0x0 192.0.2.10:80
www      httpd      11224    3* internet stream tcp 0x0 192.0.2.10:80
_nsd     nsd         4411    5* internet6 dgram udp [::1]:53
_ntp     ntpd       37410    6* internet dgram udp 192.0.2.10:32943 --> 162.159.200.1:123
root     ospfd       1205    7* internet raw ospf
_syslogd syslogd    39111    4* internet dgram udp *:514
`, []string{
			"0.0.0.0:22/tcp by root, sshd[70215]", "[::]:22/tcp by root, IPv6 alone, sshd[70215]",
			"192.0.2.10:80/tcp by www, httpd[11223], httpd[11224]", "[::1]:53/udp by _nsd, IPv6 alone, nsd[4411]",
			"0.0.0.0:514/udp by _syslogd, syslogd[39111]",
		}},
		{"sockstat", parseSockstat, `
USER     COMMAND    PID   FD  PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      
root     sshd       1234  3   tcp6   *:22                  *:*
root     sshd       1234  4   tcp4   *:22                  *:*
www      nginx      2001  6   tcp46  *:80                  *:*
postgres postgres   1500  7   tcp6   ::1:5432              *:*
postgres postgres   1500  8   tcp4   127.0.0.1:5432        *:*
root     ntpd       900   20  udp6   fe80::1%lo0:123       *:*
?        ?          ?     ?   tcp4   *:2049                *:*
root     dhclient   700   5   udp4   192.0.2.10:68         192.0.2.1:67
`, []string{
			"[::]:22/tcp by root, IPv6 alone, sshd[1234]", "0.0.0.0:22/tcp by root, sshd[1234]",
			"[::]:80/tcp by www, nginx[2001]", "[::1]:5432/tcp by postgres, IPv6 alone, postgres[1500]",
			"127.0.0.1:5432/tcp by postgres, postgres[1500]", "[fe80::1]:123/udp by root, IPv6 alone, ntpd[900]",
			"0.0.0.0:2049/tcp by ",
		}},
		{"lsof", parseLsof, strings.Join([]string{
			"p1", "claunchd", "Lroot", "f7", "tIPv6", "PTCP", "n*:22", "f8", "tIPv4", "PTCP", "n*:22",
			"p512", "ccupsd", "Lroot", "f5", "tIPv6", "PTCP", "n[::1]:631",
			"p601", "crapportd", "Lalice", "f9", "tIPv4", "PUDP", "n*:*", "f10", "tIPv4", "PUDP", "n192.0.2.10:50000->192.0.2.1:53", "f11", "tIPv4", "PUDP", "n*:5353", "",
		}, "\n"), []string{
			"[::]:22/tcp by root, launchd[1]", "0.0.0.0:22/tcp by root, launchd[1]", "[::1]:631/tcp by root, cupsd[512]",
			"0.0.0.0:5353/udp by alice, rapportd[601]",
		}},
	} {
		if got := inWords(c.read(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q\nwant %q", c.name, got, c.want)
		}
	}
}

// Whatever is printed, nothing falls over.
func FuzzListings(f *testing.F) {
	f.Add("root sshd 1 3* internet stream tcp 0x0 *:22")
	f.Add("root sshd 1 3 tcp6 *:22 *:*\np1\nn\nn:\nPTCP\nn*:1")
	f.Fuzz(func(_ *testing.T, text string) {
		parseFstat(text)
		parseSockstat(text)
		parseLsof(text)
	})
}
