package main

import "path/filepath"

// measureDrift proves that a host with 1,000 services obeys its policy, beside nft
// that lists the same rules.
func measureDrift(l *lab) ([]row, error) {
	policy, err := l.file("policy.toml", policyText(services(1000)))
	if err != nil {
		return nil, err
	}
	ns, err := l.namespace()
	if err != nil {
		return nil, err
	}
	if _, _, err := in(ns, "", l.apply(ns, policy)...); err != nil {
		return nil, err
	}
	drift := []string{
		l.fwctl, "drift", "--state-dir", filepath.Join(l.dir, "state-"+ns), "--run-dir", filepath.Join(l.dir, "run-"+ns),
		"--known", "nftables.service", "--known", "iptables-persistent", // what this machine's systemd starts
	}
	var proof duel
	for range 3 * rounds { // both are short
		list, _, err := in(ns, "", "nft", "list", "ruleset")
		if err != nil {
			return nil, err
		}
		proved, _, err := in(ns, "", drift...)
		if err != nil {
			return nil, err
		}
		proof.add(proved.Seconds(), list.Seconds())
	}
	return []row{{work: "1,000 services, fwctl drift : nft list ruleset", ratio: proof.ratio(), high: 3, detail: proof.String()}}, nil
}
