package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// ip6tables is a backend of render alone: apply loads both families together.
const ip6tables = "ip6tables"

// renderFlags says what to write and where.
type renderFlags struct {
	backend, dialect, form string
	dir, host              string
}

func newRender(g *global) *cobra.Command {
	var f renderFlags
	c := &cobra.Command{
		Use:   "render --backend nftables|iptables|ip6tables|pf [flags] [POLICY]",
		Short: "a policy in the language of nft, iptables-restore or pfctl",
		Long: `render writes what "nft -f", "iptables-restore --noflush", "ip6tables-restore
--noflush" or "pfctl -f" load. It needs no privilege and no kernel, and the same
policy always gives the same bytes. What a backend cannot say is an error at the
line of the policy; what it says differently is a note.

Without --host the host's own addresses and DNS names stay symbolic.

On standard output iptables gets every address as a rule. With -o DIR large
groups become ipsets: load fwctl.ipset with "ipset restore" first.

Exit status: 0; 2 error.`,
		Example: `  fwctl render --backend nftables policy.toml | nft -c -f -
  fwctl render --backend pf --dialect openbsd --form file policy.toml
  fwctl render --backend iptables -o build policy.toml`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.render(first(args), f) },
	}
	c.Flags().StringVar(&f.backend, "backend", "", "backend `NAME`: nftables, iptables, ip6tables or pf (required)")
	c.Flags().StringVar(&f.dialect, "dialect", "openbsd", "dialect `NAME` of pf: openbsd, freebsd, freebsd-old or macos")
	c.Flags().StringVar(&f.form, "form", "anchor", "form `FORM` of pf: file, a whole pf.conf, or anchor, the anchor fwctl")
	c.Flags().StringVarP(&f.dir, "output", "o", "", "write files into `DIR`")
	c.Flags().StringVar(&f.host, "host", "", "take the facts of the host from `FILE`, as \"fwctl facts\" prints them")
	return c
}

// text is one rendered file.
type text struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// rendered is the answer of render.
type rendered struct {
	Changed  bool           `json:"changed"` // files were written
	Files    []text         `json:"files"`
	Problems rules.Problems `json:"problems"`
}

func (g *global) render(arg string, f renderFlags) error {
	if err := oneOf("backend", f.backend, apply.NFTables, apply.IPTables, ip6tables, apply.PF); err != nil {
		return err
	}
	rs, err := g.meaning(arg, f.host)
	if err != nil {
		return err
	}
	files, ps, err := renderTo(rs, f)
	if err != nil {
		return err
	}
	if ps.Err() != nil {
		return &policyError{ps}
	}
	if !g.ui.json && !g.ui.quiet {
		g.ui.problems(g.ui.stderr, ps)
	}
	return g.deliver(rendered{Files: files, Problems: append(rules.Problems{}, ps...)}, f.dir)
}

// renderTo renders for one backend.
func renderTo(rs *rules.Ruleset, f renderFlags) ([]text, rules.Problems, error) {
	switch f.backend {
	case apply.NFTables:
		p, ps := nftables.Render(rs)
		return []text{{"fwctl.nft", p.Text()}}, ps, nil
	case apply.PF:
		return renderPF(rs, f)
	}
	p, ps := iptables.Render(rs, iptables.Options{IPSet: f.dir != ""})
	if ps.Err() != nil {
		return nil, ps, nil
	}
	files := []text{{"fwctl.iptables", p.V4.Text()}}
	if f.backend == ip6tables {
		files = []text{{"fwctl.ip6tables", p.V6.Text()}}
	}
	if len(p.Sets) > 0 {
		files = append(files, text{"fwctl.ipset", p.SetText()})
	}
	return files, ps, nil
}

// deliver prints the files, or writes them into a directory.
func (g *global) deliver(r rendered, dir string) error {
	if dir == "" {
		return g.ui.answer(r, func() {
			for _, f := range r.Files {
				g.ui.print("%s", f.Text)
			}
		})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make output directory: %w", err)
	}
	for _, f := range r.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o644); err != nil {
			return fmt.Errorf("write rendering: %w", err)
		}
	}
	r.Changed = true
	return g.ui.answer(r, func() {
		for _, f := range r.Files {
			g.ui.print("%s\n", filepath.Join(dir, f.Name))
		}
	})
}
