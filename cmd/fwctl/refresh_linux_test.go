package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/fault"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

// feedPolicy lets in to 5432 whom one name stands for, to 5433 the other, to 8000
// whom a feed lists.
const feedPolicy = `version = 1
[defaults]
published = "ignore"
[group.partner]
names = ["partner.example"]
[group.other]
names = ["other.example"]
[group.cdn]
file = "cdn.txt"
min_entries = 2
[service.ssh]
ports = ["22/tcp"]
from = ["any"]
[service.db]
ports = ["5432/tcp"]
from = ["partner"]
[service.mirror]
ports = ["5433/tcp"]
from = ["other"]
[service.web]
ports = ["8000/tcp"]
from = ["cdn"]
`

// fed is a box that obeys feedPolicy.
func fed(b *box) *nameserver {
	b.Helper()
	dns := b.serveNames()
	dns.set("partner.example", "198.51.100.1", "2001:db8:7::1")
	dns.set("other.example", "198.51.100.5")
	b.write("cdn.txt", "203.0.113.1\n203.0.113.3\n203.0.113.5\n2001:db8:9::/64\n2001:db8:9:2::/64\n")
	b.old = b.write("old.toml", feedPolicy)
	b.obeyOld()
	return dns
}

// gets returns who of some is let in to a port, by packets.
func (b *box) gets(port uint16, from ...string) string {
	b.Helper()
	var ps []packet.Packet
	for i, f := range from {
		p := packet.Packet{
			Hook: packet.Input, In: "eth0", Proto: packet.TCP, Flags: packet.SYN, SrcPort: 50000 + uint16(i), DstPort: port,
			Src: netip.MustParseAddr(f), Dst: netip.MustParseAddr("192.0.2.10"),
		}
		if p.Src.Is6() {
			p.Dst = netip.MustParseAddr("2001:db8:1::10")
		}
		ps = append(ps, p)
	}
	got, err := b.lab.Probe(ps)
	if err != nil {
		b.Fatal(err)
	}
	var in []string
	for i, v := range got {
		if v == packet.Accept {
			in = append(in, from[i])
		}
	}
	return strings.Join(in, " ")
}

// lets fails unless just these are let in to a port, of all that a test speaks of.
func (b *box) lets(port uint16, want string, of string) {
	b.Helper()
	if got := b.gets(port, strings.Fields(of)...); got != want {
		b.Errorf("to %d get in %q, want %q", port, got, want)
	}
}

// stand is what the kernel has of everybody's rules: the number of its last change,
// or the rules themselves, without counters and dates.
func (b *box) stand() string {
	b.Helper()
	if b.backend.name != "iptables legacy" {
		var gen uint32
		err := b.in(func() (err error) { gen, err = nftables.Generation(b.Context()); return err })
		if err != nil {
			b.Fatal(err)
		}
		return fmt.Sprint(gen)
	}
	return b.sh("for t in iptables ip6tables; do $t-legacy-save | sed -e '/^#/d' -e 's/ \\[.*//'; done; ipset save")
}

// says fails unless a text stands in what was said.
func (b *box) says(said, want string) {
	b.Helper()
	if !strings.Contains(said, want) {
		b.Errorf("want %q in\n%s", want, said)
	}
}

const partners = "198.51.100.1 198.51.100.2 2001:db8:7::1 2001:db8:7::2"

