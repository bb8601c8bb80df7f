package rules_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// What holds is proved, and what a single address, port, interface or protocol
// makes false is found.
func TestProve(t *testing.T) {
	rs := ruleset(t, tests)
	for i, p := range rs.Prove(now) {
		test := rs.Tests[i]
		if good := test.Name[:4] == "good"; good != (p.Result == rules.Holds) || good != (p.Example == nil) {
			t.Errorf("[test.%s]: %v %v %+v", test.Name, p.Result, p.Groups, p.Example)
		}
	}
}

// A failed test says which packets do not get what it expects.
func TestProofsAreReadable(t *testing.T) {
	rs := ruleset(t, tests)
	got := map[string]string{}
	for i, p := range rs.Prove(now) {
		if p.Result == rules.Fails {
			got[rs.Tests[i].Name] = strings.Join(p.Groups, "; ")
		}
	}
	for name, want := range map[string]string{
		"bad-except":    "22/tcp from 198.51.100.77",
		"bad-world":     "22/tcp from 198.51.100.128/25",
		"bad-family":    "22/tcp from 2001:db8:1::/48",
		"bad-port":      "7999/tcp from 203.0.113.0/25",
		"bad-address":   "8005/tcp from 203.0.113.128",
		"bad-interface": "5432/tcp from 10.20.0.0/16 in others",
		"bad-target":    "vrrp from 10.0.0.0/8 to 224.0.0.18",
		"bad-type":      "icmp type 3,8,11-12 from any",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("[test.%s]: %q, want %q", name, got[name], want)
		}
	}
}

// A proof agrees with the reference: no packet of a sample contradicts what is
// proved, and the counterexample of what is refuted is one.
func TestProofsAgreeWithDecide(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	h := gen.Host()
	count := map[rules.ProofResult]int{}
	for range 120 {
		text := gen.Policy(r, gen.Options{}) + randomTests(r)
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		for i, p := range rs.Prove(h.Time) {
			test := rs.Tests[i]
			count[p.Result]++
			trial := rs.Try(test, h.Time)
			switch {
			case p.Result == rules.Fails:
				if d := rs.Decide(p.Example.Packet, h.Time); d.Verdict == test.Expect || d.Verdict != p.Example.Decision.Verdict || !rs.Matches(&test.Match, p.Example.Packet, h.Time) {
					t.Errorf("[test.%s] %s: no counterexample: %v, %+v\n%s", test.Name, test.Text, p.Example, d, text)
				}
			case len(trial.Wrong) > 0:
				t.Errorf("[test.%s] %s: %v, but %v\n%s", test.Name, test.Text, p.Result, trial.Wrong[0], text)
			case p.Result == rules.Vacuous && trial.Packets > 0:
				t.Errorf("[test.%s] %s: vacuous, but a sample has %d packets\n%s", test.Name, test.Text, trial.Packets, text)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Log(count)
	if count[rules.Holds] < 100 || count[rules.Fails] < 100 {
		t.Errorf("one-sided: %v", count)
	}
}

func randomTests(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	for i := range 6 {
		src := pick("any", "198.51.100.0/24", "private", "2001:db8::/32", "10.0.0.0/8", "203.0.113.9")
		shape := pick("tcp", "udp", "sctp") + " " + src + " -> host:" + pick("22", "80", "53", "1024-65535", "8000")
		switch r.IntN(6) {
		case 0:
			shape = "any " + src + " -> host"
		case 1:
			shape = "icmp " + src + " -> any"
		case 2:
			shape = "output tcp any -> any:" + pick("22", "53", "443")
		case 3:
			shape = "forward tcp any -> any:" + pick("22", "53", "443")
		}
		except := ""
		if r.IntN(3) == 0 {
			except = "except = [\"" + pick("private", "198.51.100.0/25", "203.0.113.9") + "\"]\n"
		}
		fmt.Fprintf(&b, "\n[test.t%d]\npacket = %q\n%sexpect = %q\n", i, shape, except, pick("drop", "accept"))
	}
	return b.String()
}

// A limit counts as unspent in tests, and a date as what it is on the day.
func TestProofsOfLimitsAndDates(t *testing.T) {
	rs := ruleset(t, `
[service.a]
ports = ["80/tcp"]
from = ["any"]
limit = "10/minute"
[service.b]
ports = ["81/tcp"]
from = ["any"]
expires = 2099-01-01
[service.c]
ports = ["82/tcp"]
from = ["any"]
expires = 2020-01-01
[test.limited]
packet = "tcp any -> host:80"
expect = "accept"
[test.dated]
packet = "tcp any -> host:81"
expect = "accept"
[test.over]
packet = "tcp any -> host:82"
expect = "drop"
`)
	for i, p := range rs.Prove(now) {
		if p.Result != rules.Holds {
			t.Errorf("[test.%s]: %v", rs.Tests[i].Name, p.Example)
		}
	}
	if d := rs.Prove(now)[0]; d.Example != nil && d.Example.Decision.Verdict == packet.Drop {
		t.Error(d)
	}
}
