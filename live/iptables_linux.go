package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// saveTime bounds one run of an iptables program.
const saveTime = 10 * time.Second

// legacyTables is what the legacy variants of iptables and ip6tables hold: lines
// of iptables-legacy-save, by table and family.
type legacyTables []legacyTable

type legacyTable struct {
	name  string   // "ip nat", in the words of nft
	lines []string // "-A DOCKER …"
}

// readLegacy reads the legacy tables that the kernel has in this network
// namespace. It runs no program unless one is there: running one loads the
// kernel's modules.
func readLegacy(ctx context.Context, s *Survey) legacyTables {
	var all legacyTables
	for _, v := range []struct{ names, save, family string }{
		{"/proc/thread-self/net/ip_tables_names", "iptables-legacy-save", "ip"},
		{"/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save", "ip6"},
	} {
		names, err := os.ReadFile(v.names)
		if err != nil || len(bytes.TrimSpace(names)) == 0 {
			continue
		}
		for _, table := range strings.Fields(string(names)) {
			lines, err := save(ctx, v.save, table)
			if err != nil {
				s.Unread = append(s.Unread, fmt.Sprintf("legacy table %s %s: %v", v.family, table, err))
			}
			all = append(all, legacyTable{v.family + " " + table, lines})
		}
	}
	return all
}

// save lists the rules of one table, "-A CHAIN …" each.
func save(ctx context.Context, name, table string) ([]string, error) {
	path := program(name)
	if path == "" {
		return nil, fmt.Errorf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-t", table).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	lines := strings.Split(string(out), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "-A ") }), nil
}

func (all legacyTables) inUse() bool {
	for _, t := range all {
		for _, l := range t.lines {
			if f := strings.Fields(l); !isOwnChain(f[1]) && !isOwnChain(f[len(f)-1]) {
				return true
			}
		}
	}
	return false
}

func (all legacyTables) hasChain(test func(string) bool) bool {
	for _, t := range all {
		for _, l := range t.lines {
			if test(strings.Fields(l)[1]) {
				return true
			}
		}
	}
	return false
}

func (all legacyTables) translations() []Translation {
	var out []Translation
	for _, t := range all {
		for _, l := range t.lines {
			f := strings.Fields(l)
			if isTranslation(after(f, "-j")) && f[1] != "OUTPUT" {
				out = append(out, Translation{
					Proto: after(f, "-p"),
					Ports: strings.ReplaceAll(after(f, "--dport"), ":", "-"),
					Where: fmt.Sprintf("legacy table %s, chain %s", t.name, f[1]),
				})
			}
		}
	}
	return compact(out)
}

// after returns the word that follows the given one, "" if none does.
func after(words []string, word string) string {
	if i := slices.Index(words, word); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// variants finds the installed variants of iptables, the one that plain
// "iptables" runs first.
func variants(ctx context.Context, nft kernelTables, legacy legacyTables) []IPTables {
	var out []IPTables
	for _, name := range []string{"iptables", "iptables-nft", "iptables-legacy"} {
		path := program(name)
		if path == "" {
			continue
		}
		v := IPTables{Path: path, Mode: mode(ctx, path), Plain: name == "iptables"}
		if slices.ContainsFunc(out, func(o IPTables) bool { return o.Mode == v.Mode }) {
			continue
		}
		v.InUse = v.Mode == "nf_tables" && nft.xtInUse() || v.Mode == "legacy" && legacy.inUse()
		out = append(out, v)
	}
	return out
}

// mode says which variant a program is: by the file that its links lead to, else
// by asking it ("iptables v1.8.9 (nf_tables)"). Before 1.8 there was only legacy,
// and no word of it.
func mode(ctx context.Context, path string) string {
	real, _ := filepath.EvalSymlinks(path)
	switch filepath.Base(real) {
	case "xtables-nft-multi":
		return "nf_tables"
	case "xtables-legacy-multi":
		return "legacy"
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "--version").Output()
	if bytes.Contains(out, []byte("nf_tables")) {
		return "nf_tables"
	}
	return "legacy"
}

// program finds a program in PATH or where such programs are installed: an
// ordinary user's PATH lacks them. It returns "" if there is none.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	return ""
}

func isExecutable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
