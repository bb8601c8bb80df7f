package live_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fwctl/fwctl/live"
)

// serve hands each connection to the function, and hangs up when it returns.
func serve(t *testing.T, l net.Listener, talk func(net.Conn)) netip.AddrPort {
	t.Helper()
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); talk(c) })
		}
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func listenAt(t *testing.T, network, at string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// says sends a text at once, and then hears what there is.
func says(text string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, text); io.Copy(io.Discard, c) }
}

// answers sends a text for the first bytes that come.
func answers(text string) func(net.Conn) {
	return func(c net.Conn) { c.Read(make([]byte, 4096)); io.WriteString(c, text) }
}

func endless(c net.Conn) {
	for b := make([]byte, 64<<10); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func silent(c net.Conn) { io.Copy(io.Discard, c) }

// plainHTTP is the server of net/http, whose answer to nonsense is 400.
func plainHTTP(c net.Conn) {
	r := bufio.NewReader(c)
	if _, err := http.ReadRequest(r); err != nil {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nConnection: close\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n")
}

// reads answers a request that begins as said, and hangs up for any other.
func reads(begins, answer string) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 4096)
		if n, _ := c.Read(b); strings.HasPrefix(string(b[:n]), begins) {
			io.WriteString(c, answer)
		}
	}
}

// waits answers a request that begins as said, and nothing to any other.
func waits(begins, answer string) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 4096)
		if n, _ := c.Read(b); strings.HasPrefix(string(b[:n]), begins) {
			io.WriteString(c, answer)
			return
		}
		silent(c)
	}
}

func later(d time.Duration, talk func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { time.Sleep(d); talk(c) }
}

const mysqlGreeting = "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xf7\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00caching_sha2_password\x00"

// together does all cases at once, since most of them wait.
func together[C any](cases map[string]C, do func(name string, c C)) {
	var all sync.WaitGroup
	for name, c := range cases {
		all.Go(func() { do(name, c) })
	}
	all.Wait()
}

type plainCase struct {
	talk func(net.Conn)
	want live.Spoken
}