// A changed answer opens the new addresses and closes the old ones, in both
// families. A name that fails keeps what it had, and does not keep the other from
// being followed.
func TestRefreshFollowsNames(t *testing.T) {
	eachKernel(t, func(b *box) {
		dns := fed(b)
		b.lets(5432, "198.51.100.1 2001:db8:7::1", partners)
		before, state := b.stand(), b.confirmed()
		b.says(b.want(0, "refresh"), "unchanged: 2 names and 1 feed of ")
		if b.stand() != before || b.confirmed() != state {
			b.Error("nothing was new, and something was changed")
		}

		dns.set("partner.example", "198.51.100.2", "2001:db8:7::2")
		dns.fail("other.example", dnsmessage.TypeA, dnsmessage.TypeAAAA)
		said := b.want(1, "refresh")
		b.says(said, "warning: other.example: what was read on 2")
		b.says(said, " stays: it does not resolve: server misbehaving")
		b.says(said, "refreshed 2 names and 1 feed of ")
		b.lets(5432, "198.51.100.2 2001:db8:7::2", partners)
		b.lets(5433, "198.51.100.5", "198.51.100.5 198.51.100.6")
		b.says(b.want(1, "status"), "stale      other.example: what was read on ")

		// Half an answer is none: the other half is not gone.
		dns.set("partner.example", "198.51.100.1", "2001:db8:7::1")
		dns.fail("partner.example", dnsmessage.TypeAAAA)
		b.says(b.want(1, "refresh"), "partner.example: what was read on ")
		b.lets(5432, "198.51.100.2 2001:db8:7::2", partners)
		dns.fail("", dnsmessage.TypeA)
		b.want(0, "refresh")
		b.lets(5432, "198.51.100.1 2001:db8:7::1", partners)
		b.want(0, "status")

		// A family that a name has no more is gone; a name that is gone is not.
		dns.set("partner.example", "2001:db8:7::2")
		dns.set("other.example")
		b.says(b.want(1, "refresh"), "other.example: what was read on ")
		b.lets(5432, "2001:db8:7::2", partners)
		b.lets(5433, "198.51.100.5", "198.51.100.5 198.51.100.6")
		b.tidy("after refreshes")
	})
}

// More addresses than a name can have for good reason are not believed.
func TestRefreshBoundsNames(t *testing.T) {
	b := newBox(t, boxBackends[0])
	dns := fed(b)
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("198.51.100.%d", 100+i))
	}
	dns.set("partner.example", many...)
	b.says(b.want(1, "refresh"), "it has 65 addresses now, more than the 64 that are believed")
	b.lets(5432, "198.51.100.1", "198.51.100.1 198.51.100.100 198.51.100.164")
	b.want(0, "refresh", "--force")
	b.lets(5432, "198.51.100.100 198.51.100.164", "198.51.100.1 198.51.100.100 198.51.100.164")
	b.says(b.want(0, "refresh"), "unchanged")
	dns.set("partner.example", many[:64]...)
	b.want(0, "refresh")
	b.lets(5432, "198.51.100.100", "198.51.100.1 198.51.100.100 198.51.100.164")
}

// A feed is followed if it can be read and believed.
func TestRefreshFollowsFeeds(t *testing.T) {
	const all = "203.0.113.1 203.0.113.3 203.0.113.5 203.0.113.11 203.0.113.9 2001:db8:9::1 2001:db8:9:2::1"
	const had = "203.0.113.1 203.0.113.3 203.0.113.5 2001:db8:9::1 2001:db8:9:2::1"
	const six = "2001:db8:9::/64\n2001:db8:9:2::/64\n"
	feeds := map[string]struct {
		text   string
		mode   os.FileMode
		status int
		gets   string
		says   string
	}{
		"grown":              {"203.0.113.1\n203.0.113.3\n203.0.113.5\n203.0.113.11\n203.0.113.9\n" + six, 0o600, 0, all, "refreshed"},
		"another":            {"203.0.113.11\n203.0.113.9\n" + six, 0o600, 0, "203.0.113.11 203.0.113.9 2001:db8:9::1 2001:db8:9:2::1", "refreshed"},
		"shrunk a little":    {"203.0.113.1\n203.0.113.3\n2001:db8:9::/64\n", 0o600, 0, "203.0.113.1 203.0.113.3 2001:db8:9::1", "refreshed"},
		"shrunk by more":     {"203.0.113.1\n" + six, 0o600, 1, had, "it has lost more than half of what it held of IPv4"},
		"a family gone":      {"203.0.113.1\n203.0.113.3\n203.0.113.5\n", 0o600, 1, had, "it has lost more than half of what it held of IPv6"},
		"below min_entries":  {"203.0.113.0/24\n", 0o600, 1, had, "has 1 entry, fewer than 2"},
		"empty":              {"# nothing\n", 0o600, 1, had, "has 0 entries, fewer than 2"},
		"malformed":          {"203.0.113.1\n203.0.113.11\n<html>\n", 0o600, 1, had, `line 3: "<html>" is not an address`},
		"writable by others": {"203.0.113.11\n203.0.113.9\n" + six, 0o666, 1, had, "others may write it"},
		"not changed":        {"", 0o600, 0, had, "unchanged"},
		"missing":            {"", 0, 1, had, "no such file"},
	}
	b := newBox(t, boxBackends[0])
	dns := fed(b)
	feed := filepath.Join(b.dir, "cdn.txt")
	good, _ := os.ReadFile(feed)
	for name, f := range feeds {
		b.write("cdn.txt", string(good))
		b.want(0, "apply", "--no-confirm", b.old)
		b.lets(8000, had, all)
		if f.text != "" {
			b.write("cdn.txt", f.text)
		}
		if err := os.Chmod(feed, f.mode); err != nil {
			t.Fatal(err)
		}
		if f.mode == 0 {
			_ = os.Remove(feed)
		}
		dns.set("partner.example", "198.51.100.1", "198.51.100."+fmt.Sprint(100+len(name)))
		status, said := b.run("refresh")
		if status != f.status || !strings.Contains(said, f.says) && f.says != "unchanged" {
			t.Errorf("%s: status %d, want %d\n%s", name, status, f.status, said)
		}
		if got := b.gets(8000, strings.Fields(all)...); got != f.gets {
			t.Errorf("%s: %q get in, want %q", name, got, f.gets)
		}
		b.lets(5432, "198.51.100."+fmt.Sprint(100+len(name)), "198.51.100."+fmt.Sprint(100+len(name))) // the name is followed all the same
		_ = os.Chmod(feed, 0o600)
	}
}

