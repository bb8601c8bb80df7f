package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// speakTime is how long one listener is asked if the caller sets no deadline.
	speakTime = 2 * time.Second
	// speakAtOnce bounds how many listeners are asked at the same time.
	speakAtOnce = 16
	// greetTime is how long a server may take to speak first, at most an eighth of the
	// whole; one that is later is understood, too, but then it has seen a ClientHello.
	greetTime = 250 * time.Millisecond
)

// Spoken is what a TCP listener was found to speak. The zero Spoken: nothing is known.
// All its texts are printable and at most 120 characters long.
type Spoken struct {
	// Protocol is "tls", "ssh", "http", "smtp", "ftp", "imap", "pop3", "postgresql",
	// "mysql", "amqp" or "redis"; empty: unknown. What TLS carries is not looked into.
	// Whatever begins in plain text goes by its own name, though it may go on with
	// TLS when asked (STARTTLS).
	Protocol string
	TLS      *TLS // nil: the first bytes are not TLS
	// Greeting is the first line of what the server said unasked, for MySQL its
	// version; empty: it waited.
	Greeting string
	// Answer is the first line of the answer of a server that waited: the status line
	// of HTTP; "S" or "N" of PostgreSQL, which then offers TLS or has none.
	Answer string
	Server string // the field Server of HTTP (RFC 9110, 10.2.4)
	// Alert is how the server refused each ClientHello: "unrecognized name" if it wants
	// SpeakOptions.Name, "handshake failure" if it has no suite but those that crypto/tls
	// lacks (DHE, PSK). It knows TLS, but whom it would speak it with cannot be told,
	// so TLS is nil.
	Alert  string
	Closed bool // it hung up without a word
	Silent bool // it took the connection, and said nothing within the time
}

// String writes `TLS 1.3, CN=web until 2027-03-31, self-signed`, `ssh "SSH-2.0-OpenSSH_9.6"`,
// `refuses TLS: handshake failure`, "silent"; "unknown" for the zero Spoken.
func (s Spoken) String() string {
	switch {
	case s.TLS != nil:
		return s.TLS.String()
	case s.Alert != "":
		return "refuses TLS: " + s.Alert
	case s.Server != "":
		return fmt.Sprintf("%s %q by %q", orElse(s.Protocol, "plain text"), s.Answer, s.Server)
	case s.Greeting+s.Answer != "":
		return fmt.Sprintf("%s %q", orElse(s.Protocol, "plain text"), orElse(s.Greeting, s.Answer))
	case s.Closed:
		return "hangs up"
	case s.Silent:
		return "silent"
	}
	return orElse(s.Protocol, "unknown")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// SpeakOptions is how a listener is asked. The zero value sends no name, knows the
// system's roots only and goes by the clock.
type SpeakOptions struct {
	Name  string         // of the server in ASCII, for SNI (RFC 6066, 3) and the certificate; or an address, for the certificate alone
	Roots *x509.CertPool // trusted besides the system's
	Now   time.Time      // when certificates have to be valid
	// Interface is the one that the listener is bound to (Listener.Interface); on Linux only.
	Interface string
}

// Speaks asks a TCP listener of this host and network namespace what it speaks. It
// connects up to four times, one after the other, and all within the context's
// deadline, or two seconds if there is none. Where nothing is said unasked, it sends a
// ClientHello (RFC 8446, 4.1.2), and if that is not understood PostgreSQL's
// SSLRequest, a ClientHello of TLS 1.2 and "HEAD / HTTP/1.0", none of which changes
// anything; the server may log them. An unspecified address is asked by loopback, or
// by an address of the interface if there is one.
//
// The error says why no connection came about. What comes later, or too late, is an
// answer: Closed, Silent, TLS.Unfinished. An end of the context before its deadline
// is an error, too.
func Speaks(ctx context.Context, addr netip.AddrPort, opts SpeakOptions) (Spoken, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, speakTime)
		defer cancel()
	}
	s, err := newAsker(ctx, addr, opts).ask(ctx)
	if err == nil && errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err()
	}
	if err != nil {
		return Spoken{}, fmt.Errorf("ask %v what it speaks: %w", addr, err)
	}
	return s, nil
}

// SpeakQuestion is one listener that SpeakAll asks.
type SpeakQuestion struct {
	Addr    netip.AddrPort
	Options SpeakOptions
}

// SpeakAnswer is what became of a question: the results of Speaks.
type SpeakAnswer struct {
	Spoken Spoken
	Err    error
}

// SpeakAll asks as Speaks does, sixteen at once and each within two seconds. The
// answers have the order of the questions. All are asked from the network namespace of
// the process, whatever that of the calling thread is.
func SpeakAll(ctx context.Context, questions []SpeakQuestion) []SpeakAnswer {
	var (
		wg      sync.WaitGroup
		answers = make([]SpeakAnswer, len(questions))
		slots   = make(chan struct{}, speakAtOnce)
	)
	for i, q := range questions {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, speakTime)
			defer cancel()
			answers[i].Spoken, answers[i].Err = Speaks(ctx, q.Addr, q.Options)
		})
	}
	wg.Wait()
	return answers
}

// asker asks one listener.
type asker struct {
	addr netip.AddrPort
	opts SpeakOptions
	end  time.Time // of all
	wait time.Duration
}

func newAsker(ctx context.Context, addr netip.AddrPort, opts SpeakOptions) *asker {
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	end, _ := ctx.Deadline()
	return &asker{addr, opts, end, min(greetTime, time.Until(end)/8)}
}

// question is one connection to the listener.
type question struct {
	share time.Duration           // of the time that is left, one in so many
	asked func(soFar Spoken) bool // whether it makes sense
	ask   func(*line) Spoken
}

func (a *asker) questions() []question {
	return []question{
		{2, func(Spoken) bool { return true }, a.greetOrHello},
		{3, func(s Spoken) bool { return s.Closed || s.Silent }, sslRequest},
		{2, func(s Spoken) bool { return s.Closed || s.Alert != "" }, func(l *line) Spoken { return a.hello(l, tls.VersionTLS12) }},
		{1, func(s Spoken) bool { return s.Alert == "" }, head},
	}
}

// ask asks until something is understood. Where the first question was heard, it is no
// error that another is not: some servers take one connection at a time.
func (a *asker) ask(ctx context.Context) (Spoken, error) {
	var s Spoken
	for i, q := range a.questions() {
		if s.settled() || !q.asked(s) {
			continue
		}
		l, err := a.open(ctx, time.Now().Add(time.Until(a.end)/q.share))
		switch {
		case err == nil:
			s = s.and(q.ask(l))
			l.leave()
		case errors.Is(err, syscall.ECONNRESET): // it was let in, and thrown out before connect(2) was back
			s = s.and(Spoken{Closed: true})
		case i == 0:
			return Spoken{}, err
		}
	}
	return s, nil
}

// settled reports whether nothing more has to be asked.
func (s Spoken) settled() bool { return s.Protocol != "" || s.Greeting != "" }

// and is what is known after one more answer: the first that was understood, else the
// first at all. An alert to the second ClientHello tells no more than the first did.
func (s Spoken) and(o Spoken) Spoken {
	said := s.Answer != "" || s.Alert != ""
	if o.settled() || !said && (o.Answer != "" || o.Alert != "") || s == (Spoken{}) {
		return o
	}
	return s
}
