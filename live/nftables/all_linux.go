package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/nftables"
)

// All is everything that nf_tables holds in one network namespace.
type All struct {
	Generation uint32
	Tables     []*read.Table // of the families inet, ip and ip6, in the order of the kernel
	Others     []Other       // chains that see packets at another layer
	Flowtables []string      // "inet filter ft": they take flows past the forward hook
}

// Other is a base chain whose meaning is not read: of a bridge, of a network
// card, of ARP.
type Other struct {
	Family string // "bridge", "netdev" or "arp"
	Table  string
	Chain  string
}

// judged are the families whose tables decide on IP packets at the hooks that a
// policy speaks of, others those that do not.
var (
	judged = []uint8{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}
	others = map[uint8]string{unix.NFPROTO_ARP: "arp", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev"}
)

// All reads all tables as they stood in one generation. Sets are read as Table
// reads them, and what counts as one state is what counts there.
func (c *Conn) All(ctx context.Context, atMost uint32) (*All, error) {
	var last *All
	for try := range tries {
		a, err := c.allOnce(atMost)
		switch {
		case err == nil && last != nil && last.Generation == a.Generation && slices.EqualFunc(a.Tables, last.Tables, equalNamed):
			return a, nil
		case err != nil && !errors.Is(err, errInterrupted) && !errors.Is(err, unix.ENOENT):
			return nil, fmt.Errorf("read the tables of nf_tables: %w", err)
		}
		if err != nil || last != nil {
			if err := pause(ctx, time.Duration(try)*retryPause); err != nil {
				return nil, err
			}
		}
		last = a
	}
	return nil, fmt.Errorf("read the tables of nf_tables: %w", ErrUnstable)
}

func equalNamed(a, b *read.Table) bool {
	return a.Family == b.Family && a.Name == b.Name && read.Equal(a, b)
}

// allOnce reads everything between two equal generation ids; nil with an error.
func (c *Conn) allOnce(atMost uint32) (*All, error) {
	gen, err := c.Generation()
	if err != nil {
		return nil, err
	}
	a := &All{Generation: gen}
	for _, family := range judged {
		if err := c.family(a, family, atMost); err != nil {
			return nil, err
		}
	}
	for family, name := range others {
		if err := c.others(a, family, name); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(a.Others, compareOther)
	after, err := c.Generation()
	if err == nil && after != gen {
		err = errInterrupted
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// family reads all tables of one family, each kind of object in one dump.
func (c *Conn) family(a *All, family uint8, atMost uint32) error {
	msgs, err := c.ask(unix.NFT_MSG_GETTABLE, family, netlink.Dump, nil)
	if err != nil || len(msgs) == 0 {
		return err
	}
	tables := map[string]*read.Table{}
	for _, m := range msgs {
		t, err := read.DecodeTable(family, m)
		if err != nil {
			return err
		}
		tables[t.Name] = t
		a.Tables = append(a.Tables, t)
	}
	for _, t := range tables {
		if err := c.sets(t, atMost); err != nil {
			return err
		}
	}
	if err := c.allChains(family, tables); err != nil {
		return err
	}
	if err := c.allRules(family, tables); err != nil {
		return err
	}
	return c.flowtables(a, family)
}

func (c *Conn) allChains(family uint8, tables map[string]*read.Table) error {
	return c.each(unix.NFT_MSG_GETCHAIN, family, tables, func(t *read.Table, m []byte) error {
		ch, err := read.DecodeChain(m)
		t.Chains = append(t.Chains, ch)
		return err
	})
}

func (c *Conn) allRules(family uint8, tables map[string]*read.Table) error {
	return c.each(unix.NFT_MSG_GETRULE, family, tables, func(t *read.Table, m []byte) error {
		r, err := read.DecodeRule(m)
		t.Rules = append(t.Rules, r)
		return err
	})
}

// each calls f for every object of a kind with its table. An object of a table
// that the dump of tables did not have shows that somebody writes.
func (c *Conn) each(msg uint16, family uint8, tables map[string]*read.Table, f func(*read.Table, []byte) error) error {
	msgs, err := c.ask(msg, family, netlink.Dump, nil)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		t := tables[tableOf(m)]
		if t == nil {
			return errInterrupted
		}
		if err := f(t, m); err != nil {
			return err
		}
	}
	return nil
}

// tableOf returns the message's first attribute, the name of the table in every
// kind of message.
func tableOf(m []byte) string { return textOf(m, 1) }

func textOf(m []byte, typ uint16) string {
	attrs, err := read.Attrs(m)
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Type == typ {
			return string(slices.DeleteFunc(slices.Clone(a.Data), func(b byte) bool { return b == 0 }))
		}
	}
	return ""
}

// flowtables lists the flow tables of a family. A kernel without them says that
// it does not know the question.
func (c *Conn) flowtables(a *All, family uint8) error {
	msgs, err := c.ask(unix.NFT_MSG_GETFLOWTABLE, family, netlink.Dump, nil)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, m := range msgs {
		a.Flowtables = append(a.Flowtables, fmt.Sprintf("%s %s %s", familyNames[family], tableOf(m), textOf(m, 2))) // NFTA_FLOWTABLE_NAME
	}
	return nil
}

var familyNames = map[uint8]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}

// others names the base chains of a family that is not judged, but for those
// that let everything pass because they hold no rule.
func (c *Conn) others(a *All, family uint8, name string) error {
	msgs, err := c.ask(unix.NFT_MSG_GETCHAIN, family, netlink.Dump, nil)
	if err != nil || len(msgs) == 0 {
		return err
	}
	rules, err := c.ask(unix.NFT_MSG_GETRULE, family, netlink.Dump, nil)
	if err != nil {
		return err
	}
	used := map[[2]string]bool{}
	for _, m := range rules {
		r, err := read.DecodeRule(m)
		if err != nil {
			return err
		}
		used[[2]string{tableOf(m), r.Chain}] = true
	}
	for _, m := range msgs {
		ch, err := read.DecodeChain(m)
		if err != nil {
			return err
		}
		if ch.Hook != nil && (ch.Policy == 0 || used[[2]string{tableOf(m), ch.Name}]) {
			a.Others = append(a.Others, Other{name, tableOf(m), ch.Name})
		}
	}
	return nil
}

func compareOther(x, y Other) int {
	return slices.Compare([]string{x.Family, x.Table, x.Chain}, []string{y.Family, y.Table, y.Chain})
}