// --force believes a feed that has shrunk, but nothing that cannot be loaded.
func TestRefreshForced(t *testing.T) {
	const all = "203.0.113.1 203.0.113.3 2001:db8:9::1"
	b := newBox(t, boxBackends[0])
	fed(b)
	b.write("cdn.txt", "203.0.113.1\n2001:db8:9::/64\n")
	b.want(1, "refresh")
	b.lets(8000, all, all)
	b.says(b.want(1, "status"), "edited     the policy's feeds changed since; `fwctl refresh` reads them\n")
	b.want(0, "refresh", "--force")
	b.lets(8000, "203.0.113.1 2001:db8:9::1", all)
	b.want(0, "status")
	b.write("cdn.txt", "203.0.113.1\n")
	b.want(1, "refresh", "--force")
	b.lets(8000, "203.0.113.1 2001:db8:9::1", all)

	b.write("cdn.txt", "203.0.113.3\n203.0.113.4\n")
	b.want(1, "refresh")
	b.want(0, "apply", "--no-confirm", b.old) // believes it, too
	b.want(0, "status")
	b.lets(8000, "203.0.113.3", all)
}

// The text of a policy that was edited does not get in force by a refresh, nor does
// a boot after it load that; the names in force are the confirmed ones.
func TestRefreshLeavesEditsAlone(t *testing.T) {
	eachKernel(t, func(b *box) {
		dns := fed(b)
		b.write("old.toml", strings.Replace(strings.Replace(feedPolicy, "22/tcp", "4444/tcp", 1), "partner.example", "other.example", 1))
		dns.set("partner.example", "198.51.100.2")
		b.write("cdn.txt", "203.0.113.1\n203.0.113.3\n203.0.113.11\n2001:db8:9::/64\n2001:db8:9:2::/64\n")
		b.want(0, "refresh")
		check := func() {
			b.Helper()
			b.lets(22, "203.0.113.99", "203.0.113.99")
			b.lets(4444, "", "203.0.113.99")
			b.lets(5432, "198.51.100.2", "198.51.100.1 198.51.100.2 198.51.100.5")
			b.lets(8000, "203.0.113.1 203.0.113.3 203.0.113.11", "203.0.113.1 203.0.113.3 203.0.113.5 203.0.113.11")
		}
		check()
		b.says(b.want(1, "status"), "edited     the policy's files changed since; `fwctl apply` applies them")

		// Neither a boot nor a rollback needs names or feeds.
		_ = os.Remove(filepath.Join(b.dir, "cdn.txt"))
		dns.fail("partner.example", dnsmessage.TypeA, dnsmessage.TypeAAAA)
		b.want(0, "off", "--yes")
		asked := dns.queries()
		b.want(0, "boot") // switched off
		b.want(0, "refresh")
		b.lets(4444, "203.0.113.99", "203.0.113.99")
		b.want(0, "rollback", "--no-confirm", "0")
		if dns.queries() == asked {
			b.Error("a rollback does not ask for names")
		}
		check()
		b.sh("nft delete table inet fwctl 2>/dev/null || { for t in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do $t -F; done; }")
		_ = os.RemoveAll(filepath.Join(b.dir, "run"))
		asked = dns.queries()
		b.want(0, "boot")
		if dns.queries() != asked {
			b.Error("a boot asked for names")
		}
		check()
	})
}

