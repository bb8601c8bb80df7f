package nftables

import (
	"errors"
	"fmt"
	"slices"
	"time"

	gnft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/render/nftables"
)

// send changes the kernel, in up to three transactions. The second decides, and packets
// meet what was before it or what is after:
//
//  1. make: sets and chains that no rule names yet, with their elements. Some kernels
//     show a packet the elements of a set a moment after those of the transaction's
//     rules (nft_set_commit_update of Linux).
//  2. switch: rules, base chains, and elements of sets that stay.
//  3. clear: what no rule names any more; and the policies of base chains, which are
//     not asked for by now, since the last rule decides.
//
// Each is taken only under the generation that the one before left. An error of the
// first two means that nothing was changed, unless it is of the connection; switched
// says that the second was made.
func (d *difference) send(gen uint32) (switched bool, err error) {
	made, err := transact(&gen, d.sendMade)
	if err != nil {
		return false, err
	}
	if made && !d.create {
		grace()
	}
	switched, err = transact(&gen, d.sendSwitch)
	if err != nil {
		if made {
			err = errors.Join(err, d.unmake())
		}
		return false, err
	}
	if switched && !d.create && len(d.oldSets)+len(d.oldChains) > 0 {
		grace()
	}
	_, err = transact(&gen, d.sendClear)
	return true, err
}

// transact makes one transaction of what put puts into it, if that is anything, and
// counts the generation on.
func transact(gen *uint32, put func(*gnft.Conn, *gnft.Table) (bool, error)) (sent bool, err error) {
	c, err := gnft.New()
	if err != nil {
		return false, err
	}
	if sent, err = put(c, table()); err != nil || !sent {
		return false, err
	}
	if err := c.FlushWithGenID(*gen); err != nil {
		return false, err
	}
	*gen++
	return true, nil
}

// grace waits until no packet is among rules that were in force when it was called:
// membarrier(2) waits for an RCU grace period. Where that is refused, it waits for
// longer than a packet takes.
func grace() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL (linux/membarrier.h)
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		time.Sleep(100 * time.Millisecond)
	}
}

// staged reports whether there is something to make before the switch. A table that is
// made anew comes in one transaction, since the old one stands till then.
func (d *difference) staged() bool { return !d.recreate && (d.create || len(d.sets) > 0) }

func (d *difference) sendMade(c *gnft.Conn, t *gnft.Table) (bool, error) {
	if !d.staged() {
		return false, nil
	}
	if d.create {
		c.AddTable(t)
	}
	return true, d.sendNew(c, t)
}