// What is not TLS is told by what it says.
func TestSpeaksPlainText(t *testing.T) {
	together(map[string]plainCase{
		"ssh":                {says("SSH-2.0-OpenSSH_9.6\r\n"), live.Spoken{Protocol: "ssh", Greeting: "SSH-2.0-OpenSSH_9.6"}},
		"ssh after a word":   {says("hello\r\nSSH-2.0-x\r\n"), live.Spoken{Greeting: "SSH-2.0-x", Protocol: "ssh"}},
		"slow ssh":           {later(250*time.Millisecond, says("SSH-2.0-slow\r\n")), live.Spoken{Protocol: "ssh", Greeting: "SSH-2.0-slow"}},
		"smtp":               {says("220 mail.example ESMTP Postfix\r\n"), live.Spoken{Protocol: "smtp", Greeting: "220 mail.example ESMTP Postfix"}},
		"ftp":                {says("220 (vsFTPd 3.0.5)\r\n"), live.Spoken{Protocol: "ftp", Greeting: "220 (vsFTPd 3.0.5)"}},
		"imap":               {says("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"), live.Spoken{Protocol: "imap", Greeting: "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready"}},
		"pop3":               {says("+OK ready\r\n"), live.Spoken{Protocol: "pop3", Greeting: "+OK ready"}},
		"220 of something":   {says("220 ready\r\n"), live.Spoken{Greeting: "220 ready"}},
		"no end of line":     {says("login: "), live.Spoken{Greeting: "login:"}},
		"terminal":           {says("\x1b[2Jab\u202ec\xff\xfe\n"), live.Spoken{Greeting: "?[2Jab?c?"}},
		"long":               {says(strings.Repeat("ä", 500) + "\n"), live.Spoken{Greeting: strings.Repeat("ä", 119) + "…"}},
		"empty line":         {says("\r\n"), live.Spoken{Greeting: "?"}},
		"mysql":              {says(mysqlGreeting), live.Spoken{Protocol: "mysql", Greeting: "8.0.36"}},
		"mysql full":         {says("\x17\x00\x00\x00\xff\x10\x04Too many connections"), live.Spoken{Protocol: "mysql", Greeting: "error 1040: Too many connections"}},
		"amqp":               {answers("AMQP\x00\x00\x09\x01"), live.Spoken{Protocol: "amqp", Answer: "AMQP 0.9.1"}},
		"redis":              {answers("-ERR unknown command '\x16\x03\x01'\r\n"), live.Spoken{Protocol: "redis", Answer: "-ERR unknown command '???'"}},
		"redis, protected":   {says("-DENIED Redis is running in protected mode because\r\n"), live.Spoken{Protocol: "redis", Greeting: "-DENIED Redis is running in protected mode because"}},
		"postgresql":         {reads("\x00\x00\x00\x08\x04\xd2\x16\x2f", "S"), live.Spoken{Protocol: "postgresql", Answer: "S"}},
		"postgresql, no TLS": {waits("\x00\x00\x00\x08\x04\xd2\x16\x2f", "N"), live.Spoken{Protocol: "postgresql", Answer: "N"}},
		"http":               {plainHTTP, live.Spoken{Protocol: "http", Answer: "HTTP/1.1 400 Bad Request", Server: "nginx"}},
		"http that hangs up": {reads("HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.0 302 Found\r\nserver:  a\x07b \r\n\r\n"), live.Spoken{Protocol: "http", Answer: "HTTP/1.0 302 Found", Server: "a?b"}},
		"http that waits":    {waits("HEAD ", "HTTP/1.1 200 OK\r\n\r\n"), live.Spoken{Protocol: "http", Answer: "HTTP/1.1 200 OK"}},
		"https that waits":   {waits("HEAD ", "HTTP/1.0 400 Bad Request\r\n\r\n"), live.Spoken{Answer: "HTTP/1.0 400 Bad Request"}},
		"echo":               {func(c net.Conn) { io.Copy(c, c) }, live.Spoken{Answer: "?"}},
		"alert":              {reads("\x16", "\x15\x03\x01\x00\x02\x02\x70"), live.Spoken{Alert: "unrecognized name"}},
		"alert to anything":  {answers("\x15\x03\x01\x00\x02\x02\x28"), live.Spoken{Alert: "handshake failure"}},
		"hangs up at once":   {func(net.Conn) {}, live.Spoken{Closed: true}},
		"resets at once":     {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, live.Spoken{Closed: true}},
		"resets a question":  {func(c net.Conn) { c.Read(make([]byte, 1)); c.(*net.TCPConn).SetLinger(0) }, live.Spoken{Closed: true}},
		"silent":             {silent, live.Spoken{Silent: true}},
		"endless":            {endless, live.Spoken{Greeting: "?"}},
		"endless answer":     {func(c net.Conn) { c.Read(make([]byte, 1)); endless(c) }, live.Spoken{Answer: "?"}},
	}, func(name string, c plainCase) { speaksPlain(t, name, c.talk, c.want) })
}

// speaksPlain is one case, which may last no longer than the context lets it.
func speaksPlain(t *testing.T, name string, talk func(net.Conn), want live.Spoken) {
	const brief = 1200 * time.Millisecond
	at := serve(t, listenAt(t, "tcp", "127.0.0.1:0"), talk)
	ctx, cancel := context.WithTimeout(t.Context(), brief)
	defer cancel()
	start := time.Now()
	got, err := live.Speaks(ctx, at, live.SpeakOptions{})
	if took := time.Since(start); took > brief+brief/2 {
		t.Errorf("%s: it takes %v", name, took)
	}
	for _, text := range []*string{&got.Answer, &got.Greeting} {
		if strings.HasPrefix(*text, "????") {
			*text = "?" // zeros, never mind how many
		}
	}
	if err != nil || got != want {
		t.Errorf("%s: %+v (%v), want %+v", name, got, err, want)
	}
}

