package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

func newExplain(g *global) *cobra.Command {
	var policy, host string
	var onHost bool
	c := &cobra.Command{
		Use:   "explain [flags] PACKET|FWnnn",
		Short: "what becomes of a packet, and why; what a finding means",
		Long: `explain says what a policy does with a packet, and which line of it decides.
With --live it says what the running host does: which table, chain and rule decide,
what that rule has counted, and what the policy says to it, the one named or the
confirmed one. That needs CAP_NET_ADMIN.

PACKET is  [in IF] [out IF] PROTO SRC[:PORT] -> DST[:PORT] [TYPE[/CODE]] [STATE]
with "to" for "->" where the shell would see a redirection. "in" alone is a
packet for this host, "out" alone one from it, both one through it. "host" is an
address of the host: of this one, or of the one whose facts --host names; where
the policy does not fit this host, an address stands in for it.

FWnnn is the code of a finding of audit: explain says what it means and what to do
about it; "fwctl explain FW" lists them all.

Exit status: 0, whatever the verdict; 2 error; 3 with --live, if the verdict
depends on something that is not understood.`,
		Example: `  fwctl explain tcp 203.0.113.9 to 192.0.2.10:22
  fwctl explain 'in eth0 udp [2001:db8::1]:5353 -> [ff02::fb]:5353'
  fwctl explain --policy site.toml --host web1.json icmp 203.0.113.9 to host echo-request
  fwctl explain --live in eth0 tcp 203.0.113.9 to host:22
  fwctl explain FW101`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("which packet?", "for example: fwctl explain tcp 203.0.113.9 to 192.0.2.10:22")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			words := strings.Join(args, " ")
			switch {
			case strings.HasPrefix(words, "FW"):
				return g.explainCode(words)
			case onHost && host != "":
				return usage("--live and --host exclude each other", "")
			case onHost && !c.Flags().Changed("policy"):
				return g.explainLive(c.Context(), words, "")
			case onHost:
				return g.explainLive(c.Context(), words, policy)
			}
			return g.explain(c.Context(), words, policy, host)
		},
	}
	c.Flags().BoolVar(&onHost, "live", false, "ask the running host")
	c.Flags().StringVar(&policy, "policy", defaultPolicy, "ask the policy in `FILE`")
	c.Flags().StringVar(&host, "host", "", "take the facts of the host from `FILE`, as \"fwctl facts\" prints them")
	c.Flags().SetInterspersed(false) // a packet's words are no flags
	return c
}

// explanation is the answer of explain.
type explanation struct {
	Changed bool           `json:"changed"`
	Packet  string         `json:"packet"`
	Verdict packet.Verdict `json:"verdict"`
	Reason  string         `json:"reason"`
	Rule    string         `json:"rule,omitempty"`
	Pos     *rules.Pos     `json:"pos,omitempty"`
	Limited bool           `json:"limited,omitempty"` // only while the rule's limit is unspent
	Owner   string         `json:"owner,omitempty"`
	Why     string         `json:"why,omitempty"` // the rule's own reason
}

func (g *global) explain(ctx context.Context, words, policy, host string) error {
	e, err := packet.ParseExpr(words)
	if err != nil {
		return packetError(words, err)
	}
	rs, err := g.meaningFor(ctx, e, policy, host)
	if err != nil {
		return err
	}
	p, err := e.Packet(hostAddr(rs.Host))
	if err != nil {
		return packetError(words, err)
	}
	callLoopback(&p, rs.Host)
	x := explained(p, rs.Decide(p, time.Now()))
	return g.ui.answer(x, func() { g.explanation(x) })
}

// meaningFor is the ruleset that a packet is asked about. Where the packet names
// the host and no facts were given, the host is this one; a policy that does not
// fit this one is asked with an address that stands in for the host's.
func (g *global) meaningFor(ctx context.Context, e packet.Expr, policy, host string) (*rules.Ruleset, error) {
	if host != "" || e.Src.Name != hostWord && e.Dst.Name != hostWord {
		return g.meaning(policy, host)
	}
	if h, err := live.Facts(ctx); err == nil && policy != stdinName {
		if rs := g.meaningHere(policy, h); rs != nil {
			return rs, nil
		}
	}
	symbolic, err := g.meaning(policy, "")
	if err != nil {
		return nil, err
	}
	rs := *symbolic
	rs.Host = standIn
	g.ui.say("%s and %s stand in for the host's addresses; --host FILE gives its facts", standIn.Interfaces[0].Addrs[0].Addr(), standIn.Interfaces[0].Addrs[1].Addr())
	return &rs, nil
}

