package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/iptables"
)

// Variant is one of the two implementations of iptables. Both can hold rules at
// once.
type Variant string

// The variants, as `iptables --version` names them.
const (
	Auto   Variant = "" // the one in use
	NFT    Variant = "nf_tables"
	Legacy Variant = "legacy"
)

// Options are how to reach the programs. The zero value takes the variant in
// use, in the network namespace of the calling thread.
type Options struct {
	Variant Variant
	Prefix  []string // put in front of every command, such as "nsenter", "--net=…"
	NoIPSet bool     // do as if ipset were missing
}

// Conn is iptables on this host, in one variant. It holds nothing open and is
// not for concurrent use.
type Conn struct {
	Variant Variant
	Why     string   // why this variant
	Notes   []string // what else the administrator should know
	IPSet   bool     // ipset can be used

	prefix    []string
	ipset     string
	families  []family // one or two
	others    []family // those of the variant that was not chosen
	protocols read.Protocols
}

// family is iptables or ip6tables in one variant.
type family struct {
	is6           bool
	variant       Variant
	save, restore string // paths
}

// command is the family's name in what is said.
func (f family) command() string {
	if f.is6 {
		return "ip6tables"
	}
	return "iptables"
}

// ErrMissing says that iptables is not installed.
var ErrMissing = errors.New("iptables is not installed (looked for iptables-restore in PATH, /usr/sbin and /sbin)")

// Open finds the programs and decides for a variant.
func Open(ctx context.Context, opt Options) (*Conn, error) {
	c := &Conn{prefix: opt.Prefix}
	all := c.installed(ctx)
	if len(all) == 0 {
		return nil, ErrMissing
	}
	if err := c.choose(ctx, opt.Variant, all); err != nil {
		return nil, err
	}
	c.dropIPv6()
	if !opt.NoIPSet {
		c.findIPSet(ctx)
	}
	text, err := os.ReadFile("/etc/protocols")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read /etc/protocols: %w", err)
	}
	c.protocols = read.ParseProtocols(string(text))
	return c, nil
}

// installed lists the variants, that of plain "iptables" first, each with one or
// two families.
func (c *Conn) installed(ctx context.Context) [][]family {
	var all [][]family
	for _, infix := range []string{"", "-nft", "-legacy"} {
		restore := find("iptables" + infix + "-restore")
		if restore == "" {
			continue
		}
		v := map[string]Variant{"-nft": NFT, "-legacy": Legacy}[infix]
		if infix == "" {
			v = c.variantOf(ctx, restore)
		}
		if slices.ContainsFunc(all, func(fs []family) bool { return fs[0].variant == v }) {
			continue
		}
		fs := []family{{variant: v, save: find("iptables" + infix + "-save"), restore: restore}}
		if restore6 := find("ip6tables" + infix + "-restore"); restore6 != "" {
			fs = append(fs, family{is6: true, variant: v, save: find("ip6tables" + infix + "-save"), restore: restore6})
		}
		all = append(all, fs)
	}
	return all
}

// variantOf asks a program: "iptables-restore v1.8.9 (nf_tables)". Before 1.8
// there was only legacy, and no word of it.
func (c *Conn) variantOf(ctx context.Context, path string) Variant {
	out, err := c.run(ctx, "", path, "--version")
	if err == nil && strings.Contains(out, string(NFT)) {
		return NFT
	}
	return Legacy
}

