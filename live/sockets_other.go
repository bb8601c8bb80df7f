//go:build !linux

package live

import "errors"

// Connections lists the flows that connection tracking knows. On this system it
// cannot.
func Connections() ([]Connection, error) {
	return nil, errors.New("connections can be listed on Linux only")
}

// Established lists the TCP connections. On this system it cannot.
func Established() ([]TCPConnection, error) {
	return nil, errors.New("TCP connections can be listed on Linux only")
}

// Connected cannot list them.
func Connected() (all, outgoing []TCPConnection, err error) {
	all, err = Established()
	return all, nil, err
}