// meaningHere resolves a policy with the facts of this host, nil if it does not
// fit it.
func (g *global) meaningHere(policy string, h *rules.Host) *rules.Ruleset {
	s, err := g.open(policy)
	if err != nil {
		return nil
	}
	p, ps := rules.Load(s.files, s.name, s.load)
	if ps.Err() != nil || len(p.Names()) > 0 {
		return nil
	}
	rs, ps := rules.Resolve(p, h)
	if ps.Err() != nil {
		return nil
	}
	for _, is6 := range []bool{false, true} {
		if _, ok := hostAddr(h)(hostWord, is6); ok {
			return rs
		}
	}
	return nil
}

// callLoopback gives the loopback interface the name that it has in policies, whatever
// the system calls it.
func callLoopback(p *packet.Packet, h *rules.Host) {
	if h == nil {
		return
	}
	for _, i := range h.Interfaces {
		for _, name := range []*string{&p.In, &p.Out} {
			if i.Loopback && *name == i.Name && i.Name == "lo0" {
				*name = "lo"
			}
		}
	}
}

// hostWord stands for the host in a packet.
const hostWord = "host"

// standIn is a host with the addresses of documentation (RFC 5737, RFC 3849).
var standIn = &rules.Host{Interfaces: []rules.Interface{{Name: "eth0", Addrs: []netip.Prefix{
	netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64"),
}}}}

func explained(p packet.Packet, d rules.Decision) explanation {
	x := explanation{Packet: p.String(), Verdict: d.Verdict, Reason: d.Reason, Limited: d.Limited}
	if d.Rule != nil {
		x.Rule, x.Pos, x.Owner, x.Why = d.Rule.ID(), &d.Rule.Pos, d.Rule.Owner, d.Rule.Reason
	}
	return x
}

// explanation prints the verdict first, then what made it.
func (g *global) explanation(x explanation) {
	u := g.ui
	color := map[packet.Verdict]string{packet.Accept: green, packet.Drop: red, packet.Reject: red}[x.Verdict]
	u.print("%s  %s\n", u.paint(u.stdout, color, x.Verdict.String()), x.Packet)
	if x.Rule == "" {
		u.print("  by %s\n", reasons(x.Reason))
		return
	}
	u.print("  by %s, %s\n", x.Rule, x.Pos)
	if x.Limited {
		u.print("  while the limit of its source is unspent; else %s\n", packet.Drop)
	}
	if x.Owner != "" {
		u.print("  owner: %s\n", x.Owner)
	}
	if x.Why != "" {
		u.print("  reason: %s\n", x.Why)
	}
}

// reasons says which stage decided where no rule of the policy did.
func reasons(stage string) string {
	switch stage {
	case rules.ReasonDefault:
		return "the default: no service, outbound or route matches"
	case rules.ReasonBaseline:
		return "the necessary baseline, which no policy can close"
	case rules.ReasonEstablished:
		return "its connection, which was let in before"
	case rules.ReasonInvalid:
		return "its state: connection tracking calls it invalid"
	case rules.ReasonEcho:
		return "defaults.icmp"
	case rules.ReasonLoopback:
		return "the loopback interface"
	}
	return stage
}

// hostAddr resolves "host" to the first own address of a family that is neither
// loopback nor link-local.
func hostAddr(h *rules.Host) func(string, bool) (netip.Addr, bool) {
	return func(name string, is6 bool) (netip.Addr, bool) {
		if name != hostWord || h == nil {
			return netip.Addr{}, false
		}
		for _, i := range h.Interfaces {
			k := slices.IndexFunc(i.Addrs, func(p netip.Prefix) bool {
				a := p.Addr()
				return a.Is6() == is6 && !a.IsLoopback() && !a.IsLinkLocalUnicast()
			})
			if k >= 0 {
				return i.Addrs[k].Addr(), true
			}
		}
		return netip.Addr{}, false
	}
}

// packetError shows where in the packet the mistake is.
func packetError(words string, err error) error {
	var s *packet.SyntaxError
	if !errors.As(err, &s) {
		return err
	}
	hint := s.Hint
	if strings.Contains(s.Summary, `"host"`) && hint == "" {
		hint = "give the host's facts with --host FILE (`fwctl facts` prints them), or write an address"
	}
	return usage(fmt.Sprintf("%s\n  %s\n  %s^", s.Summary, words, margin(words, s.Offset+1)), hint)
}
