package nftables

// Counter returns what the first counter among the expressions of a rule has
// counted, and false if there is none.
func Counter(exprs []Expr) (packets, bytes uint64, ok bool) {
	const counterBytes, counterPackets = 1, 2 // NFTA_COUNTER_*
	for _, e := range exprs {
		if e.Name != "counter" {
			continue
		}
		attrs, err := Attrs(e.Data)
		if err != nil {
			return 0, 0, false
		}
		for _, a := range attrs {
			switch a.Type {
			case counterBytes:
				bytes = number(a.Data)
			case counterPackets:
				packets = number(a.Data)
			}
		}
		return packets, bytes, true
	}
	return 0, 0, false
}
