package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// OwnTable is the one nftables table that is fwctl's.
const OwnTable = "inet fwctl"

// xtTableNames are the tables that iptables knows (iptables(8)).
var xtTableNames = []string{"filter", "nat", "mangle", "raw", "security"}

// Look reads who else has rules on this host: nftables tables, both variants of
// iptables, other managers, translated ports. It needs CAP_NET_ADMIN.
func Look(ctx context.Context) (*Survey, error) {
	s := &Survey{}
	nft, err := readTables(s)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("read the nftables tables: %w (needs CAP_NET_ADMIN)", err)
	case err == nil:
		s.NFTables = true
	}
	legacy := readLegacy(ctx, s)
	s.OwnTable = nft.own
	s.OwnChains = nft.hasChain(isOwnChain) || legacy.hasChain(isOwnChain)
	s.Tables = nft.native()
	s.IPTables = variants(ctx, nft, legacy)
	s.IPSet = program("ipset")
	s.Managers = managers(nft, legacy)
	s.Translations = append(nft.translations(), legacy.translations()...)
	return s, nil
}

// kernelTables is the part of the nftables ruleset that a survey needs: all
// chains, and the rules of the tables that iptables or NAT live in.
type kernelTables struct {
	own    bool // the table inet fwctl is there; its chains are left out
	chains []*nftables.Chain
	xt     map[string]bool // the tables that iptables-nft made, by name
	rules  map[*nftables.Chain][]*nftables.Rule
}

func readTables(s *Survey) (kernelTables, error) {
	conn, err := nftables.New()
	if err != nil {
		return kernelTables{}, err
	}
	k := kernelTables{rules: map[*nftables.Chain][]*nftables.Rule{}}
	if k.chains, err = conn.ListChains(); err != nil {
		return kernelTables{}, err
	}
	k.chains = slices.DeleteFunc(k.chains, func(c *nftables.Chain) bool { return tableName(c.Table) == OwnTable })
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return kernelTables{}, err
	}
	k.own = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return tableName(t) == OwnTable })
	k.xt = k.xtTables()
	nat := k.natTables()
	for _, c := range k.chains {
		if !k.xt[tableName(c.Table)] && !nat[tableName(c.Table)] {
			continue
		}
		rs, err := readRules(conn, c)
		if err != nil {
			s.Unread = append(s.Unread, fmt.Sprintf("table %s, chain %s: %v", tableName(c.Table), c.Name, err))
		}
		k.rules[c] = rs
	}
	return k, nil
}

// readRules reads a chain's rules; the library panics on some userdata that other
// programs write, which must not end fwctl.
func readRules(conn *nftables.Conn, c *nftables.Chain) (rs []*nftables.Rule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot decode: %v", r)
		}
	}()
	return conn.GetRules(c.Table, c)
}

// xtTables are the tables that iptables-nft made: one of its names, and base
// chains named as its are, in capitals. People name theirs in small letters.
func (k kernelTables) xtTables() map[string]bool {
	m := map[string]bool{}
	for _, c := range k.chains {
		ip := c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyIPv6
		if ip && c.Hooknum != nil && slices.Contains(xtTableNames, c.Table.Name) && c.Name == strings.ToUpper(c.Name) {
			m[tableName(c.Table)] = true
		}
	}
	return m
}

// natTables are the tables with a base chain of type nat.
func (k kernelTables) natTables() map[string]bool {
	m := map[string]bool{}
	for _, c := range k.chains {
		if c.Type == nftables.ChainTypeNAT {
			m[tableName(c.Table)] = true
		}
	}
	return m
}

// native names the tables with chains that iptables-nft did not make, sorted.
func (k kernelTables) native() []string {
	var names []string
	for _, c := range k.chains {
		if !k.xt[tableName(c.Table)] {
			names = append(names, tableName(c.Table))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// xtInUse reports whether iptables-nft's tables hold a rule that is not fwctl's.
func (k kernelTables) xtInUse() bool {
	for c, rs := range k.rules {
		if !k.xt[tableName(c.Table)] || isOwnChain(c.Name) {
			continue
		}
		for _, r := range rs {
			if !slices.ContainsFunc(jumps(r), isOwnChain) {
				return true
			}
		}
	}
	return false
}

// hasChain reports whether some chain's name satisfies the test.
func (k kernelTables) hasChain(test func(string) bool) bool {
	return slices.ContainsFunc(k.chains, func(c *nftables.Chain) bool { return test(c.Name) })
}

// filled reports whether some chain whose name satisfies the test holds rules, as far as
// they were read: a program that was stopped may leave empty ones, as ufw does.
func (k kernelTables) filled(test func(string) bool) bool {
	return slices.ContainsFunc(k.chains, func(c *nftables.Chain) bool {
		rs, read := k.rules[c]
		return test(c.Name) && (!read || len(rs) > 0)
	})
}

func (k kernelTables) hasTable(name string) bool {
	return slices.ContainsFunc(k.chains, func(c *nftables.Chain) bool { return tableName(c.Table) == name })
}

func isOwnChain(name string) bool { return strings.HasPrefix(name, "FWCTL-") }

var familyNames = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge",
}

func tableName(t *nftables.Table) string { return familyNames[t.Family] + " " + t.Name }
