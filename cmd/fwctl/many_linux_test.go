package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
)

// A service that every one of the policies has, and that none of them touches.
const untouched = `
[service.untouched]
ports = ["7/tcp"]
from = ["10.99.2.0/24"]
limit = "1000/second"
log = true
shared = true
`

const everyHook = `version = 1
[defaults]
published = "ignore"
outbound = "drop"
routed = "drop"
`

// Many policies, one after the other, lose no counter of what they have in common,
// and leave nothing in the kernel that the last of them does not need.
func TestManyApplies(t *testing.T) {
	eachKernel(t, func(b *box) {
		lab := netlab.New(b.T, gen.Host())
		lab.Early = true // policies may enforce published ports
		b.lab, b.do = lab, lab.Do
		b.sh(b.backend.foreign)
		r := rand.New(rand.NewPCG(gen.Seed(b.T), 51))
		n, counted, last := gen.Dose(b.T, "FWCTL_APPLIES", 12), 0, uint64(0)
		for i := range n {
			text := gen.Policy(r, gen.Options{}) + untouched
			for strings.Contains(text, "partner.example") { // nobody answers for names here
				text = gen.Policy(r, gen.Options{}) + untouched
			}
			// Where it comes to be or ends that published ports are enforced, services count anew.
			text = strings.Replace(text, `published = "enforce"`, `published = "ignore"`, 1)
			if !strings.Contains(text, "published =") {
				text = strings.Replace(text, "[defaults]\n", "[defaults]\npublished = \"ignore\"\n", 1)
			}
			dir := filepath.Join(b.dir, strconv.Itoa(i))
			if err := os.CopyFS(dir, gen.FS(text)); err != nil {
				b.Fatal(err)
			}
			policy := filepath.Join(dir, gen.Name)
			status, said := b.run("apply", "--no-confirm", policy)
			if status == exitError && strings.Contains(said, "cannot") {
				continue // this backend cannot say it, which it says before anything is changed
			}
			if status != 0 {
				b.Fatalf("apply %d: status %d\n%s\n%s", i, status, said, text)
			}
			if now, ok := b.count("in eth0 tcp 10.99.2.3:4000 -> 192.0.2.10:7"); ok {
				if counted++; now < last {
					b.Errorf("apply %d: the counter of the service went from %d to %d", i, last, now)
				}
				last = now
			}
		}
		b.obeyOld()
		left := b.objects()
		b.want(0, "off", "--yes")
		b.want(0, "apply", "--no-confirm", b.write("hooks.toml", everyHook)) // base chains stay
		b.obeyOld()
		if fresh := b.objects(); left != fresh {
			b.Errorf("after %d applies the kernel holds\n%s\nafter one\n%s", n, left, fresh)
		}
		b.Logf("%d applies, the counter read %d times, %d at last", n, counted, last)
	})
}

// count sends a packet and returns what the counters of the service say; false if it
// has none.
func (b *box) count(words string) (sum uint64, ok bool) {
	b.Helper()
	e, err := packet.ParseExpr(words)
	if err != nil {
		b.Fatal(err)
	}
	p, err := e.Packet(nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := b.lab.Probe([]packet.Packet{p}); err != nil {
		b.Fatal(err)
	}
	list := "nft list table inet fwctl"
	if b.backend.name != "nftables" {
		list = b.backend.save + " -c"
	}
	found := false
	for line := range strings.Lines(b.sh(list)) {
		if m := counters.FindStringSubmatch(line); m != nil && strings.Contains(line, "service.untouched") {
			n, _ := strconv.ParseUint(m[1]+m[2], 10, 64)
			sum, found = sum+n, true
		}
	}
	return sum, found
}

var counters = regexp.MustCompile(`packets (\d+)|^\[(\d+):`)

// successors are names that apply gives sets of a program in the kernel.
var successors = regexp.MustCompile(`((?:@|set |map )[^\s/]+)/\d+\b`)

// objects lists what the kernel has of fwctl's, without counters, and sets by the
// program's names.
func (b *box) objects() string {
	b.Helper()
	text := b.sh("nft -s list ruleset; iptables-legacy-save; ip6tables-legacy-save; ipset list -name | sort")
	var lines []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " [")
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, successors.ReplaceAllString(strings.TrimSpace(line), "$1"))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintln(strings.Join(lines, "\n"))
}
