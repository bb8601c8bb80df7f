package nftables

import (
	"bytes"
	"slices"
)

// Equal reports whether two reads of a table show the same: counters, limits
// and elements that come and go by themselves aside. Both may be nil.
func Equal(a, b *Table) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Flags == b.Flags &&
		slices.EqualFunc(a.Chains, b.Chains, equalChain) &&
		slices.EqualFunc(a.Rules, b.Rules, equalRule) &&
		slices.EqualFunc(a.Sets, b.Sets, equalSet)
}

func equalChain(a, b Chain) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Policy == b.Policy && a.Flags == b.Flags &&
		(a.Hook == nil) == (b.Hook == nil) && (a.Hook == nil || *a.Hook == *b.Hook)
}

func equalRule(a, b Rule) bool {
	if a.Chain != b.Chain || a.Handle != b.Handle || !bytes.Equal(a.UserData, b.UserData) {
		return false
	}
	x, errX := Canonical(a.Exprs)
	y, errY := Canonical(b.Exprs)
	return errX == nil && errY == nil && x == y
}

func equalSet(a, b Set) bool {
	return a.Name == b.Name && a.Flags == b.Flags && a.KeyType == b.KeyType && a.KeyLen == b.KeyLen &&
		a.DataType == b.DataType && a.Timeout == b.Timeout && a.Size == b.Size && a.Unread == b.Unread && (a.Count == b.Count || a.Dynamic()) &&
		(a.Dynamic() || slices.EqualFunc(a.Elements, b.Elements, equalElement))
}

// Dynamic reports whether packets fill the set (NFT_SET_EVAL), so that its
// elements are state.
func (s *Set) Dynamic() bool { return s.Flags&0x20 != 0 }

func equalElement(a, b Element) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.KeyEnd, b.KeyEnd) && a.End == b.End && a.CatchAll == b.CatchAll &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.UserData, b.UserData) &&
		(a.Verdict == nil) == (b.Verdict == nil) && (a.Verdict == nil || *a.Verdict == *b.Verdict)
}

// SortElements puts elements into the order of their keys, the end of one range
// before the beginning of the next. The kernel dumps them in any order.
func SortElements(es []Element) {
	slices.SortFunc(es, CompareElements)
}

// CompareElements orders elements by key, ends first.
func CompareElements(a, b Element) int {
	if c := bytes.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	switch {
	case a.End == b.End:
		return 0
	case a.End:
		return -1
	}
	return 1
}