// sendNew adds what others refer to before them.
func (d *difference) sendNew(c *gnft.Conn, t *gnft.Table) error {
	sets := make([]*gnft.Set, len(d.sets))
	for i, s := range d.sets {
		sets[i] = setOf(t, s)
		if err := c.AddSet(sets[i], nil); err != nil {
			return fmt.Errorf("add set %s: %w", s.Name, err)
		}
	}
	d.sendChains(c, t, false)
	for _, e := range d.elements {
		if i := slices.Index(d.sets, e.set); i >= 0 {
			if err := addElements(c, sets[i], e.add); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmake takes back what sendMade made.
func (d *difference) unmake() error {
	c, err := gnft.New()
	if err != nil {
		return err
	}
	t := table()
	if d.create {
		c.DelTable(t)
		return c.Flush()
	}
	var sets, chains []string
	for _, s := range d.sets {
		sets = append(sets, s.Name)
	}
	for _, ch := range d.chains {
		if ch.Base == nil {
			chains = append(chains, ch.Name)
		}
	}
	deleteAll(c, t, sets, chains)
	return c.Flush()
}

// deleteAll deletes maps first, since their elements refer to chains.
func deleteAll(c *gnft.Conn, t *gnft.Table, sets, chains []string) {
	for _, name := range sets {
		c.DelSet(&gnft.Set{Table: t, Name: name})
	}
	for _, name := range chains {
		c.DelChain(&gnft.Chain{Table: t, Name: name})
	}
}

// sendSwitch puts in what decides about packets, and takes out what did.
func (d *difference) sendSwitch(c *gnft.Conn, t *gnft.Table) (bool, error) {
	rest := *d
	rest.oldSets, rest.oldChains, rest.policies = nil, nil, nil
	if rest.empty() {
		return false, nil
	}
	if d.recreate {
		c.DelTable(t)
	}
	if d.recreate || d.wake {
		c.AddTable(t) // of a table that is there it sets the flags, to none
	}
	for _, r := range d.rules {
		if r.del.handle != 0 {
			_ = c.DelRule(&gnft.Rule{Table: t, Chain: &gnft.Chain{Table: t, Name: r.chain}, Handle: r.del.handle}) // has a handle
		}
	}
	if !d.staged() {
		if err := d.sendNew(c, t); err != nil {
			return false, err
		}
	}
	for _, e := range d.elements {
		if slices.Contains(d.sets, e.set) {
			continue
		}
		if err := changeElements(c, setOf(t, e.set), e); err != nil {
			return false, err
		}
	}
	d.sendRules(c, t, false)
	// Base chains come last: from here to the commit, which the kernel does at once,
	// they already stand at their hooks.
	d.sendChains(c, t, true)
	d.sendRules(c, t, true)
	return true, nil
}

func changeElements(c *gnft.Conn, s *gnft.Set, e setChange) error {
	if len(e.del) > 0 {
		if err := c.SetDeleteElements(s, elements(e.del)); err != nil {
			return fmt.Errorf("delete elements of %s: %w", s.Name, err)
		}
	}
	return addElements(c, s, e.add)
}

func addElements(c *gnft.Conn, s *gnft.Set, es []element) error {
	if err := c.SetAddElements(s, elements(es)); err != nil {
		return fmt.Errorf("add elements to %s: %w", s.Name, err)
	}
	return nil
}

func elements(es []element) []gnft.SetElement {
	out := make([]gnft.SetElement, 0, len(es)*2)
	for _, e := range es {
		x := gnft.SetElement{Key: e.key, Comment: e.comment}
		if e.verdict.Kind != nftables.None {
			x.VerdictData = verdict(e.verdict)
		}
		out = append(out, x)
		if e.next != nil {
			out = append(out, gnft.SetElement{Key: e.next, IntervalEnd: true})
		}
	}
	return out
}

// sendChains adds the base chains, or the others. A base chain without rules lets all
// pass, as before it was there.
func (d *difference) sendChains(c *gnft.Conn, t *gnft.Table, base bool) {
	for _, ch := range d.chains {
		if (ch.Base != nil) == base {
			c.AddChain(chainOf(t, ch, packet.Accept))
		}
	}
}

// chainOf encodes a chain, a base chain with the policy.
func chainOf(t *gnft.Table, ch *nftables.Chain, policy packet.Verdict) *gnft.Chain {
	g := &gnft.Chain{Table: t, Name: ch.Name}
	if b := ch.Base; b != nil {
		p := gnft.ChainPolicy(policyNum(policy))
		g.Type, g.Policy = gnft.ChainTypeFilter, &p
		g.Hooknum = gnft.ChainHookRef(gnft.ChainHook(hookNums[b.Hook]))
		g.Priority = gnft.ChainPriorityRef(gnft.ChainPriority(b.Priority)) //nolint:gosec // of a hook
	}
	return g
}

// sendRules puts the new rules of base chains, or of all others, into place. A
// chain's changes run from its last rule to its first.
func (d *difference) sendRules(c *gnft.Conn, t *gnft.Table, base bool) {
	for _, r := range slices.Backward(d.rules) {
		if r.add.text == "" || r.base != base {
			continue
		}
		g := &gnft.Rule{Table: t, Chain: &gnft.Chain{Table: t, Name: r.chain}, Exprs: r.add.exprs, Position: r.before}
		if r.add.comment != "" {
			g.UserData = userdata.AppendString(nil, userdata.TypeComment, r.add.comment)
		}
		if r.before != 0 {
			c.InsertRule(g)
		} else {
			c.AddRule(g)
		}
	}
}

func (d *difference) sendClear(c *gnft.Conn, t *gnft.Table) (bool, error) {
	policies := slices.Clone(d.policies)
	for _, ch := range d.chains {
		if ch.Base != nil && ch.Base.Policy != packet.Accept {
			policies = append(policies, ch)
		}
	}
	for _, ch := range policies {
		c.AddChain(chainOf(t, ch, ch.Base.Policy))
	}
	deleteAll(c, t, d.oldSets, d.oldChains)
	return len(policies)+len(d.oldSets)+len(d.oldChains) > 0, nil
}

// sendAside takes the base chains of the table away. Before that it lets them pass what
// reaches their end, as a packet does that finds one without its rules.
func sendAside(t *read.Table) error {
	for _, put := range []func(*gnft.Conn, *gnft.Chain){func(c *gnft.Conn, ch *gnft.Chain) { c.AddChain(ch) }, (*gnft.Conn).DelChain} {
		c, err := gnft.New()
		if err != nil {
			return err
		}
		for _, ch := range t.Chains {
			if ch.Hook == nil {
				continue
			}
			policy := gnft.ChainPolicyAccept
			put(c, &gnft.Chain{Table: table(), Name: ch.Name, Type: gnft.ChainType(ch.Type), Policy: &policy,
				Hooknum: gnft.ChainHookRef(gnft.ChainHook(ch.Hook.Num)), Priority: gnft.ChainPriorityRef(gnft.ChainPriority(ch.Hook.Priority))})
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func sendRemoved() error {
	c, err := gnft.New()
	if err != nil {
		return err
	}
	c.DelTable(table())
	return c.Flush()
}