// What is told fits into a sentence.
func TestSpokenString(t *testing.T) {
	leaf := &live.Certificate{Names: []string{"web.example"}, NotAfter: noon, Days: -1}
	for want, s := range map[string]live.Spoken{
		"unknown":                           {},
		"silent":                            {Silent: true},
		"hangs up":                          {Closed: true},
		`http "HTTP/1.1 200 OK" by "nginx"`: {Protocol: "http", Answer: "HTTP/1.1 200 OK", Server: "nginx"},
		`plain text "login:"`:               {Greeting: "login:"},
		"refuses TLS: handshake failure":    {Alert: "handshake failure"},
		"TLS, unfinished: EOF":              {TLS: &live.TLS{Unfinished: "EOF"}},
		"TLS 1.2, web.example until 2027-03-01, not trusted, expired": {TLS: &live.TLS{Version: tls.VersionTLS12, Leaf: leaf}},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// made is a certificate made for a test.
type made struct {
	tls.Certificate
	leaf *x509.Certificate
}

// issue makes a certificate; issuer nil: it signs itself.
func issue(t *testing.T, issuer *made, change func(*x509.Certificate)) *made {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "web"},
		NotBefore: noon.AddDate(0, 0, -10), NotAfter: noon.AddDate(0, 0, 30),
		DNSNames: []string{"web.example"}, IPAddresses: []net.IP{{192, 0, 2, 1}},
		BasicConstraintsValid: true,
	}
	change(c)
	parent, signer := c, any(key)
	if issuer != nil {
		parent, signer = issuer.leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &made{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf}
}

// authority makes it one that signs others.
func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.Subject.CommonName, c.KeyUsage, c.DNSNames, c.IPAddresses = true, name, x509.KeyUsageCertSign, nil, nil
	}
}

// noon is the instant that the tests ask about.
var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func shakes(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			io.Copy(io.Discard, s)
		}
	}
}

type certCase struct {
	cert *made
	name string
	want string // issuer, days, self-signed, by the roots, for the name
	why  string
}

// What a certificate is worth is told by its dates, issuer and names.
func TestSpeaksCertificates(t *testing.T) {
	same := func(*x509.Certificate) {}
	root := issue(t, nil, authority("root"))
	middle := issue(t, root, authority("middle"))
	chained := issue(t, middle, same)
	chained.Certificate.Certificate = append(chained.Certificate.Certificate, middle.leaf.Raw)
	days := func(from, to int) func(c *x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.AddDate(0, 0, from), noon.AddDate(0, 0, to) }
	}
	roots := x509.NewCertPool()
	roots.AddCert(root.leaf)
	together(map[string]certCase{
		"valid":          {issue(t, root, same), "web.example", "CN=root 30 false true true", ""},
		"chained":        {chained, "web.example", "CN=middle 30 false true true", ""},
		"no name asked":  {issue(t, root, same), "", "CN=root 30 false true false", ""},
		"wrong name":     {issue(t, root, same), "other.example", "CN=root 30 false true false", ""},
		"for an address": {issue(t, root, same), "192.0.2.1", "CN=root 30 false true true", ""},
		"expired":        {issue(t, root, days(-20, -3)), "", "CN=root -3 false false false", "expired"},
		"last day":       {issue(t, root, func(c *x509.Certificate) { c.NotAfter = noon.Add(time.Hour) }), "", "CN=root 0 false true false", ""},
		"not yet":        {issue(t, root, days(2, 9)), "", "CN=root 9 false false false", "not yet valid"},
		"self-signed":    {issue(t, nil, same), "web.example", "CN=web 30 true false true", "unknown authority"},
		"not complete":   {&made{tls.Certificate{Certificate: chained.Certificate.Certificate[:1], PrivateKey: chained.PrivateKey}, nil}, "", "CN=middle 30 false false false", "unknown authority"},
		"for clients":    {issue(t, root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "", "CN=root 30 false false false", "usage"},
	}, func(name string, c certCase) {
		at := serve(t, listenAt(t, "tcp", "127.0.0.1:0"), shakes(&tls.Config{Certificates: []tls.Certificate{c.cert.Certificate}}))
		got, err := live.Speaks(t.Context(), at, live.SpeakOptions{Name: c.name, Roots: roots, Now: noon})
		if err != nil || got.Protocol != "tls" || got.TLS == nil || got.TLS.Leaf == nil || got.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s: %v (%v)", name, got, err)
			return
		}
		l := got.TLS.Leaf
		told := fmt.Sprint(l.Issuer, " ", l.Days, l.SelfSigned, l.ByRoots, l.HoldsFor)
		if told != c.want || !strings.Contains(l.Untrusted, c.why) || (c.why == "") != (l.Untrusted == "") || l.Trusted {
			t.Errorf("%s: %s, %q; want %s, %q", name, told, l.Untrusted, c.want, c.why)
		}
		if l.Subject != "CN=web" || fmt.Sprint(l.Names) != "[web.example 192.0.2.1]" || got.TLS.Unfinished != "" || got.TLS.WantsClient {
			t.Errorf("%s: %+v", name, l)
		}
	})
}