// A boot without name server, feed and policy loads what the last refresh left.
func TestBootNeedsNoNames(t *testing.T) {
	b := newBox(t, boxBackends[0])
	dns := fed(b)
	dns.set("partner.example", "198.51.100.2")
	b.write("cdn.txt", "203.0.113.1\n203.0.113.11\n203.0.113.9\n2001:db8:9::/64\n2001:db8:9:2::/64\n")
	b.want(0, "refresh")
	b.resolver = b.write("resolv.conf", "nameserver 203.0.113.53\noptions timeout:1 attempts:1\n") // nobody answers there
	for _, name := range []string{"cdn.txt", "old.toml"} {
		if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.sh("nft delete table inet fwctl")
	start := time.Now()
	b.says(b.want(0, "boot"), "loaded the confirmed policy")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %s, as if it had asked", took)
	}
	b.lets(5432, "198.51.100.2", "198.51.100.1 198.51.100.2")
	b.lets(8000, "203.0.113.1 203.0.113.11", "203.0.113.1 203.0.113.3 203.0.113.11")
	// Nobody answers, nothing can be read: everything stays.
	state := b.confirmed()
	b.want(1, "refresh")
	b.lets(5432, "198.51.100.2", "198.51.100.1 198.51.100.2")
	if b.confirmed() != state {
		t.Error("the state was changed")
	}
}

// Of refreshes at once one does it, and the others find it done.
func TestRefreshesAtOnce(t *testing.T) {
	b := newBox(t, boxBackends[0])
	dns := fed(b)
	dns.set("partner.example", "198.51.100.2")
	var all []*exec.Cmd
	for range 4 {
		c := b.fwctl("refresh")
		if err := b.in(c.Start); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	b.lets(5432, "198.51.100.2", "198.51.100.1 198.51.100.2")
	if n := strings.Count(b.want(0, "history"), "  refresh "); n != 1 {
		t.Errorf("%d refreshes in the history", n)
	}
	b.want(0, "status")
	b.tidy("refreshes at once")
}

// While a change waits for its confirmation nothing is refreshed.
func TestRefreshDuringAnApply(t *testing.T) {
	b := newBox(t, boxBackends[0])
	dns := fed(b)
	b.want(0, "apply", "--detach", "--confirm", "1m", b.new)
	dns.set("partner.example", "198.51.100.2")
	b.says(b.want(2, "refresh"), "waits for a confirmation until")
	if got := b.decides(); got != "new" {
		t.Errorf("the kernel does what is %s", got)
	}
	b.want(0, "rollback")
	b.lets(5432, "198.51.100.1", "198.51.100.1 198.51.100.2")
	b.want(0, "refresh")
	b.lets(5432, "198.51.100.2", "198.51.100.1 198.51.100.2")
	b.quiet(2 * time.Second)
}

// Sources of kept services go with the names that let them in, and it is said. Who
// works by a connection is not locked out.
func TestRefreshIsGuarded(t *testing.T) {
	b := newBox(t, boxBackends[0])
	dns := b.serveNames()
	dns.set("admin.example", "10.77.0.2", "198.51.100.1")
	b.old = b.write("old.toml", strings.Replace(boxOld, `from = ["any"]`, `from = ["admin"]`, 1)+
		"[group.admin]\nnames = [\"admin.example\"]\n[safety]\nkeep = [\"ssh\"]\n")
	b.obeyOld()
	server := b.listen("22")
	p := b.plug()
	l := p.logIn(server)
	dns.set("admin.example", "198.51.100.1")
	status, said := l.run("refresh")
	if status != exitError || !strings.Contains(said, "would lock out your own connection") || !strings.Contains(said, "come by another connection") {
		t.Errorf("status %d\n%s", status, said)
	}
	if _, err := p.dial("22", time.Second); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	_ = l.socket.Close()
	said = b.want(0, "refresh") // as a timer does, whom nobody waits for
	b.says(said, "warning: would lock out a source of service.ssh, which is kept")
	if strings.Contains(said, "it is not known by which connection") {
		t.Errorf("%s", said)
	}
	b.lets(22, "198.51.100.1", "198.51.100.1 198.51.100.2")
	var timeout interface{ Timeout() bool }
	if _, err := p.dial("22", 500*time.Millisecond); !errors.As(err, &timeout) {
		t.Errorf("who is gone from the answer gets in: %v", err)
	}
}

// Of a feed with a million lines only the difference is sent.
func TestRefreshOfAMillion(t *testing.T) {
	b := newBox(t, boxBackends[0])
	var text strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "11.%d.%d.%d\n", i>>15&255, i>>7&255, i<<1&255)
	}
	b.write("feed.txt", text.String())
	policy := b.write("million.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n[group.bad]\nfile = \"feed.txt\"\n"+
		"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[block.bad]\nfrom = [\"bad\"]\n")
	b.want(0, "apply", "--no-confirm", policy)
	start := time.Now()
	b.want(0, "refresh")
	t.Logf("nothing changed: %s", time.Since(start).Round(time.Millisecond))
	b.lets(22, "11.200.0.2 203.0.113.77", "11.0.0.2 11.200.0.2 203.0.113.77")
	b.write("feed.txt", strings.Replace(text.String(), "11.0.0.2\n", "203.0.113.77\n", 1))
	var out struct{ Changes []string }
	start = time.Now()
	cmd := b.fwctl("refresh", "--json")
	var said []byte
	err := b.in(func() (err error) { said, err = cmd.Output(); return err })
	t.Logf("one line of a million: %s, of which %s in user mode", time.Since(start).Round(time.Millisecond), cmd.ProcessState.UserTime().Round(time.Millisecond))
	if err != nil || json.Unmarshal(said, &out) != nil || len(out.Changes) == 0 || len(out.Changes) > 3 {
		t.Errorf("%v, %s", err, said)
	}
	b.lets(22, "11.0.0.2 11.200.0.2", "11.0.0.2 11.200.0.2 203.0.113.77")
}

