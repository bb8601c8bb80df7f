package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// liveSide is the running host. Its addresses are known: they are the host's.
func (g *global) liveSide(ctx context.Context, s *compare.Side, q *compare.Question) error {
	h, err := g.hostRules(ctx)
	if err != nil {
		return err
	}
	s.Filter, s.Unread = h.Filter, h.Unread
	for _, b := range h.Beside {
		s.Beside = append(s.Beside, b.Name)
	}
	if q.Addrs == nil {
		q.Addrs = h.Addrs
	}
	if h.PF != nil {
		overPF(q)
	}
	return nil
}

// nftSide is a text of nft.
func (g *global) nftSide(ctx context.Context, s *compare.Side, file string) error {
	text, err := g.readRuleset(file)
	if err != nil {
		return err
	}
	f, err := live.LoadNFT(ctx, file, text)
	if err != nil {
		return err
	}
	s.Filter = f.Filter
	for _, b := range f.Beside() {
		s.Beside = append(s.Beside, b.Name)
	}
	return nil
}

// iptablesSide is the output of iptables-save or ip6tables-save, with the sets of
// ipset that it names.
func (g *global) iptablesSide(s *compare.Side, kind, file, ipset string) error {
	s.V4, s.V6 = kind == "iptables", kind == "ip6tables"
	text, err := g.readRuleset(file)
	if err != nil {
		return err
	}
	save := iptables.Parse(string(text))
	if len(save.Unknown) > 0 {
		return usage(fmt.Sprintf("%s is not what %s-save prints: %q", file, kind, save.Unknown[0]), "")
	}
	opt, err := g.iptablesOptions(ipset)
	if err != nil {
		return err
	}
	s.Filter = func(hook packet.Hook, is6 bool) *packet.Filter { return iptables.Filter(save, hook, is6, opt) }
	return nil
}

// named reads a list of names that a host need not have.
func named(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}

// readRuleset reads a file, or standard input for "-".
func (g *global) readRuleset(file string) ([]byte, error) {
	read := func() ([]byte, error) { return os.ReadFile(file) }
	if file == stdinName {
		read = func() ([]byte, error) { return io.ReadAll(g.ui.in) }
	}
	text, err := read()
	if err != nil {
		return nil, fmt.Errorf("read ruleset: %w", err)
	}
	return text, nil
}