// TLS is TLS whatever its version, and whether or not the server takes the client.
func TestSpeaksVersions(t *testing.T) {
	cert := issue(t, nil, func(*x509.Certificate) {})
	config := func(min, max uint16, auth tls.ClientAuthType) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert.Certificate}, MinVersion: min, MaxVersion: max, ClientAuth: auth}
	}
	broken := config(0, 0, 0)
	broken.Certificates = []tls.Certificate{{Certificate: [][]byte{[]byte("no certificate")}, PrivateKey: cert.PrivateKey}}
	type versionCase struct {
		talk func(net.Conn)
		want string
	}
	together(map[string]versionCase{
		"1.0":                        {shakes(config(tls.VersionTLS10, tls.VersionTLS10, 0)), "TLS 1.0, CN=web until 2027-03-31, self-signed"},
		"1.1":                        {shakes(config(tls.VersionTLS11, tls.VersionTLS11, 0)), "TLS 1.1, CN=web until 2027-03-31, self-signed"},
		"1.2":                        {shakes(config(tls.VersionTLS12, tls.VersionTLS12, 0)), "TLS 1.2, CN=web until 2027-03-31, self-signed"},
		"1.3":                        {shakes(config(tls.VersionTLS13, 0, 0)), "TLS 1.3, CN=web until 2027-03-31, self-signed"},
		"client's certificate, 1.2":  {shakes(config(0, tls.VersionTLS12, tls.RequireAnyClientCert)), `TLS 1.2, CN=web until 2027-03-31, self-signed, asks for a client certificate, unfinished: remote error: `},
		"client's certificate, 1.3":  {shakes(config(0, 0, tls.RequireAnyClientCert)), "TLS 1.3, CN=web until 2027-03-31, self-signed, asks for a client certificate"},
		"client's certificate asked": {shakes(config(0, tls.VersionTLS12, tls.RequestClientCert)), "TLS 1.2, CN=web until 2027-03-31, self-signed, asks for a client certificate"},
		"certificate is broken":      {shakes(broken), "TLS, unfinished: failed to parse certificate from server: x509: malformed certificate"},
		"only the old hello":         {oldOnly(config(0, tls.VersionTLS12, 0)), "TLS 1.2, CN=web until 2027-03-31, self-signed"},
		"a slow handshake":           {slowly(config(0, 0, 0)), "TLS 1.3, CN=web until 2027-03-31, self-signed"},
		"nothing behind the first":   {answers("\x16\x03\x03\x01\x00\x02"), "TLS, unfinished: "},
		"refuses everybody":          {shakes(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no") }}), "refuses TLS: internal error"},
	}, func(name string, c versionCase) {
		at := serve(t, listenAt(t, "tcp", "127.0.0.1:0"), c.talk)
		got, err := live.Speaks(t.Context(), at, live.SpeakOptions{Now: noon})
		if err != nil || !strings.HasPrefix(got.String(), c.want) {
			t.Errorf("%s: %v (%v), want %s", name, got, err, c.want)
		}
	})
}

// oldOnly hangs up on who knows TLS 1.3, as old servers do that stumble over its hello.
func oldOnly(config *tls.Config) func(net.Conn) {
	config = config.Clone()
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.SupportedVersions[0] > tls.VersionTLS12 {
			h.Conn.Close()
		}
		return nil, nil
	}
	return shakes(config)
}