// A refresh, killed at any system call, leaves kernel and state agreeing, on the old
// addresses or on the new; the next one does the rest, and rollback 0 knows it.
func TestRefreshKilledAnywhere(t *testing.T) {
	eachKernel(t, func(b *box) {
		const policy = "version = 1\n[defaults]\npublished = \"ignore\"\n[group.cdn]\nfile = \"cdn.txt\"\n[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"cdn\"]\n"
		addrs := []string{"203.0.113.1", "203.0.113.2"}
		b.write("cdn.txt", addrs[0]+"\n")
		b.old = b.write("old.toml", policy)
		b.obeyOld()
		killed := func(at int, after bool) (out fault.Outcome) {
			c := b.fwctl("refresh")
			if err := b.in(func() (err error) { out, err = fault.Kill(c, at, after); return err }); err != nil {
				b.Fatal(err)
			}
			return out
		}
		b.write("cdn.txt", addrs[1]+"\n")
		whole := killed(0, false)
		r := rand.New(rand.NewPCG(gen.Seed(b.T), 35+uint64(len(b.backend.name))))
		for i := range gen.Dose(b.T, "FWCTL_KILLS", 8) {
			want := addrs[i%2]
			b.write("cdn.txt", want+"\n")
			at := 1 + r.IntN(whole.Calls)
			killed(at, i%2 == 1)
			b.quiet(30 * time.Second)
			what := fmt.Sprintf("killed at call %d of %d", at, whole.Calls)
			if got := b.gets(8000, addrs...); got != addrs[0] && got != addrs[1] {
				b.Errorf("%s: %q get in", what, got)
			}
			if _, said := b.run("status"); !strings.Contains(said, "kernel     as confirmed") {
				b.Errorf("%s: %s", what, said)
			}
			b.tidy(what)
			b.want(0, "refresh")
			b.lets(8000, want, strings.Join(addrs, " "))
			kept, _ := filepath.Glob(filepath.Join(b.dir, "state", "policy-*"))
			if text, _ := os.ReadFile(kept[0]); len(kept) != 1 || string(text) != b.confirmed() {
				b.Errorf("%s: number 0 is not the confirmed policy, of %v", what, kept)
			}
			if b.Failed() {
				return
			}
		}
	})
}
