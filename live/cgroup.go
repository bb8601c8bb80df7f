package live

import "strings"

// parseCgroup reads /proc/PID/cgroup (cgroups(7)): lines "ID:CONTROLLERS:PATH", of
// version 1 several, of version 2 one without controllers. Only systemd's own
// hierarchy tells of units, any of containers.
func parseCgroup(text string) Place {
	var p Place
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		at := parseCgroupPath(f[2])
		if (f[1] == "" || f[1] == "name=systemd") && p.Unit == "" {
			p.Unit, p.UserUnit = at.Unit, at.UserUnit
		}
		if p.Container == (Container{}) {
			p.Container = at.Container
		}
	}
	return p
}

// parseCgroupPath reads one path. The unit is the first after the slices, as for
// sd_pid_get_unit(3); what is below belongs to the unit. The container is the
// innermost. A path that is seen from within a namespace of control groups may begin
// with "..".
func parseCgroupPath(path string) Place {
	var p Place
	parts := strings.Split(strings.Trim(path, "/"), "/")
	rest := afterSlices(parts)
	if len(rest) > 0 && isUnit(rest[0]) {
		p.Unit = unitName(rest[0])
		if strings.HasPrefix(p.Unit, "user@") {
			if rest = afterSlices(rest[1:]); len(rest) > 0 && isUnit(rest[0]) {
				p.UserUnit = unitName(rest[0])
			}
		}
	}
	for i, part := range parts {
		if c, ok := containerOf(parts[:i], part); ok {
			p.Container = c
		}
	}
	return p
}

func afterSlices(parts []string) []string {
	for len(parts) > 0 && (strings.HasSuffix(parts[0], ".slice") || parts[0] == "..") {
		parts = parts[1:]
	}
	return parts
}

// unitSuffixes are those of units that have processes (systemd.unit(5)).
var unitSuffixes = []string{".service", ".scope", ".socket", ".mount", ".swap"}

func isUnit(part string) bool {
	for _, s := range unitSuffixes {
		if name, ok := strings.CutSuffix(part, s); ok && name != "" {
			return true
		}
	}
	return false
}

// unitName takes away the underscore that systemd puts before names which the
// kernel might want for itself.
func unitName(part string) string { return printable(strings.TrimPrefix(part, "_")) }

// scopePrefixes begin the names of control groups that engines make for one
// container; what stands between them and ".scope" is its id. Some name the
// monitors that watch over one: those run on the host.
var scopePrefixes = []struct{ prefix, engine string }{
	{"libpod-conmon-", ""}, {"crio-conmon-", ""}, {"lxc.monitor.", ""},
	{"docker-", "docker"}, {"libpod-payload-", "podman"}, {"libpod-", "podman"},
	{"cri-containerd-", "containerd"}, {"nerdctl-", "containerd"}, {"crio-", "cri-o"},
}

// containerOf reads one part of a path, with those above it.
func containerOf(above []string, part string) (Container, bool) {
	parent := ""
	if len(above) > 0 {
		parent = above[len(above)-1]
	}
	name := strings.TrimSuffix(part, ".scope")
	for _, s := range scopePrefixes {
		if id, ok := strings.CutPrefix(name, s.prefix); ok {
			return Container{Engine: s.engine, ID: id}, s.engine != "" && isContainerID(id)
		}
	}
	if c, ok := lxcOf(parent, part); ok {
		return c, true
	}
	if !isContainerID(part) {
		// containerd with systemd for control groups and no prefix: "SLICE:cri-containerd:ID".
		if f := strings.Split(name, ":"); len(f) == 3 && isContainerID(f[2]) {
			return Container{Engine: "containerd", ID: f[2]}, true
		}
		return Container{}, false
	}
	return Container{Engine: engineAbove(above), ID: part}, true
}

// engineAbove names the engine by the control groups above a bare id.
func engineAbove(above []string) string {
	for i := len(above) - 1; i >= 0; i-- {
		switch {
		case above[i] == "docker":
			return "docker"
		case above[i] == "libpod_parent":
			return "podman"
		case strings.HasPrefix(above[i], "kubepods"):
			return "kubernetes"
		}
	}
	return "container"
}

// lxcOf reads "lxc/NAME", "lxc.payload/NAME" and "lxc.payload.NAME" (lxc.container.conf(5)).
func lxcOf(parent, part string) (Container, bool) {
	name, ok := strings.CutPrefix(part, "lxc.payload.")
	if !ok && (parent == "lxc" || parent == "lxc.payload") {
		name, ok = part, true
	}
	name = printable(name)
	return Container{Engine: "lxc", ID: name, Name: name}, ok && name != ""
}

// isContainerID reports whether the text is an id as the engines make them: 64
// hexadecimal digits.
func isContainerID(s string) bool {
	const digits = 64
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