// slowly answers in small pieces, for longer than one question may take.
func slowly(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) { shakes(config)(dripping{c}) }
}

type dripping struct{ net.Conn }

func (d dripping) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 200 {
		time.Sleep(150 * time.Millisecond)
		if _, err := d.Conn.Write(b[i:min(i+200, len(b))]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// A listener is asked by the address that it has.
func TestSpeaksAddresses(t *testing.T) {
	for _, c := range []struct{ network, at string }{
		{"tcp4", "0.0.0.0:0"}, {"tcp", "[::]:0"}, {"tcp6", "[::]:0"}, {"tcp6", "[::1]:0"}, {"tcp4", "127.0.0.7:0"},
	} {
		t.Run(c.network+" "+c.at, func(t *testing.T) {
			at := serve(t, listenAt(t, c.network, c.at), says("SSH-2.0-x\n"))
			at = netip.AddrPortFrom(netip.MustParseAddrPort(c.at).Addr(), at.Port())
			if got, err := live.Speaks(t.Context(), at, live.SpeakOptions{}); err != nil || got.Protocol != "ssh" {
				t.Errorf("%v: %v (%v)", at, got, err)
			}
		})
	}
	t.Run("4in6", func(t *testing.T) {
		at := serve(t, listenAt(t, "tcp4", "127.0.0.1:0"), says("SSH-2.0-x\n"))
		at = netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), at.Port())
		if got, err := live.Speaks(t.Context(), at, live.SpeakOptions{}); err != nil || got.Protocol != "ssh" {
			t.Errorf("%v: %v (%v)", at, got, err)
		}
	})
}

// Who cannot be asked is an error, and who asks can stop.
func TestSpeaksErrors(t *testing.T) {
	l := listenAt(t, "tcp", "127.0.0.1:0")
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	if got, err := live.Speaks(t.Context(), at, live.SpeakOptions{}); err == nil || !strings.HasPrefix(err.Error(), "ask 127.0.0.1:") {
		t.Errorf("nobody listens: %v (%v)", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	at = serve(t, listenAt(t, "tcp", "127.0.0.1:0"), func(c net.Conn) { cancel(); silent(c) })
	start := time.Now()
	if got, err := live.Speaks(ctx, at, live.SpeakOptions{}); !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
		t.Errorf("cancelled: %v (%v)", got, err)
	}
	if got, err := live.Speaks(t.Context(), at, live.SpeakOptions{Interface: "no-such-link"}); err == nil {
		t.Errorf("no such interface: %v", got)
	}
}

// Many are asked in the time of one, and each has its own answer.
func TestSpeakAll(t *testing.T) {
	var questions []live.SpeakQuestion
	for i := range 40 {
		at := serve(t, listenAt(t, "tcp", "127.0.0.1:0"), says(fmt.Sprintf("SSH-2.0-%d\r\n", i)))
		questions = append(questions, live.SpeakQuestion{Addr: at})
	}
	for i, a := range live.SpeakAll(t.Context(), questions) {
		if a.Err != nil || a.Spoken.Greeting != fmt.Sprintf("SSH-2.0-%d", i) {
			t.Errorf("%d: %v (%v)", i, a.Spoken, a.Err)
		}
	}
}
