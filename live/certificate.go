package live

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// certificateNames bounds the names that are kept of a certificate.
const certificateNames = 100

// Certificate is what a server showed of itself (X.509, RFC 5280). Its texts are
// printable and at most 120 characters long.
type Certificate struct {
	Subject, Issuer     string    // as RFC 2253 writes them, "CN=web,O=Example"
	Names               []string  // DNS names, then IP addresses it is for (subjectAltName), at most 100
	NotBefore, NotAfter time.Time // the first and the last second that it is valid
	// Days are those left until NotAfter at the instant that was asked about, rounded
	// down: 0 within the last day, negative if it has expired.
	Days int
	// SelfSigned says that its own key signed it; of a signature that is too weak to be
	// checked (MD5, SHA-1), that it names itself as the issuer.
	SelfSigned bool
	// Trusted says that the chain leads to the system's roots, ByRoots that it leads to
	// those of the options, at that instant and for a server. Neither is about the name.
	Trusted, ByRoots bool
	Untrusted        string // why neither; empty if one does
	// HoldsFor says that it is for the name of the options (RFC 9525); false without one.
	HoldsFor bool
}

// String writes "CN=web until 2027-03-31, self-signed".
func (c *Certificate) String() string {
	subject := c.Subject
	if subject == "" && len(c.Names) > 0 {
		subject = c.Names[0]
	}
	s := fmt.Sprintf("%s until %s", orElse(subject, "certificate without a name"), c.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case c.SelfSigned:
		s += ", self-signed"
	case !c.Trusted && !c.ByRoots:
		s += ", not trusted"
	}
	if c.Days < 0 {
		s += ", expired"
	}
	return s
}

// certificate looks at the first certificate of a chain; nil: there is none.
func (a *asker) certificate(chain []*x509.Certificate) *Certificate {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	c := &Certificate{
		Subject: shortText(leaf.Subject.String()), Issuer: shortText(leaf.Issuer.String()),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		Days:       int(math.Floor(leaf.NotAfter.Sub(a.opts.Now).Hours() / 24)),
		SelfSigned: selfSigned(leaf),
		Names:      names(leaf),
		HoldsFor:   a.opts.Name != "" && leaf.VerifyHostname(a.opts.Name) == nil,
	}
	c.trust(chain, a.opts)
	return c
}

// trust verifies the chain.
func (c *Certificate) trust(chain []*x509.Certificate, opts SpeakOptions) {
	verify := x509.VerifyOptions{Intermediates: x509.NewCertPool(), CurrentTime: opts.Now}
	for _, i := range chain[1:] {
		verify.Intermediates.AddCert(i)
	}
	_, err := chain[0].Verify(verify)
	c.Trusted = err == nil
	if opts.Roots != nil {
		verify.Roots = opts.Roots
		_, err = chain[0].Verify(verify)
		c.ByRoots = err == nil
	}
	if !c.Trusted && !c.ByRoots {
		c.Untrusted = shortText(strings.TrimPrefix(err.Error(), "x509: "))
	}
}

func selfSigned(c *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, c.RawSubject) {
		return false
	}
	err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	var weak x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &weak)
}

func names(c *x509.Certificate) []string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, shortText(n))
	}
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out[:min(len(out), certificateNames)]
}
