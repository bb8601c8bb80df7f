package live

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/packet"
)

func TestReachIsAConnection(t *testing.T) {
	r := Reach{Kind: ReachConnection, Remote: netip.MustParseAddrPort("203.0.113.9:51234"), Local: netip.MustParseAddrPort("192.0.2.1:22")}
	if c := r.Connection(); c != (Connection{Proto: packet.TCP, Src: r.Remote, Dst: r.Local}) {
		t.Errorf("%+v", c)
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]process{
		"27999 (cat) R 27988 27988 27251 0 -1 4194304 98":    {27999, 27988, "cat", 0},
		"5 (a) b (c) S 4 5 5 34816 -1":                       {5, 4, "a) b (c", 136 << 8},
		"5 (x\n(S 1 1 1 1) S 4 5 5 1025 -1\n":                {5, 4, "x?(S 1 1 1 1", 4<<8 | 1},
		"812 (sshd: \x1b[2J) S 1 5 5 -2147483648 -1 4194304": {812, 1, "sshd: ?[2J", 1 << 31},
	} {
		if p, err := parseStat(text); err != nil || p != want {
			t.Errorf("%q: %+v (%v), want %+v", text, p, err, want)
		}
	}
	for _, text := range []string{"", "5", "5 (a", "5 a) S 1 1 1 1", "5 (a) S 1 1", "x (a) S 1 1 1 1", "5 (a) S x 1 1 1", "5 (a) S 1 1 1 4294967296"} {
		if p, err := parseStat(text); err == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
}

// Whatever a process calls itself, its parent is the one that the kernel wrote.
func FuzzParseStat(f *testing.F) {
	f.Add("a) b (c")
	f.Add(") S 1 1 1 1 1")
	f.Fuzz(func(t *testing.T, name string) {
		p, err := parseStat(fmt.Sprintf("5 (%s) S 4 5 5 1025 -1 4194304\n", name))
		if err != nil || p != (process{5, 4, printable(name), 4<<8 | 1}) {
			t.Errorf("%q: %+v (%v)", name, p, err)
		}
		_, _ = parseStat(name)
		_, _ = parseSSH(name)
		_, _ = parsePane(environment{"TMUX=" + name})
		_ = pane{}.client(name)
		_, _ = parseLogin(name)
		_ = parseScope(name)
		_, _, _ = parseOwner(name)
		_, _ = parseTable(name)
	})
}

func TestConsoles(t *testing.T) {
	for _, c := range []struct {
		major, minor uint32
		console      bool
		pseudo       bool
	}{
		{4, 1, true, false}, {4, 64, true, false}, // tty1, ttyS0
		{5, 1, true, false}, {5, 0, false, false}, {5, 2, false, false}, // console, tty, ptmx
		{204, 64, true, false}, {229, 0, true, false}, {188, 1, true, false}, {166, 0, true, false},
		{136, 0, false, true}, {136, 300, false, true}, {143, 9, false, true}, {2, 1, false, false}, {0, 0, false, false},
	} {
		dev := tty(c.minor&0xff | c.major<<8 | c.minor&^0xff<<12)
		if dev.major() != c.major || dev.minor() != c.minor || dev.console() != c.console || dev.pseudo() != c.pseudo {
			t.Errorf("%d:%d is read as %d:%d, console %t, pseudo %t", c.major, c.minor, dev.major(), dev.minor(), dev.console(), dev.pseudo())
		}
	}
}

func TestParseSSH(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.9 51234 192.0.2.1 22":          "203.0.113.9:51234 192.0.2.1:22",
		"2001:db8::9 51234 2001:db8::1 2222":      "[2001:db8::9]:51234 [2001:db8::1]:2222",
		"fe80::9%eth0 51234 fe80::1%eth0 22":      "[fe80::9]:51234 [fe80::1]:22",
		"::ffff:203.0.113.9 1 ::ffff:192.0.2.1 2": "203.0.113.9:1 192.0.2.1:2",
		"UNKNOWN 65535 UNKNOWN 65535":             "",
		"203.0.113.9 51234 22":                    "",
		"203.0.113.9 65536 192.0.2.1 22":          "",
		"":                                        "",
	} {
		got := ""
		if c, ok := parseSSH(text); ok {
			got = c.Remote.String() + " " + c.Local.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParsePane(t *testing.T) {
	p, ok := parsePane(environment{"TMUX=/tmp/a,b/default,812,3", "TMUX_PANE=%5", "TMUX=/other,1,1"})
	if want := (pane{"/tmp/a,b/default", 812, "$3", "%5"}); !ok || p != want {
		t.Errorf("%+v %t, want %+v", p, ok, want)
	}
	for _, v := range []string{"", "x", "/s,x,0", ",812,0"} {
		if p, ok := parsePane(environment{"TMUX=" + v}); ok {
			t.Errorf("%q: %+v", v, p)
		}
	}
}

func TestClientOfPane(t *testing.T) {
	const text = "pane %1 $0\npane %5 $3\npane %5 $4\nclient $0 1700000900 70\nclient $3 1700000100 71\nclient $4 1700000200 72\nclient $3 1700000150 73\nclient $3 x 74\nclient $3\n"
	for _, c := range []struct {
		pane pane
		want int
	}{
		{pane{session: "$3", id: "%5"}, 72}, // in two sessions
		{pane{session: "$3", id: "%1"}, 70}, // moved
		{pane{session: "$3"}, 73},
		{pane{session: "$3", id: "%9"}, 0},
		{pane{session: "$9"}, 0},
	} {
		if got := c.pane.client(text); got != c.want {
			t.Errorf("%+v: client %d, want %d", c.pane, got, c.want)
		}
	}
}

func TestParseLogin(t *testing.T) {
	const text = "# This is private data. Do not parse.\nUID=0\nUSER=root\nACTIVE=1\nREMOTE=0\nTYPE=tty\nCLASS=user\nSEAT=seat0\nTTY=tty1\nLEADER=812\n"
	if leader, local := parseLogin(text); leader != 812 || !local {
		t.Errorf("leader %d, local %t", leader, local)
	}
	for _, change := range []string{"REMOTE=0", "SEAT=seat0"} {
		if _, local := parseLogin(strings.Replace(text, change, "X=0", 1)); local {
			t.Errorf("local without %s", change)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/user-0.slice/session-c2.scope\n":                                       "c2",
		"2:cpu:/\n1:name=systemd:/user.slice/user-0.slice/session-7.scope/x\n0::/\n":           "7",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-session.scope\n": "",
		"0::/\n": "",
	} {
		if got := parseScope(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseOwner(t *testing.T) {
	for text, want := range map[string][2]uint32{
		"Name:\tx\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n":                       {0, 0},
		"Name:\tUid: 7\nUid:\t1000\t0\t0\t0\nGid:\t1000\t1000\t1000\t1000\n":   {1000, 1000},
		"Uid:\t0\t1000\t0\t1000\nGid:\t0\t100\t0\t100\nGroups:\t4 24 27 30 \n": {1000, 100},
	} {
		if uid, gid, ok := parseOwner(text); !ok || uid != want[0] || gid != want[1] {
			t.Errorf("%q: %d, %d (%t), want %d", text, uid, gid, ok, want)
		}
	}
	for _, text := range []string{"", "Uid:\t1\t1\t1\t1\n", "Uid:\tx\t1\t1\t1\nGid:\t1\t1\t1\t1\n"} {
		if _, _, ok := parseOwner(text); ok {
			t.Errorf("%q has an owner", text)
		}
	}
}
