package netlab

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tableName is the lab's own table. What is under test must leave it alone.
const tableName = "netlab"

// sets is the lab's table: sets into which the kernel writes the tags of probes.
type sets struct {
	conn                           *nftables.Conn
	dump                           *netlink.Conn
	table                          *nftables.Table
	cards                          int
	reached, passed, left, refused *nftables.Set // at the hook of a probe
	arrived, routed                *nftables.Set // at prerouting, and at forward
	moved, sent                    *nftables.Set // behind postrouting: with another source, and sent on through the host
}

// The places of the lab's chains: before and behind whatever filters.
var (
	placeFirst = nftables.ChainPriorityRef(-1_000_000)
	placeLast  = nftables.ChainPriorityRef(1_000_000)
)

func (l *Lab) openSets() (err error) {
	s := &sets{cards: len(l.cards), table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}}
	if s.conn, err = nftables.New(nftables.WithNetNSFd(int(l.host))); err != nil {
		return err
	}
	if s.dump, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(l.host), MessageBufferSize: 1 << 16}); err != nil {
		return err
	}
	l.sets = s
	s.conn.AddTable(s.table)
	for _, to := range []struct {
		set  **nftables.Set
		name string
	}{{&s.reached, "reached"}, {&s.passed, "passed"}, {&s.left, "left"}, {&s.refused, "refused"}, {&s.arrived, "arrived"}, {&s.routed, "routed"}, {&s.moved, "moved"}, {&s.sent, "sent"}} {
		*to.set = &nftables.Set{Table: s.table, Name: to.name, KeyType: nftables.TypeInetService, Dynamic: true, Size: 1 << 17}
		if err := s.conn.AddSet(*to.set, nil); err != nil {
			return err
		}
	}
	s.addChains()
	if err := s.conn.Flush(); err != nil {
		return fmt.Errorf("load table %s: %w", tableName, err)
	}
	return nil
}

func (s *sets) close() {
	s.dump.Close()
}

func (s *sets) addChains() {
	s.chain("untrack", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw,
		[]expr.Any{load(expr.PayloadBaseLLHeader, macFlags, 1), equal(frameUntracked), &expr.Notrack{}})
	s.chain("prerouting_first", nftables.ChainHookPrerouting, placeFirst, s.note(s.arrived)...)
	s.chain("route", nftables.ChainHookPrerouting, placeLast, s.routes()...)
	s.chain("input_first", nftables.ChainHookInput, placeFirst, append([][]expr.Any{setRoute(0)}, s.note(s.reached)...)...)
	s.chain("input_last", nftables.ChainHookInput, placeLast, s.note(s.passed, drop)...)
	s.chain("forward_first", nftables.ChainHookForward, placeFirst,
		slices.Concat([][]expr.Any{setRoute(0)}, s.note(s.reached), s.note(s.routed))...)
	s.chain("forward_last", nftables.ChainHookForward, placeLast, s.note(s.passed)...)
	s.chain("postrouting_last", nftables.ChainHookPostrouting, placeLast, append(s.noteIf(translated, s.moved), s.dropForwarded()...)...)
	s.chain("output_first", nftables.ChainHookOutput, placeFirst, s.note(s.reached)...)
	s.chain("output_last", nftables.ChainHookOutput, placeLast,
		append(s.note(s.left, ifNotLoopback, loopback, drop), s.answers()...)...)
}

// dropForwarded ends the way of probes that leave through the host.
func (s *sets) dropForwarded() [][]expr.Any {
	return s.noteIf([]expr.Any{&expr.Meta{Key: expr.MetaKeyIIF, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}}, s.sent, drop)
}

// routes asks for the interface that the frame names.
func (s *sets) routes() [][]expr.Any {
	var rules [][]expr.Any
	for card := range s.cards {
		rules = append(rules, join([]expr.Any{load(expr.PayloadBaseLLHeader, macMark, 1), equal(byte(card + 1))}, setRoute(byte(card+1))))
	}
	return rules
}

// setRoute puts a number into the highest byte of the mark, by which packets are
// routed; the others are left to the rules under test.
func setRoute(card byte) []expr.Any {
	mask, xor := make([]byte, 4), make([]byte, 4)
	binary.NativeEndian.PutUint32(mask, 1<<routeShift-1)
	binary.NativeEndian.PutUint32(xor, uint32(card)<<routeShift)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: xor},
		setMark,
	}
}

// routeShift is where the highest byte of the mark begins.
const routeShift = 24

func (s *sets) chain(name string, hook *nftables.ChainHook, place *nftables.ChainPriority, rules ...[]expr.Any) {
	c := s.conn.AddChain(&nftables.Chain{Name: name, Table: s.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: place})
	for _, r := range rules {
		s.conn.AddRule(&nftables.Rule{Table: s.table, Chain: c, Exprs: r})
	}
}

// Offsets into the Ethernet header, of the source address: see frame.
const (
	macFlags = 7
	macMark  = 8
)

