package live

import (
	"crypto/tls"
	"strings"
	"time"
)

// TLS is what a server's part of a handshake told.
type TLS struct {
	// Version is the highest that both sides know, tls.VersionTLS10 to
	// tls.VersionTLS13; zero: the handshake broke off before it was seen.
	Version uint16
	// Leaf is the server's own certificate; nil: it showed none, or none that can be read.
	Leaf *Certificate
	// WantsClient says that the server asked for a certificate of the client.
	WantsClient bool
	// Unfinished is why the handshake did not come to its end after the server's first
	// message; empty: it did. A server that insists on a client's certificate breaks it
	// off (RFC 5246, 7.4.6) or shows that later (RFC 8446, 4.4.2.4).
	Unfinished string
}

// String writes "TLS 1.3, CN=web until 2027-03-31, self-signed".
func (t *TLS) String() string {
	s := "TLS"
	if t.Version != 0 {
		s = tls.VersionName(t.Version)
	}
	if t.Leaf != nil {
		s += ", " + t.Leaf.String()
	}
	if t.WantsClient {
		s += ", asks for a client certificate"
	}
	if t.Unfinished != "" {
		s += ", unfinished: " + t.Unfinished
	}
	return s
}

// Records of TLS and what is in them (RFC 8446, 4 and 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
	handshakeServer = 2 // ServerHello
)

// serverHello reports whether what came begins with one.
func serverHello(b []byte) bool {
	return len(b) >= 6 && b[0] == recordHandshake && b[1] == 3 && b[2] <= 4 && b[5] == handshakeServer
}

// alert reads the one that came; empty: none did.
func alert(b []byte) string {
	if len(b) < 7 || b[0] != recordAlert || b[1] != 3 || b[2] > 4 || b[3] != 0 || b[4] != 2 {
		return ""
	}
	return strings.TrimPrefix(tls.AlertError(b[6]).Error(), "tls: ")
}

// hello sends a ClientHello of TLS 1.0 up to the version, and goes on with the
// handshake if the answer is a ServerHello.
func (a *asker) hello(l *line, version uint16) Spoken {
	_ = l.SetDeadline(l.until)
	t := &TLS{}
	conn := tls.Client(l, a.config(t, version))
	err := conn.Handshake()
	switch why := alert(l.got); {
	case err == nil:
		_ = conn.CloseWrite() // close_notify; what fails has no consequence
		return Spoken{Protocol: "tls", TLS: t}
	case serverHello(l.got):
		t.Unfinished = reason(err)
		return Spoken{Protocol: "tls", TLS: t}
	case why != "":
		return Spoken{Alert: why}
	case len(l.got) == 0:
		return l.quiet()
	}
	return l.plain()
}

// plain is the answer to a ClientHello that is none of TLS: perhaps the greeting of a
// server that was slow.
func (l *line) plain() Spoken {
	l.hear(l.until, func(b []byte) bool {
		return greeted(b) && (!strings.HasPrefix(string(b), "HTTP/") || strings.Contains(string(b), "\r\n\r\n"))
	})
	s := answered(l.got)
	switch s.Protocol {
	case "ssh", "smtp", "ftp", "imap", "pop3", "mysql":
		s.Greeting, s.Answer = s.Answer, ""
	}
	return s
}

// config takes every certificate and every suite that crypto/tls has: what is asked is
// whether and how TLS is spoken, and nothing is told or believed.
func (a *asker) config(t *TLS, version uint16) *tls.Config {
	var suites []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, s.ID)
	}
	return &tls.Config{
		InsecureSkipVerify: true,
		ServerName:         a.opts.Name,
		MinVersion:         tls.VersionTLS10,
		MaxVersion:         version,
		CipherSuites:       suites,
		Time:               func() time.Time { return a.opts.Now },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.WantsClient = true
			return &tls.Certificate{}, nil
		},
		VerifyConnection: func(c tls.ConnectionState) error {
			t.Version, t.Leaf = c.Version, a.certificate(c.PeerCertificates)
			return nil
		},
	}
}

// reason is an error of a handshake, short.
func reason(err error) string { return shortText(strings.Replace(err.Error(), "tls: ", "", 1)) }
