package nftables

// UsesXT reports whether some rule of the table is a match or a target of
// xtables, as iptables-nft writes them.
func (t *Table) UsesXT() bool {
	for _, r := range t.Rules {
		for _, e := range r.Exprs {
			if e.Name == "match" || e.Name == "target" {
				return true
			}
		}
	}
	return false
}

// Title is the name of the table with its family: "inet filter".
func (t *Table) Title() string { return familyName(t.Family) + " " + t.Name }