var (
	translated    = statusHas(1 << 4) // IPS_SRC_NAT, linux/netfilter/nf_conntrack_common.h
	drop          = &expr.Verdict{Kind: expr.VerdictDrop}
	setMark       = &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}
	ifNotLoopback = &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}
	loopback      = &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte("lo\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
)

func load(base expr.PayloadBase, offset, n uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: n}
}

func equal(b ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }

func masked(mask, want byte) []expr.Any {
	return []expr.Any{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		equal(want),
	}
}

// statusHas is the condition that the status of the connection has a bit.
func statusHas(bit uint32) []expr.Any {
	mask, none := make([]byte, 4), make([]byte, 4)
	binary.NativeEndian.PutUint32(mask, bit)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: none},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: none},
	}
}

func family(f byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal(f)}
}

func protocol(p byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal(p)}
}

// note writes the tag of a probe into the set, then does what follows. Other
// packets go on.
func (s *sets) note(set *nftables.Set, then ...expr.Any) [][]expr.Any {
	return s.noteIf(nil, set, then...)
}

// noteIf is note for packets that fulfil a condition.
func (s *sets) noteIf(cond []expr.Any, set *nftables.Set, then ...expr.Any) [][]expr.Any {
	network := expr.PayloadBaseNetworkHeader
	return [][]expr.Any{
		join(cond, family(unix.NFPROTO_IPV4), one(load(network, 1, 1)), one(equal(probeClass)), one(load(network, 4, 2)), s.add(set), then),
		join(cond, family(unix.NFPROTO_IPV6), one(load(network, 0, 2)), one(equal(0x60|probeClass>>4, probeClass<<4&0xff)), one(load(network, 2, 2)), s.add(set), then),
	}
}

// answers writes the tags of refused probes, from what the host answers: ICMP's
// unreachables, whatever for, quote the header, a reset acknowledges the sequence number, or takes
// the acknowledged one.
func (s *sets) answers() [][]expr.Any {
	transport := expr.PayloadBaseTransportHeader
	return [][]expr.Any{
		join(family(unix.NFPROTO_IPV4), protocol(unix.IPPROTO_ICMP), one(load(transport, 0, 1)), one(equal(3)), one(load(transport, 8+4, 2)), s.add(s.refused)),
		join(family(unix.NFPROTO_IPV6), protocol(unix.IPPROTO_ICMPV6), one(load(transport, 0, 1)), one(equal(1)), one(load(transport, 8+2, 2)), s.add(s.refused)),
		join(protocol(unix.IPPROTO_TCP), one(load(transport, 13, 1)), masked(0x14, 0x14), one(load(transport, 8, 2)), s.add(s.refused)),
		join(protocol(unix.IPPROTO_TCP), one(load(transport, 13, 1)), masked(0x14, 0x04), one(load(transport, 4, 2)), s.add(s.refused)),
	}
}

func (s *sets) add(set *nftables.Set) []expr.Any {
	return one(&expr.Dynset{SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_ADD})
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// clear empties the sets.
func (s *sets) clear() error {
	for _, set := range []*nftables.Set{s.reached, s.passed, s.left, s.refused, s.arrived, s.routed, s.moved, s.sent} {
		s.conn.FlushSet(set)
	}
	return s.conn.Flush()
}

// tags is a set of tags.
type tags [1 << 13]byte

func (t *tags) has(tag uint16) bool { return t[tag/8]&(1<<(tag%8)) != 0 }

// read returns the tags that a set holds.
func (s *sets) read(set *nftables.Set) (*tags, error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: []byte(tableName + "\x00")},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: []byte(set.Name + "\x00")},
	})
	if err != nil {
		return nil, err
	}
	msgs, err := s.dump.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM,
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attrs...),
	})
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", set.Name, err)
	}
	t := new(tags)
	for _, m := range msgs {
		if err := t.decode(m.Data[4:]); err != nil {
			return nil, fmt.Errorf("read set %s: %w", set.Name, err)
		}
	}
	return t, nil
}

// decode adds the elements of one message: a list of elements, each with a key,
// which has a value.
func (t *tags) decode(b []byte) error {
	return each(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(b []byte) error {
		return each(b, unix.NFTA_LIST_ELEM, func(b []byte) error {
			return each(b, unix.NFTA_SET_ELEM_KEY, func(b []byte) error {
				return each(b, unix.NFTA_DATA_VALUE, func(b []byte) error {
					tag := binary.BigEndian.Uint16(b)
					t[tag/8] |= 1 << (tag % 8)
					return nil
				})
			})
		})
	})
}

// each calls fn with the contents of every attribute of the type.
func each(b []byte, typ uint16, fn func([]byte) error) error {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for d.Next() {
		if d.Type() == typ {
			if err := fn(d.Bytes()); err != nil {
				return err
			}
		}
	}
	return d.Err()
}
