package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// actor is a process that plays a program: it waits where one of that name would.
type actor struct {
	Process, User string
	Addrs         []string // "0.0.0.0:80"
	TLS           bool
}

// The users of the example hosts, who are not on this machine.
const exampleUsers = `root:x:0:0::/:/bin/sh
omero-server:x:61001:61001::/:/bin/sh
cromwell:x:61002:61002::/:/bin/sh
cromwell2:x:61003:61003::/:/bin/sh
mysql:x:61004:61004::/:/bin/sh
rabbitmq:x:61005:61005::/:/bin/sh
`

var exampleUIDs = map[string]int{"root": 0, "omero-server": 61001, "cromwell": 61002, "cromwell2": 61003, "mysql": 61004, "rabbitmq": 61005}

// waitAs is the process of a stand-in.
func waitAs() {
	var s actor
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err == nil {
		if err = s.wait(); err == nil {
			fmt.Println("waits")
			_, _ = io.Copy(io.Discard, os.Stdin)
			return
		}
		fmt.Fprintln(os.Stderr, s, err)
	}
	os.Exit(1)
}

func (s actor) wait() error {
	if err := syscall.Setuid(exampleUIDs[s.User]); err != nil {
		return err
	}
	lc := net.ListenConfig{Control: func(_, addr string, c syscall.RawConn) error {
		var err error
		_ = c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return
			}
			// Beside a socket for all of IPv4 one for all of IPv6 takes that alone.
			port := addr[strings.LastIndex(addr, ":"):]
			if strings.HasPrefix(addr, "[::]") && slices.Contains(s.Addrs, "0.0.0.0"+port) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			}
		})
		return err
	}}
	for _, addr := range s.Addrs {
		l, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return err
		}
		if s.TLS {
			cert, err := selfSigned()
			if err != nil {
				return err
			}
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		}
		server := http.Server{ReadTimeout: 5 * time.Second}
		go func() { _ = server.Serve(l) }()
	}
	return nil
}

// selfSigned makes a certificate.
func selfSigned() (tls.Certificate, error) {
	cert, key, err := certificateText()
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(cert), []byte(key))
}

// certificateText makes a certificate for half a year, and its key.
func certificateText() (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "example"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 6, 0)}
	der, err1 := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	private, err2 := x509.MarshalPKCS8PrivateKey(k)
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", private), errors.Join(err1, err2)
}
