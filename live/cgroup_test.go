package live

import (
	"strings"
	"testing"
)

const (
	id  = "4f1c0a6e2b7d9c835f1e4a7b0c3d6e9f8a2b5c7d1e0f3a6b9c8d7e4f2a1b0c3d"
	id2 = "00aa11bb22cc33dd44ee55ff66aa77bb88cc99dd00ee11ff22aa33bb44cc55dd"
)

// Where systemd and the engines put processes, as the paths of their control groups.
func TestParseCgroup(t *testing.T) {
	tests := []struct {
		name, text       string
		unit, user, ctnr string
	}{
		{"version 2", "0::/system.slice/ssh.service\n", "ssh.service", "", ""},
		{"an instance", "0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service", "", ""},
		{"below the unit", "0::/system.slice/nginx.service/worker.service\n", "nginx.service", "", ""},
		{"escaped", "0::/system.slice/_memory.service\n", "memory.service", "", ""},
		{"first of all", "0::/init.scope\n", "init.scope", "", ""},
		{"a session", "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", "", ""},
		{"a user's unit", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service\n", "user@1000.service", "syncthing.service", ""},
		{"a user's own systemd", "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "user@1000.service", "init.scope", ""},
		{"version 1", "12:memory:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n", "ssh.service", "", ""},
		{"version 1, without systemd", "4:memory:/jobs/7\n1:name=systemd:/\n0::/\n", "", "", ""},
		{"no unit", "0::/\n", "", "", ""},
		{"a slice", "0::/system.slice\n", "", "", ""},
		{"only a suffix", "0::/system.slice/.service\n", "", "", ""},

		{"docker, systemd", "0::/system.slice/docker-" + id + ".scope\n", "docker-" + id + ".scope", "", "docker " + id},
		{"docker, cgroupfs", "0::/docker/" + id + "\n", "", "", "docker " + id},
		{"docker, version 1", "9:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n", "", "", "docker " + id},
		{"docker in docker", "0::/docker/" + id + "/docker/" + id2 + "\n", "", "", "docker " + id2},
		{"from a namespace of control groups", "0::/../../system.slice/docker-" + id + ".scope\n", "docker-" + id + ".scope", "", "docker " + id},
		{"podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", "libpod-" + id + ".scope", "", "podman " + id},
		{"podman of a user", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container\n", "user@1000.service", "libpod-" + id + ".scope", "podman " + id},
		{"podman, a unit's", "0::/system.slice/web.service/libpod-payload-" + id + "\n", "web.service", "", "podman " + id},
		{"podman, cgroupfs", "0::/libpod_parent/libpod-" + id + "\n", "", "", "podman " + id},
		{"podman's monitor", "0::/machine.slice/libpod-conmon-" + id + ".scope\n", "libpod-conmon-" + id + ".scope", "", ""},
		{"kubernetes, systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a.slice/cri-containerd-" + id + ".scope\n", "cri-containerd-" + id + ".scope", "", "containerd " + id},
		{"kubernetes, cgroupfs", "0::/kubepods/besteffort/pod1a2b/" + id + "\n", "", "", "kubernetes " + id},
		{"containerd, no prefix", "0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id + "\n", "containerd.service", "", "containerd " + id},
		{"nerdctl", "0::/system.slice/nerdctl-" + id + ".scope\n", "nerdctl-" + id + ".scope", "", "containerd " + id},
		{"cri-o", "0::/kubepods.slice/crio-" + id + ".scope\n", "crio-" + id + ".scope", "", "cri-o " + id},
		{"cri-o's monitor", "0::/kubepods.slice/crio-conmon-" + id + ".scope\n", "crio-conmon-" + id + ".scope", "", ""},
		{"some engine", "0::/actions_job/" + id + "\n", "", "", "container " + id},
		{"lxc", "0::/lxc.payload.web/system.slice/nginx.service\n", "", "", "lxc web"},
		{"lxc, before 4", "0::/lxc/web/system.slice/nginx.service\n", "", "", "lxc web"},
		{"lxc's monitor", "0::/lxc.monitor.web\n", "", "", ""},
		{"docker in lxc", "0::/lxc.payload.web/docker/" + id + "\n", "", "", "docker " + id},
		{"nearly an id", "0::/docker/" + id[1:] + "\n", "", "", ""},
		{"garbage", "x\n0:\n::::\n", "", "", ""},
	}
	for _, tt := range tests {
		p := parseCgroup(tt.text)
		got := strings.TrimSpace(p.Container.Engine + " " + p.Container.ID)
		if p.Unit != tt.unit || p.UserUnit != tt.user || got != tt.ctnr {
			t.Errorf("%s: %q, %q, %q; want %q, %q, %q", tt.name, p.Unit, p.UserUnit, got, tt.unit, tt.user, tt.ctnr)
		}
	}
}
