package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/fwctl/fwctl/adopt"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// foreign reads the rules of another firewall.
func (g *global) foreign(ctx context.Context, format, file string, f importFlags) (*adopt.Ruleset, error) {
	if format == "pf" {
		return g.pfRuleset(file, f)
	}
	text, err := g.readRuleset(file)
	if err != nil {
		return nil, err
	}
	name := format + ":" + file
	switch format {
	case "nft":
		return nftRuleset(ctx, name, file, text)
	case "firewalld":
		return adopt.Firewalld(name, file, string(text), firewalldService)
	}
	opt, err := g.iptablesOptions(f.ipset)
	if err != nil {
		return nil, err
	}
	text6 := []byte(nil)
	if f.ipv6 != "" {
		if text6, err = g.readRuleset(f.ipv6); err != nil {
			return nil, err
		}
		name += " and " + f.ipv6
	}
	if format == "ufw" {
		return adopt.UFW(name, adopt.Text{File: file, Text: string(text)}, adopt.Text{File: f.ipv6, Text: string(text6)}, opt, ufwApps())
	}
	rs := &adopt.Ruleset{Name: name}
	if format == "ip6tables" {
		rs.V6, err = adopt.IPTables(file, string(text), true, opt)
		return rs, err
	}
	if rs.V4, err = adopt.IPTables(file, string(text), false, opt); err == nil && text6 != nil {
		rs.V6, err = adopt.IPTables(f.ipv6, string(text6), true, opt)
	}
	return rs, err
}

// iptablesOptions are the names that texts of iptables may use, and the sets.
func (g *global) iptablesOptions(ipset string) (iptables.Options, error) {
	opt := iptables.Options{Protocols: iptables.ParseProtocols(named("/etc/protocols")), Services: iptables.ParseServices(named("/etc/services"))}
	if ipset == "" {
		return opt, nil
	}
	sets, err := g.readRuleset(ipset)
	if err != nil {
		return opt, err
	}
	opt.Sets = iptables.ParseSets(string(sets), opt.Protocols)
	return opt, nil
}

func nftRuleset(ctx context.Context, name, file string, text []byte) (*adopt.Ruleset, error) {
	f, err := live.LoadNFT(ctx, file, text)
	if err != nil {
		return nil, err
	}
	rs := &adopt.Ruleset{Name: name, V4: f.Filter(packet.Input, false), V6: f.Filter(packet.Input, true)}
	for _, b := range f.Beside() {
		rs.Beside = append(rs.Beside, b.Name)
	}
	if len(rs.V4.Base)+len(rs.V6.Base) == 0 {
		return nil, fmt.Errorf("%s has no chain at the input hook: there is nothing to import", file)
	}
	return rs, nil
}

// ufwApps are the applications that ufw knows on this host.
func ufwApps() map[string]string {
	apps := map[string]string{}
	files, _ := filepath.Glob("/etc/ufw/applications.d/*") // the pattern is right
	for _, f := range files {
		maps.Copy(apps, adopt.UFWApps(named(f)))
	}
	return apps
}

// firewalldService reads what firewalld knows of a service: the administrator's
// file before the one that came with it.
func firewalldService(name string) (string, bool) {
	for _, dir := range []string{"/etc/firewalld/services", "/usr/lib/firewalld/services"} {
		if text, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)+".xml")); err == nil {
			return string(text), true
		}
	}
	return "", false
}