// choose decides for a variant: the one asked for, the one with our chains, the
// one with the rules of others, or the one that plain "iptables" runs.
func (c *Conn) choose(ctx context.Context, asked Variant, all [][]family) error {
	holds := make([]holding, len(all))
	var unread error // what it has may be fwctl's
	for i, fs := range all {
		h, err := c.holds(ctx, fs)
		if err != nil {
			unread = fmt.Errorf("the rules of the %s variant of iptables cannot be read: %w", fs[0].variant, err)
			c.Notes = append(c.Notes, unread.Error())
		}
		holds[i] = h
	}
	if unread != nil && asked == Auto && !slices.ContainsFunc(holds, func(h holding) bool { return h.own }) {
		return unread
	}
	i, why := pick(asked, all, holds)
	if i < 0 {
		return fmt.Errorf("the %s variant of iptables is not installed", asked)
	}
	c.families, c.Variant, c.Why = all[i], all[i][0].variant, why
	for j, fs := range all {
		if j == i {
			continue
		}
		c.others = append(c.others, fs...)
		if holds[j].foreign {
			c.Notes = append(c.Notes, fmt.Sprintf("the %s variant of iptables holds rules, too; a packet must pass both", fs[0].variant))
		}
	}
	return nil
}

func pick(asked Variant, all [][]family, holds []holding) (int, string) {
	if asked != Auto {
		return slices.IndexFunc(all, func(fs []family) bool { return fs[0].variant == asked }), "asked for"
	}
	if i := only(holds, func(h holding) bool { return h.own }); i >= 0 {
		return i, "it holds fwctl's chains"
	}
	if i := only(holds, func(h holding) bool { return h.foreign }); i >= 0 {
		return i, "it holds the host's rules"
	}
	return 0, "it is what iptables runs"
}

// only returns the index of the one element that the test accepts, -1 if it
// accepts none or several.
func only(hs []holding, test func(holding) bool) int {
	i := slices.IndexFunc(hs, test)
	if i >= 0 && slices.ContainsFunc(hs[i+1:], test) {
		return -1
	}
	return i
}

// holding is what a variant has in the kernel.
type holding struct{ own, foreign bool }

func (c *Conn) holds(ctx context.Context, fs []family) (holding, error) {
	var h holding
	for _, f := range fs {
		s, err := c.dump(ctx, f)
		if err != nil {
			return h, err
		}
		for _, t := range s.Tables {
			for _, ch := range t.Chains {
				h.own = h.own || isOwn(ch.Name)
				h.foreign = h.foreign || ch.Policy == "DROP" || !isOwn(ch.Name) && slices.ContainsFunc(ch.Rules, isForeign)
			}
		}
	}
	return h, nil
}

func isOwn(chain string) bool { return strings.HasPrefix(chain, "FWCTL-") }

func isForeign(r read.Rule) bool { return !isOwn(r.Target()) }

// dump reads all tables of a family. It does not make the legacy variant load
// the modules of tables that nobody uses.
func (c *Conn) dump(ctx context.Context, f family) (*read.Save, error) {
	if f.variant == Legacy {
		names, err := c.legacyTables(ctx, f)
		if err != nil || len(names) == 0 {
			return &read.Save{}, err
		}
	}
	text, err := c.run(ctx, "", f.save, "-c")
	if err != nil {
		return nil, err
	}
	return read.Parse(text), nil
}

func (c *Conn) legacyTables(ctx context.Context, f family) ([]string, error) {
	path := "/proc/thread-self/net/ip_tables_names"
	if f.is6 {
		path = "/proc/thread-self/net/ip6_tables_names"
	}
	text, err := c.readFile(ctx, path)
	return strings.Fields(text), err
}

// dropIPv6 leaves IPv6 out where the host has none.
func (c *Conn) dropIPv6() {
	no6 := "the kernel has no IPv6"
	if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
		_ = unix.Close(fd)
		no6 = "ip6tables is not installed"
		if len(c.families) > 1 {
			return
		}
	}
	c.families = c.families[:1]
	c.Notes = append(c.Notes, "IPv6 is left out: "+no6)
}

func (c *Conn) findIPSet(ctx context.Context) {
	c.ipset = find("ipset")
	if c.ipset == "" {
		return
	}
	_, err := c.run(ctx, "", c.ipset, "list", "-n")
	c.IPSet = err == nil
	if err != nil {
		c.Notes = append(c.Notes, "ipset cannot be used: "+err.Error())
	}
}
