package main

// measureIPTables brings 10,000 services into iptables, where every service is a
// rule. The house has set no limit: the figures are for whoever has to stay there.
func measureIPTables(l *lab) ([]row, error) {
	list := services(10000)
	policy, err := l.file("policy.toml", policyText(list))
	if err != nil {
		return nil, err
	}
	rules, err := l.file("byhand.rules", byHandIPTables(list))
	if err != nil {
		return nil, err
	}
	byHand := []string{"iptables-restore", "--noflush", "--wait=5", rules}
	var whole, unchanged duel
	for range rounds {
		hand, err := l.timeByHand(byHand)
		if err != nil {
			return nil, err
		}
		first, second, err := l.timeApply(policy, "--backend", "iptables")
		if err != nil {
			return nil, err
		}
		whole.add(first, hand)
		unchanged.add(second, hand)
	}
	const beside = " : iptables-restore of one family, written by hand"
	return []row{
		{work: "10,000 services, fwctl apply to iptables and ip6tables" + beside, ratio: whole.ratio(), detail: whole.String()},
		{work: "the same again, nothing changed" + beside, ratio: unchanged.ratio(), detail: unchanged.String()},
	}, nil
}
