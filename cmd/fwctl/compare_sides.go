package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/live"
)

// liveSide is the running host. Its addresses are known: they are the host's.
func liveSide(ctx context.Context, s *compare.Side, q *compare.Question) error {
	h, err := live.Rules(ctx)
	if err != nil {
		return err
	}
	s.Filter = h.Filter
	if q.Host == nil {
		q.Host, err = live.Facts(ctx)
	}
	return err
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
	return nil
}

// iptablesSide is the output of iptables-save or ip6tables-save.
func (g *global) iptablesSide(s *compare.Side, kind, file string) error {
	s.V4, s.V6 = kind == "iptables", kind == "ip6tables"
	return usage(fmt.Sprintf("this version does not read %s yet", kind), "")
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
