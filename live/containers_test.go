package live

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

const containerList = `[
 {"Id":"` + id + `","Names":["/web"],"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":"fd00::2"}}}},
 {"Id":"` + id2 + `","Names":["/db\u001b[31m"],"NetworkSettings":{"Networks":{"a":{"IPAddress":"10.0.0.2"},"b":{"IPAddress":"172.17.0.3"}}}},
 {"Id":"x","Names":[],"NetworkSettings":{"Networks":{"host":{"IPAddress":""},"other":{"IPAddress":"10.0.0.2"}}}}]`

// An engine tells of its containers over a socket.
func TestAskEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip(err)
	}
	status := http.StatusOK
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containers/json" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Replace(containerList, "\n", strings.Repeat("\n", 100000), 1)) // several pieces
	})}
	go server.Serve(l)
	defer server.Close()
	all, err := askEngine(t.Context(), "docker", socket)
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	want := "[docker container web docker container db?[31m docker container x]"
	if got := fmt.Sprint([]any{all[0].Container, all[1].Container, all[2].Container}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for addr, want := range map[string]string{"172.17.0.2": "web", "fd00::2": "web", "172.17.0.3": "db?[31m", "10.0.0.2": "", "192.0.2.1": ""} {
		if got := at(all, netip.MustParseAddr(addr)).Name; got != want {
			t.Errorf("at %s is %q, want %q", addr, got, want)
		}
	}
	if c := named(all, Container{Engine: "container", ID: id}); c != all[0].Container {
		t.Errorf("%v", c)
	}
	status = http.StatusForbidden
	if _, err := askEngine(t.Context(), "docker", socket); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("error %v, want 403", err)
	}
}

func TestParseProxy(t *testing.T) {
	tests := []struct {
		owner Owner
		args  string
		want  Proxy
	}{
		{
			Owner{Argv0: "/usr/bin/docker-proxy", Process: "docker-proxy"},
			"-proto tcp -host-ip :: -host-port 8080 -container-ip 172.17.0.2 -container-port 80 -use-listen-fd",
			Proxy{Program: "docker-proxy", To: netip.MustParseAddrPort("172.17.0.2:80")},
		},
		{Owner{Exe: "/usr/bin/docker-proxy"}, "", Proxy{Program: "docker-proxy"}},
		{Owner{Exe: "/usr/bin/docker-proxy"}, "-container-ip", Proxy{Program: "docker-proxy"}},
		{
			Owner{Argv0: "/usr/bin/conmon", Process: "conmon"}, "--api-version 1 -c " + id + " -u " + id + " -n web --exit-dir /run",
			Proxy{Program: "conmon", Container: Container{Engine: "podman", ID: id, Name: "web"}},
		},
		{Owner{Argv0: "rootlessport", Exe: "/usr/libexec/podman/rootlessport"}, "", Proxy{Program: "rootlessport"}},
		{Owner{Exe: "/usr/bin/pasta.avx2", Process: "pasta.avx2"}, "--config-net -t 8080-8080:80-80", Proxy{Program: "pasta"}},
		{Owner{Process: "slirp4netns"}, "--netns-type=path", Proxy{Program: "slirp4netns"}},
		{Owner{Process: "nginx", Exe: "/usr/sbin/nginx", Argv0: "nginx: master process"}, "-container-ip 172.17.0.2 -container-port 80", Proxy{}},
		{Owner{Exe: "/usr/bin/podman", Argv0: "containers-rootlessport-child"}, "", Proxy{Program: "rootlessport-child"}},
		{Owner{Exe: "/usr/bin/docker-proxy (deleted)"}, "", Proxy{Program: "docker-proxy"}},
		{Owner{Exe: "/home/a/evil", Argv0: "docker-proxy", Process: "docker-proxy"}, "", Proxy{}},
		{Owner{}, "", Proxy{}},
	}
	for _, tt := range tests {
		if got := parseProxy(tt.owner, strings.Fields(tt.args)); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.owner, got, tt.want)
		}
	}
}
