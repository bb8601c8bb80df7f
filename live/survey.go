package live

import "fmt"

// Survey is what else on the host filters or translates packets, read once.
// The zero value is a host that has nothing.
type Survey struct {
	NFTables     bool          `json:"nftables"`               // the kernel answers nf_tables requests
	Tables       []string      `json:"tables"`                 // foreign nftables tables that have chains, "inet filter", sorted; those of iptables-nft left out
	IPTables     []IPTables    `json:"iptables"`               // the installed programs, "iptables" first
	IPSet        string        `json:"ipset,omitempty"`        // path of the program, "" if missing
	Managers     []Manager     `json:"managers"`               // other software that manages rules
	Translations []Translation `json:"translations,omitempty"` // ports whose destination the host translates
	OwnTable     bool          `json:"own_table"`              // the table inet fwctl is there
	OwnChains    bool          `json:"own_chains"`             // a variant of iptables has chains FWCTL-*
	Unread       []string      `json:"unread,omitempty"`       // what could not be read, with the reason
}

// IPTables is one installed variant of iptables for IPv4.
type IPTables struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"`   // "nf_tables" or "legacy"
	InUse bool   `json:"in_use"` // its tables hold rules other than fwctl's
	Plain bool   `json:"plain"`  // it is what plain "iptables" runs
}

// Manager is other software that manages packet rules on the host.
type Manager struct {
	Name   string `json:"name"`
	Sign   string `json:"sign"`             // what gave it away
	Advice string `json:"advice,omitempty"` // what to do about it; "" if it lives well beside fwctl
}

// Translation is a rule of the host that gives packets another destination:
// what a container engine publishes, or a redirection by hand.
type Translation struct {
	Proto string `json:"protocol,omitempty"` // "tcp"; "" if any or not read
	Ports string `json:"ports,omitempty"`    // the port that a client asks for, "8080" or "80-90"; "" if any or not read
	Where string `json:"where"`              // "table ip nat, chain DOCKER"
}

// String writes "8080/tcp (table ip nat, chain DOCKER)".
func (t Translation) String() string {
	switch {
	case t.Ports == "" && t.Proto == "":
		return t.Where
	case t.Ports == "":
		return fmt.Sprintf("%s (%s)", t.Proto, t.Where)
	case t.Proto == "":
		return fmt.Sprintf("port %s (%s)", t.Ports, t.Where)
	}
	return fmt.Sprintf("%s/%s (%s)", t.Ports, t.Proto, t.Where)
}

// IPTablesInUse reports whether a variant of iptables holds rules that are not
// fwctl's.
func (s *Survey) IPTablesInUse() bool {
	for _, v := range s.IPTables {
		if v.InUse {
			return true
		}
	}
	return false
}
