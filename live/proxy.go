package live

import (
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// proxies are the programs that carry packets for containers, by the names of their
// processes. conmon carries none: it keeps ports of Podman's from others.
var proxies = map[string]bool{
	"docker-proxy": true, "rootlesskit": true, "rootlesskit-docker-proxy": true, "rootlessport": true,
	"rootlessport-child": true, "slirp4netns": true, "pasta": true, "passt": true, "conmon": true,
}

// parseProxy reads whether a process is such a program, and from its arguments for
// whom.
func parseProxy(o Owner, args []string) Proxy {
	for _, name := range programNames(o) {
		name = strings.TrimSuffix(name, ".avx2") // pasta's own choice of a faster build
		if !proxies[name] {
			continue
		}
		p := Proxy{Program: name}
		switch name {
		case "docker-proxy", "rootlesskit-docker-proxy":
			p.To = proxyTarget(args)
		case "conmon":
			p.Container = Container{Engine: "podman", ID: printable(argument(args, "c", "cid")), Name: printable(argument(args, "n", "name"))}
		}
		return p
	}
	return Proxy{}
}

// programNames are what a process may be known by: the program's file, which it cannot
// choose as it likes, and its own words where that is not known.
func programNames(o Owner) []string {
	exe := path.Base(strings.TrimSuffix(o.Exe, " (deleted)"))
	switch {
	case o.Exe == "":
		return []string{path.Base(o.Argv0), o.Process}
	case exe == "podman":
		return []string{strings.TrimPrefix(path.Base(o.Argv0), "containers-")} // "containers-rootlessport"
	}
	return []string{exe}
}

// proxyTarget reads "-container-ip 172.17.0.2 -container-port 80".
func proxyTarget(args []string) netip.AddrPort {
	addr, err1 := netip.ParseAddr(argument(args, "container-ip"))
	port, err2 := strconv.ParseUint(argument(args, "container-port"), 10, 16)
	if err1 != nil || err2 != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}

// argument returns the value of a flag by one of its names, behind one dash or two,
// "" if it is not there.
func argument(args []string, names ...string) string {
	for i, a := range args {
		flag, value, joined := strings.Cut(a, "=")
		for _, name := range names {
			switch {
			case flag != "-"+name && flag != "--"+name:
			case joined:
				return value
			case i+1 < len(args):
				return args[i+1]
			}
		}
	}
	return ""
}
