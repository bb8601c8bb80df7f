package live

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// textLength bounds a text of the network, in characters.
const textLength = 120

// greetings are how servers begin that speak first.
var greetings = []struct{ begins, has, protocol string }{
	{"SSH-", "", "ssh"},              // RFC 4253, 4.2
	{"220", "SMTP", "smtp"},          // RFC 5321, 4.2: no more than the number is sure, most say ESMTP
	{"220", "LMTP", "smtp"},          // RFC 2033
	{"554", "SMTP", "smtp"},          // RFC 5321, 3.1: it takes no mail
	{"220", "FTP", "ftp"},            // RFC 959, 5.4
	{"* OK", "", "imap"},             // RFC 9051, 7.1
	{"* PREAUTH", "", "imap"},        // RFC 9051, 7.1.4
	{"+OK", "", "pop3"},              // RFC 1939, 4
	{"AMQP", "", "amqp"},             // AMQP 0-9-1, 4.2.2: to any other header than its own
	{"HTTP/", "", "http"},            // RFC 9112, 4
	{"-DENIED Redis", "", "redis"},   // protected mode
	{"-ERR unknown ", "", "redis"},   // RESP, an error: the first line of a ClientHello is no command
	{"-ERR wrong n", "", "redis"},    // nor is HEAD
	{"-ERR Protocol", "", "redis"},   // nor well quoted
	{"-NOAUTH ", "", "redis"},        // a password is wanted
	{"-ERR max number", "", "redis"}, // of clients
}

// recognized is the protocol of what was said; empty: unknown.
func recognized(said []byte) string {
	first := firstLine(said)
	for _, g := range greetings {
		if bytes.HasPrefix(first, []byte(g.begins)) && bytes.Contains(bytes.ToUpper(first), []byte(g.has)) {
			return g.protocol
		}
	}
	return ""
}

// mysqlVersion reads the first packet of MySQL or MariaDB: the version of its protocol
// 10, or the error for which it takes nobody (MySQL Internals, Protocol::HandshakeV10
// and ERR_Packet); empty: it is none.
func mysqlVersion(b []byte) string {
	if len(b) < 8 || b[3] != 0 { // three bytes of length, the number of the packet
		return ""
	}
	body := b[4:]
	if n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16; n < 4 || n > lineKept {
		return ""
	} else if len(body) > n {
		body = body[:n]
	}
	switch body[0] {
	case 10:
		if version, _, ok := bytes.Cut(body[1:], []byte{0}); ok {
			return short(version)
		}
	case 0xff:
		return short(fmt.Appendf(nil, "error %d: %s", binary.LittleEndian.Uint16(body[1:]), body[3:]))
	}
	return ""
}

// firstLine is that of what was said. SSH may say something else before its version
// (RFC 4253, 4.2).
func firstLine(said []byte) []byte {
	if i := bytes.Index(said, []byte("\nSSH-")); i >= 0 {
		said = said[i+1:]
	}
	first, _, _ := bytes.Cut(said, []byte("\n"))
	return bytes.TrimSpace(first)
}

// short is the first line, printable and not long.
func short(said []byte) string { return shortText(string(firstLine(said))) }

func shortText(s string) string {
	s = printable(strings.ToValidUTF8(s, "?"))
	if utf8.RuneCountInString(s) > textLength {
		s = string([]rune(s)[:textLength-1]) + "…"
	}
	return s
}

// told is what was said as a text, with its protocol; "?" for an empty line.
func told(said []byte) (text, protocol string) {
	if v := mysqlVersion(said); v != "" {
		return v, "mysql"
	}
	if len(said) >= 8 && string(said[:4]) == "AMQP" { // the version it wants: zero, or the id, then three numbers
		return fmt.Sprintf("AMQP %d.%d.%d", said[5], said[6], said[7]), "amqp"
	}
	return orElse(short(said), "?"), recognized(said)
}

// greetOrHello hears what the server says first; if that is nothing, it is sent a
// ClientHello.
func (a *asker) greetOrHello(l *line) Spoken {
	l.hear(time.Now().Add(a.wait), greeted)
	if len(l.got) > 0 {
		return greeting(l.got)
	}
	if s := l.quiet(); s.Closed {
		return s
	}
	return a.hello(l, tls.VersionTLS13)
}

func greeting(said []byte) Spoken {
	var s Spoken
	s.Greeting, s.Protocol = told(said)
	return s
}

// greeted reports whether a greeting is complete.
func greeted(b []byte) bool { return oneLine(b) || mysqlVersion(b) != "" }

// sslRequest asks as PostgreSQL's clients do: a length of 8 and the number 80877103,
// answered by one byte (PostgreSQL, Message Formats, SSLRequest).
func sslRequest(l *line) Spoken {
	l.say([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	l.hear(l.until, func(b []byte) bool { return len(b) > 0 })
	switch {
	case string(l.got) == "S" || string(l.got) == "N":
		return Spoken{Protocol: "postgresql", Answer: string(l.got)}
	case len(l.got) > 0:
		return answered(l.got)
	}
	return l.quiet()
}

// head asks for the header of a page, which is safe (RFC 9110, 9.2.1). The version
// 1.0 needs no field Host. A server of HTTPS answers 400, too, so who waits for TLS
// but was slow must not be taken for HTTP.
func head(l *line) Spoken {
	l.say([]byte("HEAD / HTTP/1.0\r\n\r\n"))
	l.hear(l.until, func(b []byte) bool {
		return bytes.Contains(b, []byte("\r\n\r\n")) || oneLine(b) && !bytes.HasPrefix(b, []byte("HTTP/"))
	})
	if len(l.got) == 0 {
		return l.quiet()
	}
	s := answered(l.got)
	if _, status, _ := strings.Cut(s.Answer, " "); s.Protocol == "http" && strings.HasPrefix(status, "400") {
		s.Protocol = ""
	}
	return s
}

// answered is what was said to a question, with the field Server if it is HTTP.
func answered(said []byte) Spoken {
	var s Spoken
	if s.Answer, s.Protocol = told(said); s.Protocol != "http" {
		return s
	}
	header, _, _ := bytes.Cut(said, []byte("\r\n\r\n"))
	for line := range bytes.Lines(header) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("server")) {
			s.Server = shortText(strings.TrimSpace(string(value)))
		}
	}
	return s
}
