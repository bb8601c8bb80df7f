package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/iptables"
	"github.com/fwctl/fwctl/read/nftables"
)

// unreadable adds why something was not read.
func (h *HostRules) unreadable(what string, err error) {
	h.Unread = append(h.Unread, fmt.Sprintf("%s: %v", what, err))
}

// saves reads the rules of all variants of iptables, and the sets of ipset that
// they ask for. Tables that iptables-nft made are taken out of those of nf_tables
// where its own listing says them whole.
func (h *HostRules) saves(ctx context.Context) {
	for _, is6 := range []bool{false, true} {
		h.saveNFT(ctx, is6)
		h.saveLegacy(ctx, is6)
	}
	h.IPTables.Protocols = read.ParseProtocols(readText("/etc/protocols"))
	h.IPTables.Services = read.ParseServices(readText("/etc/services"))
	if slices.ContainsFunc(h.Saves, Save.usesSets) {
		h.sets(ctx)
	}
}

// readText reads a file of names; one that is not there has none.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// saveNFT reads the tables that hold matches or targets of xtables: their bytes
// mean what the modules of iptables say.
func (h *HostRules) saveNFT(ctx context.Context, is6 bool) {
	program, family := "iptables-nft-save", uint8(unix.NFPROTO_IPV4)
	if is6 {
		program, family = "ip6tables-nft-save", unix.NFPROTO_IPV6
	}
	if !slices.ContainsFunc(h.Tables, func(t *nftables.Table) bool { return t.Family == family && t.UsesXT() }) {
		return
	}
	text, err := listing(ctx, program, "-c")
	if err != nil {
		h.unreadable(program, err)
		return
	}
	s := Save{Is6: is6, Save: read.Parse(text)}
	s.Tables = slices.DeleteFunc(s.Tables, func(t *read.Table) bool {
		// A table that iptables does not understand whole is read as nf_tables has it.
		return strings.Contains(text, "Table `"+t.Name+"' is incompatible") || !h.takeOut(family, t)
	})
	h.Saves = append(h.Saves, s)
}

// takeOut removes the table that a listing stands for, if it has as many rules
// as the listing and some of xtables.
func (h *HostRules) takeOut(family uint8, listed *read.Table) bool {
	n := 0
	for _, c := range listed.Chains {
		n += len(c.Rules)
	}
	i := slices.IndexFunc(h.Tables, func(t *nftables.Table) bool {
		return t.Family == family && t.Name == listed.Name && t.UsesXT() && len(t.Rules) == n
	})
	if i < 0 {
		return false
	}
	h.Tables = slices.Delete(h.Tables, i, i+1)
	return true
}

// saveLegacy reads the tables of the legacy variant. It runs no program unless
// one is there: running one makes the kernel load modules.
func (h *HostRules) saveLegacy(ctx context.Context, is6 bool) {
	names, program := "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"
	if is6 {
		names, program = "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"
	}
	tables, err := os.ReadFile(names)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(tables)) == 0:
		return
	case err != nil:
		h.unreadable("the legacy tables of "+program, err)
		return
	}
	text, err := twice(func() (string, error) { return listing(ctx, program, "-c") })
	if err != nil {
		h.unreadable(program, err)
		return
	}
	if s := (Save{Legacy: true, Is6: is6, Save: read.Parse(text)}); !s.empty() {
		h.Saves = append(h.Saves, s)
	}
}

// sets reads the sets of ipset.
func (h *HostRules) sets(ctx context.Context) {
	text, err := twice(func() (string, error) { return listing(ctx, "ipset", "save") })
	if err != nil {
		h.unreadable("ipset", err)
		return
	}
	h.IPTables.Sets = read.ParseSets(text, h.IPTables.Protocols)
}

// twice reads until two readings in a row are the same.
func twice(read func() (string, error)) (string, error) {
	last, err := read()
	for range listTries {
		var text string
		if err != nil {
			return "", err
		}
		if text, err = read(); err == nil && steady(text) == steady(last) {
			return text, nil
		}
		last = text
	}
	return "", errors.New("the rules change faster than they can be read")
}

const listTries = 10

// listing runs a program that lists rules.
func listing(ctx context.Context, name string, args ...string) (string, error) {
	path := program(name)
	if path == "" {
		return "", errors.New("it is not installed")
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
