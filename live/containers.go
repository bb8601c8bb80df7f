package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Running is a container that its engine tells of.
type Running struct {
	Container
	Addrs []netip.Addr // in its networks; none if it is in the host's
}

// engineSockets are where the engines listen. Podman answers as Docker does
// (podman-system-service(1)).
var engineSockets = []struct{ engine, path string }{
	{"docker", "/run/docker.sock"}, {"podman", "/run/podman/podman.sock"},
}

// engineTime bounds one engine's answer, engineSize its length in bytes.
const (
	engineTime = time.Second
	engineSize = 16 << 20
)

// Containers asks the engines of this host, Docker and Podman, for the containers that
// run. It needs the right to write to their sockets. The notes say which engine did not
// answer and why; one that is not there is none of them.
func Containers(ctx context.Context) (all []Running, notes []string) {
	for _, e := range engineSockets {
		found, err := askEngine(ctx, e.engine, e.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			notes = append(notes, fmt.Sprintf("the names of containers are not known from %s: %v", e.engine, err))
		}
		all = append(all, found...)
	}
	return all, notes
}

// askEngine sends GET /containers/json (docs.docker.com, Engine API) over the socket;
// by HTTP 1.0, in which the answer ends with the connection.
func askEngine(ctx context.Context, engine, socket string) ([]Running, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // without it, only slower
	}
	if _, err := io.WriteString(conn, "GET /containers/json HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	text, err := io.ReadAll(io.LimitReader(conn, engineSize))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	head, body, _ := strings.Cut(string(text), "\r\n\r\n")
	status, _, _ := strings.Cut(head, "\r\n")
	if f := strings.Fields(status); len(f) < 2 || f[1] != "200" {
		return nil, fmt.Errorf("ask %s: it answers %q", socket, printable(status))
	}
	return parseContainers(engine, []byte(body))
}

// parseContainers reads the engine's answer.
func parseContainers(engine string, text []byte) ([]Running, error) {
	var list []struct {
		ID              string `json:"Id"`
		Names           []string
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress, GlobalIPv6Address string }
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read the list of containers: %w", err)
	}
	var out []Running
	for _, c := range list {
		r := Running{Container: Container{Engine: engine, ID: printable(c.ID)}}
		if len(c.Names) > 0 {
			r.Name = printable(strings.TrimPrefix(c.Names[0], "/"))
		}
		for _, n := range c.NetworkSettings.Networks {
			for _, text := range []string{n.IPAddress, n.GlobalIPv6Address} {
				if a, err := netip.ParseAddr(text); err == nil {
					r.Addrs = append(r.Addrs, a)
				}
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// at returns the container that has the address; the zero Container if none does, or
// several do, as in networks that are apart.
func at(all []Running, addr netip.Addr) (c Container) {
	for _, r := range all {
		for _, a := range r.Addrs {
			switch {
			case a != addr:
			case c != Container{} && c != r.Container:
				return Container{}
			default:
				c = r.Container
			}
		}
	}
	return c
}

// named returns the container with its name, and the engine where only the id was
// known.
func named(all []Running, c Container) Container {
	for _, r := range all {
		if c.Name == "" && c.ID != "" && r.ID == c.ID {
			return r.Container
		}
	}
	return c
}
