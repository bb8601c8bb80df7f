package nftables

import (
	"fmt"
	"time"
)

// Table is what the kernel holds under one name and family.
type Table struct {
	Family uint8 // NFPROTO_*: 1 inet, 2 ip, 10 ip6
	Name   string
	Flags  uint32 // NFT_TABLE_F_*: 1 dormant, 2 owner, 4 persist
	Handle uint64 // grows from table to table, whatever their families
	Chains []Chain
	Rules  []Rule // in the order of their chains
	Sets   []Set
}

// Chain is a chain without its rules.
type Chain struct {
	Name     string
	Type     string // "filter", "nat", "route" for a base chain, else ""
	Hook     *Hook  // nil unless it is a base chain
	Policy   uint32 // NF_ACCEPT 1, NF_DROP 0; base chains only
	Flags    uint32
	UserData []byte
}

// Hook is where a base chain sits.
type Hook struct {
	Num      uint32 // NF_INET_*
	Priority int32
}

// Rule is one rule; its expressions run in order until one does not match.
type Rule struct {
	Chain    string
	Handle   uint64
	Exprs    []Expr
	UserData []byte
}

// Expr is one expression, decoded or not.
type Expr struct {
	Name string
	Data []byte // its attributes
}

// Set is a set or map without its elements.
type Set struct {
	Name     string
	Flags    uint32   // NFT_SET_*
	KeyType  uint32   // nft's data type, for listings only
	KeyLen   uint32   // bytes
	Parts    []uint32 // of a concatenation with ranges: the bytes of each part
	DataType uint32   // NFT_DATA_VERDICT 0xffffff00 for a verdict map
	ObjType  uint32   // NFT_OBJECT_* of a map to objects
	Timeout  time.Duration
	Size     uint32 // most elements; 0: no bound
	Count    uint32 // elements held, a range as one, where the kernel says so (6.15); else 0
	UserData []byte
	Elements []Element
	Unread   bool // Elements were left out
}

// Element is one element of a set.
type Element struct {
	Key      []byte
	KeyEnd   []byte // of a range in a concatenation
	End      bool   // this key ends the range that an earlier one began
	CatchAll bool
	Verdict  *Verdict // verdict maps
	Data     []byte   // other maps
	Object   string   // maps to objects
	Timed    bool     // it has a timeout or an expression: state, not policy
	UserData []byte
}

// Verdict is a verdict as data.
type Verdict struct {
	Code  int32 // NF_DROP 0, NF_ACCEPT 1, NFT_JUMP -3, NFT_GOTO -4, NFT_RETURN -5
	Chain string
}

// Attribute numbers, all from linux/netfilter/nf_tables.h.
const (
	tableName, tableFlags, tableHandle = 1, 2, 4

	chainName, chainHook, chainPolicy, chainType, chainFlags, chainUserData = 3, 4, 5, 7, 10, 12
	hookNum, hookPriority                                                   = 1, 2

	ruleChain, ruleHandle, ruleExprs, ruleUserData = 2, 3, 4, 7
	exprName, exprData                             = 1, 2

	setName, setFlags, setKeyType, setKeyLen, setDataType = 2, 3, 4, 5, 6
	setDesc, setTimeout, setUserData, setCount            = 9, 11, 13, 20
	setObjType, descSize, descConcat, fieldLen            = 15, 1, 2, 1

	elemListElements                                         = 3
	elemKey, elemData, elemFlags, elemTimeout                = 1, 2, 3, 4
	elemUserData, elemExpr, elemKeyEnd, elemExprs            = 6, 7, 10, 11
	elemObject                                               = 9
	dataValue, dataVerdict, verdictCode, verdictChain        = 1, 2, 1, 2
	elemIntervalEnd, elemCatchAll                     uint64 = 1, 2
)

// DecodeTable reads the attributes of a NFT_MSG_NEWTABLE message.
func DecodeTable(family uint8, b []byte) (*Table, error) {
	t := &Table{Family: family}
	err := eachAttr(b, func(a Attr) error {
		switch a.Type {
		case tableName:
			t.Name = text(a.Data)
		case tableFlags:
			t.Flags = uint32(number(a.Data))
		case tableHandle:
			t.Handle = number(a.Data)
		}
		return nil
	})
	return t, wrap("table", err)
}

// DecodeChain reads the attributes of a NFT_MSG_NEWCHAIN message.
func DecodeChain(b []byte) (Chain, error) {
	var c Chain
	err := eachAttr(b, func(a Attr) (err error) {
		switch a.Type {
		case chainName:
			c.Name = text(a.Data)
		case chainHook:
			c.Hook, err = decodeHook(a.Data)
		case chainPolicy:
			c.Policy = uint32(number(a.Data))
		case chainType:
			c.Type = text(a.Data)
		case chainFlags:
			c.Flags = uint32(number(a.Data))
		case chainUserData:
			c.UserData = a.Data
		}
		return err
	})
	return c, wrap("chain", err)
}

