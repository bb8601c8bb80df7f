package live

import (
	"os"
	"path/filepath"
	"strings"
)

// managers names other software that manages rules, by what it leaves in the
// kernel or has enabled in systemd.
func managers(nft kernelTables, legacy legacyTables) []Manager {
	chain := func(prefix string) bool {
		starts := func(name string) bool { return strings.HasPrefix(name, prefix) }
		return nft.filled(starts) || legacy.hasChain(starts)
	}
	var out []Manager
	add := func(found bool, name, sign, advice string) {
		if found {
			out = append(out, Manager{name, sign, advice})
		}
	}
	add(chain("ufw-"), "ufw", "chains ufw-*", "it decides beside fwctl: a packet must pass both; `ufw disable` leaves the decision to fwctl")
	add(nft.hasTable("inet firewalld"), "firewalld", "table inet firewalld", "it decides beside fwctl: a packet must pass both; disable one of them")
	add(enabled("nftables.service") && flushes("/etc/nftables.conf"), "nftables.service", "/etc/nftables.conf flushes the ruleset",
		"its start, restart and stop remove every table, fwctl's too; `systemctl disable nftables` without stopping it")
	add(enabled("netfilter-persistent.service"), "iptables-persistent", "netfilter-persistent.service is enabled",
		"it restores saved rules at boot, perhaps with fwctl's chains of another day in them; save again after `fwctl off`, or disable it")
	add(legacy.inUse() && nft.xtInUse(), "legacy iptables", "rules in legacy tables and in nf_tables at once", "a drop in either is final; move the rules to one of them")
	add(chain("DOCKER"), "docker", "chains DOCKER*", "")
	add(nft.hasTable("inet netavark"), "podman", "table inet netavark", "")
	add(nft.hasTable("ip libvirt_network") || chain("LIBVIRT_"), "libvirt", "its chains", "")
	add(nft.hasTable("ip kube-proxy") || chain("KUBE-"), "kubernetes", "kube-proxy's chains", "")
	add(nft.hasTable("inet f2b-table") || chain("f2b-"), "fail2ban", "its chains", "")
	add(nft.hasTable("ip crowdsec") || chain("CROWDSEC"), "crowdsec", "its chains", "")
	add(chain("ts-"), "tailscale", "chains ts-*", "")
	return out
}

// enabled reports whether systemd starts the unit at boot: some target or
// service wants it (systemctl(1), enable).
func enabled(unit string) bool {
	links, _ := filepath.Glob("/etc/systemd/system/*.wants/" + unit)
	return len(links) > 0
}

// flushes reports whether an nft file removes all tables.
func flushes(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "flush ruleset") {
			return true
		}
	}
	return false
}
