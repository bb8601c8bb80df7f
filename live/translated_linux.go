package live

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// translations lists the rules that translate destinations. A rule that stands
// in an output hook itself concerns the host's own packets only and is left out.
func (k kernelTables) translations() []Translation {
	var out []Translation
	for _, c := range k.chains {
		if c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookOutput {
			continue
		}
		for _, r := range k.rules[c] {
			if slices.ContainsFunc(r.Exprs, translates) {
				t := asked(r.Exprs)
				t.Where = fmt.Sprintf("table %s, chain %s", tableName(c.Table), c.Name)
				out = append(out, t)
			}
		}
	}
	return compact(out)
}

// translates reports whether the expression gives a packet another destination.
func translates(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.NAT:
		return e.Type == expr.NATTypeDestNAT
	case *expr.Redir:
		return true
	case *expr.Target:
		return isTranslation(e.Name)
	}
	return false
}

// isTranslation reports whether an xtables target translates destinations
// (iptables-extensions(8)).
func isTranslation(target string) bool {
	return target == "DNAT" || target == "REDIRECT" || target == "NETMAP"
}

// asked reads which protocol and port a rule tests for, as far as it does so by
// plain comparison; it is for people to read, so what it misses stays empty.
func asked(exprs []expr.Any) Translation {
	var t Translation
	for i, e := range exprs {
		switch e := e.(type) {
		case *expr.Match:
			if proto, ports := xtPorts(e.Info); proto != "" {
				t.Proto, t.Ports = proto, ports
			}
		case *expr.Meta:
			if v := compared(exprs, i+1); e.Key == expr.MetaKeyL4PROTO && len(v) == 1 {
				t.Proto = packet.Proto(v[0]).String()
			}
		case *expr.Payload:
			if v := compared(exprs, i+1); e.Base == expr.PayloadBaseTransportHeader && e.Offset == 2 && e.Len == 2 && len(v) == 2 {
				t.Ports = strconv.Itoa(int(binary.BigEndian.Uint16(v)))
			} else if e.Base == expr.PayloadBaseNetworkHeader && e.Offset == 9 && e.Len == 1 && len(v) == 1 {
				t.Proto = packet.Proto(v[0]).String()
			}
		}
	}
	return t
}

// compared returns what the expression at index i compares for equality, nil if
// it does not.
func compared(exprs []expr.Any, i int) []byte {
	if i >= len(exprs) {
		return nil
	}
	if c, ok := exprs[i].(*expr.Cmp); ok && c.Op == expr.CmpOpEq {
		return c.Data
	}
	return nil
}

func xtPorts(info xt.InfoAny) (proto, ports string) {
	switch m := info.(type) {
	case *xt.Tcp:
		return "tcp", packet.PortRange{Lo: m.DstPorts[0], Hi: m.DstPorts[1]}.String()
	case *xt.Udp:
		return "udp", packet.PortRange{Lo: m.DstPorts[0], Hi: m.DstPorts[1]}.String()
	}
	return "", ""
}

// jumps names the chains that a rule jumps or goes to.
func jumps(r *nftables.Rule) []string {
	var names []string
	for _, e := range r.Exprs {
		if v, ok := e.(*expr.Verdict); ok && (v.Kind == unix.NFT_JUMP || v.Kind == unix.NFT_GOTO) {
			names = append(names, v.Chain)
		}
	}
	return names
}

// compact removes what is said twice: engines write one rule for each path.
func compact(ts []Translation) []Translation {
	var out []Translation
	for _, t := range ts {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
