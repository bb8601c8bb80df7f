package live

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a server says, what is told of it is short and steers no terminal.
func FuzzSaid(f *testing.F) {
	for _, s := range []string{
		"SSH-2.0-x\r\n", "a\nSSH-1\n", "AMQP\x00\x00\x09\x01", "\x05\x00\x00\x00\x0a8\x00\x00\x00", "\x04\x00\x00\x00\xff\x10\x04x",
		"HTTP/1.1 200 OK\r\nServer: \x1b[2J\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x28", "\x16\x03\x03\x00\x40\x02", "\n", "\xff\xfd\x18",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		_ = serverHello(said)
		_ = greeted(said)
		a, g := answered(said), greeting(said)
		if a.Answer == "" || a.Answer != g.Greeting || a.Protocol != g.Protocol {
			t.Errorf("%q: %v and %v", said, a, g)
		}
		for _, text := range []string{a.Answer, a.Server, alert(said)} {
			if utf8.RuneCountInString(text) > textLength || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
				t.Errorf("%q: %q", said, text)
			}
		}
	})
}