func decodeHook(b []byte) (*Hook, error) {
	h := &Hook{}
	err := eachAttr(b, func(a Attr) error {
		switch a.Type {
		case hookNum:
			h.Num = uint32(number(a.Data))
		case hookPriority:
			h.Priority = int32(number(a.Data))
		}
		return nil
	})
	return h, err
}

// DecodeRule reads the attributes of a NFT_MSG_NEWRULE message.
func DecodeRule(b []byte) (Rule, error) {
	var r Rule
	err := eachAttr(b, func(a Attr) (err error) {
		switch a.Type {
		case ruleChain:
			r.Chain = text(a.Data)
		case ruleHandle:
			r.Handle = number(a.Data)
		case ruleExprs:
			r.Exprs, err = DecodeExprs(a.Data)
		case ruleUserData:
			r.UserData = a.Data
		}
		return err
	})
	return r, wrap("rule", err)
}

// DecodeExprs reads a list of expressions.
func DecodeExprs(b []byte) ([]Expr, error) {
	var out []Expr
	err := eachAttr(b, func(a Attr) error {
		e, err := DecodeExpr(a.Data)
		out = append(out, e)
		return err
	})
	return out, wrap("expressions", err)
}

// DecodeExpr reads one expression: its name and its attributes.
func DecodeExpr(b []byte) (Expr, error) {
	var e Expr
	err := eachAttr(b, func(a Attr) error {
		switch a.Type {
		case exprName:
			e.Name = text(a.Data)
		case exprData:
			e.Data = a.Data
		}
		return nil
	})
	return e, err
}

// DecodeSet reads the attributes of a NFT_MSG_NEWSET message.
func DecodeSet(b []byte) (Set, error) {
	var s Set
	err := eachAttr(b, func(a Attr) (err error) {
		switch a.Type {
		case setName:
			s.Name = text(a.Data)
		case setFlags:
			s.Flags = uint32(number(a.Data))
		case setKeyType:
			s.KeyType = uint32(number(a.Data))
		case setKeyLen:
			s.KeyLen = uint32(number(a.Data))
		case setDataType:
			s.DataType = uint32(number(a.Data))
		case setTimeout:
			s.Timeout = time.Duration(number(a.Data)) * time.Millisecond
		case setUserData:
			s.UserData = a.Data
		case setCount:
			s.Count = uint32(number(a.Data))
		case setObjType:
			s.ObjType = uint32(number(a.Data))
		case setDesc:
			err = s.decodeDesc(a.Data)
		}
		return err
	})
	return s, wrap("set", err)
}

func (s *Set) decodeDesc(b []byte) error {
	return eachAttr(b, func(a Attr) error {
		switch a.Type {
		case descSize:
			s.Size = uint32(number(a.Data))
		case descConcat:
			return eachAttr(a.Data, func(part Attr) error { return s.decodePart(part.Data) })
		}
		return nil
	})
}

func (s *Set) decodePart(b []byte) error {
	return eachAttr(b, func(a Attr) error {
		if a.Type == fieldLen {
			s.Parts = append(s.Parts, uint32(number(a.Data)))
		}
		return nil
	})
}

// AppendElements reads the elements of a NFT_MSG_NEWSETELEM message behind those
// already read.
func AppendElements(to []Element, b []byte) ([]Element, error) {
	err := eachAttr(b, func(list Attr) error {
		if list.Type != elemListElements {
			return nil
		}
		return eachAttr(list.Data, func(a Attr) error {
			e, err := decodeElement(a.Data)
			to = append(to, e)
			return err
		})
	})
	return to, wrap("set element", err)
}

func decodeElement(b []byte) (Element, error) {
	var e Element
	err := eachAttr(b, func(a Attr) (err error) {
		switch a.Type {
		case elemKey:
			e.Key, err = decodeValue(a.Data)
		case elemKeyEnd:
			e.KeyEnd, err = decodeValue(a.Data)
		case elemData:
			err = e.decodeData(a.Data)
		case elemObject:
			e.Object = text(a.Data)
		case elemFlags:
			flags := number(a.Data)
			e.End, e.CatchAll = flags&elemIntervalEnd != 0, flags&elemCatchAll != 0
		case elemTimeout, elemExpr, elemExprs:
			e.Timed = true
		case elemUserData:
			e.UserData = a.Data
		}
		return err
	})
	return e, err
}

func decodeValue(b []byte) ([]byte, error) {
	var v []byte
	err := eachAttr(b, func(a Attr) error {
		if a.Type == dataValue {
			v = a.Data
		}
		return nil
	})
	return v, err
}

func (e *Element) decodeData(b []byte) error {
	return eachAttr(b, func(a Attr) (err error) {
		switch a.Type {
		case dataValue:
			e.Data = a.Data
		case dataVerdict:
			e.Verdict, err = decodeVerdict(a.Data)
		}
		return err
	})
}

func decodeVerdict(b []byte) (*Verdict, error) {
	v := &Verdict{}
	err := eachAttr(b, func(a Attr) error {
		switch a.Type {
		case verdictCode:
			v.Code = int32(number(a.Data))
		case verdictChain:
			v.Chain = text(a.Data)
		}
		return nil
	})
	return v, err
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}
