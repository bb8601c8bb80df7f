package laws

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
)

// nftTestsDir holds nft's own tests, which are no part of the repository.
const nftTestsDir = "../../../shared/corpus/nftables-tests/py"

// testedRules is how many of nft's 1,700 test rules the ordinary run tries.
const testedRules = 120

// What the reader makes of the rules with which nft tests each of its expressions
// is what the kernel does with them.
func TestKernelAgreesOnTestsOfNFT(t *testing.T) {
	gen.Corpus(t)
	t.Parallel()
	f := &testedFiles{foreignCheck: &foreignCheck{T: t, lab: netlab.New(t, gen.Host()), budget: foreignBudget}, r: rand.New(rand.NewPCG(gen.Seed(t), 21))}
	rules := f.rules()
	f.r.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	for _, rule := range rules[:min(len(rules), gen.Dose(t, "FWCTL_RULESETS", testedRules))] {
		f.rule(rule)
	}
	t.Logf("%d rules tried, %d do not load; %d packets, of %d nobody knows; %v", f.tried, f.refused, f.packets, f.open, f.hits)
	if f.tried == 0 || f.packets < 10*f.tried {
		t.Errorf("only %d packets for %d rules", f.packets, f.tried)
	}
}

// testedFiles are the files of nft's tests.
type testedFiles struct {
	*foreignCheck
	r     *rand.Rand
	tried int
}

// testedRule is a rule with the file that it is from.
type testedRule struct {
	*gen.NFTTest
	hook packet.Hook
	text string
}

// rules returns those of all files that stand at a hook for IP packets, but for
// limits and quotas, which the packets spend.
func (f *testedFiles) rules() []testedRule {
	files, err := filepath.Glob(filepath.Join(nftTestsDir, "*", "*.t"))
	if err != nil || len(files) == 0 {
		f.Fatal(err, len(files))
	}
	var out []testedRule
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		test := gen.ReadNFTTest(string(text))
		for _, h := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
			if !strings.HasPrefix(test.Table, "i") || !strings.HasPrefix(test.Hook, "type filter hook "+h.String()) {
				continue
			}
			for _, rule := range test.Rules {
				if !strings.Contains(rule, "limit") && !strings.Contains(rule, "quota") {
					out = append(out, testedRule{test, h, rule})
				}
			}
		}
	}
	return out
}

// rule loads a rule that accepts what it lets through, and sends packets that it
// is said to accept, packets that it is not, and others.
func (f *testedFiles) rule(rule testedRule) {
	text, ok := f.loadRule(rule)
	if !ok {
		f.refused++
		return
	}
	f.tried++
	ps := f.near(rule.hook)
	for _, p := range gen.NFTPackets(f.r, 200, gen.NFTOptions{}) {
		if p.Hook == rule.hook && p.State == packet.New {
			ps = append(ps, p)
		}
	}
	bad, err := f.mismatch(ps)
	if err != nil || bad != nil {
		f.Errorf("%v %s\n%s", err, text, bad)
	}
}

// loadRule loads a rule as a rule that accepts, or as it is if it ends with a
// verdict. Of what it needs nft may refuse some.
func (f *testedFiles) loadRule(rule testedRule) (string, bool) {
	for _, end := range []string{" accept", ""} {
		lines := rule.Commands("drop", rule.text+end)
		for range len(lines) {
			text := strings.Join(lines, "\n")
			_, err := f.lab.NFT(f.unload()+text, "-f", "-")
			if err == nil {
				f.loaded = []string{rule.Table}
				return text, true
			}
			n, ok := f.refusedAt(err)
			if !ok || n >= len(lines)-1 {
				break
			}
			lines = slices.Delete(lines, n, n+1)
		}
	}
	return "", false
}

// near returns packets that the rule is said to accept, and that it is not, of
// each protocol.
func (f *testedFiles) near(h packet.Hook) []packet.Packet {
	rules, err := f.read()
	if err != nil {
		f.Fatal(err)
	}
	var out []packet.Packet
	for _, p := range []packet.Packet{{Hook: h, Dst: gen.Host().Interfaces[1].Addrs[0].Addr()}, {Hook: h, Dst: gen.Host().Interfaces[1].Addrs[2].Addr()}} {
		v, err := f.view(rules, p)
		if err != nil {
			f.Fatal(err)
		}
		if v.space == nil {
			continue
		}
		for _, proto := range []packet.Proto{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, packet.SCTP, packet.DCCP, 47, 51} {
			of := packet.All{v.space.Frame(h), packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(proto)))}}}
			frame, err := v.space.Set(of)
			if err != nil {
				f.Fatal(err)
			}
			yes, errYes := v.space.And(frame, v.always)
			no, errNo := v.space.Minus(frame, v.ever)
			if errYes != nil || errNo != nil {
				f.Fatal(errYes, errNo)
			}
			out = append(out, f.witnesses(v.space, h, yes, no)...)
		}
	}
	return out
}

// witnesses returns a packet of each set, if the laboratory can send it.
func (f *testedFiles) witnesses(s *packet.Space, h packet.Hook, sets ...packet.Node) []packet.Packet {
	var out []packet.Packet
	for _, set := range sets {
		w, err := s.Witness(set)
		if err != nil {
			f.Fatal(err)
		}
		if w == nil {
			continue
		}
		p := w.Packet
		p.Hook, p.State = h, gen.KernelState(p)
		if p.In != "lo" && p.Out != "lo" && gen.Deliverable(p, gen.Host()) {
			out = append(out, p)
		}
	}
	return out
}
