package rules

import (
	"bytes"
	"errors"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is the type of a TOML value.
type kind uint16

const (
	stringKind kind = 1 << iota
	integerKind
	floatKind
	booleanKind
	dateKind          // 2027-01-31
	dateTimeKind      // with an offset
	localDateTimeKind // without
	timeKind
	arrayKind
	tableKind
	tablesKind // an array of tables
)

var kindOf = map[unstable.Kind]kind{
	unstable.String: stringKind, unstable.Integer: integerKind, unstable.Float: floatKind, unstable.Bool: booleanKind,
	unstable.LocalDate: dateKind, unstable.DateTime: dateTimeKind, unstable.LocalDateTime: localDateTimeKind,
	unstable.LocalTime: timeKind, unstable.Array: arrayKind, unstable.InlineTable: tableKind,
}

var kindNouns = map[kind]string{
	stringKind: "a string", integerKind: "an integer", floatKind: "a float", booleanKind: "a boolean", dateKind: "a date",
	dateTimeKind: "a date-time", localDateTimeKind: "a date-time without offset", timeKind: "a time", arrayKind: "an array",
	tableKind: "a table", tablesKind: "an array of tables",
}

// String returns the type with its article.
func (k kind) String() string { return kindNouns[k] }

// node is a TOML value with its place.
type node struct {
	kind    kind
	off     int     // where it begins; for a table of its own, its header
	text    string  // a string's value, another scalar as written
	items   []*node // of an array
	entries []entry // of a table, in the order of the file
	made    origin  // of a table
}

// origin says how a table came to be, and with it what may still be added.
type origin uint8

const (
	implied origin = iota // by the path of a header: [a.b] makes a
	dotted                // by the path of a key: a.b = 1 makes a
	headed                // by a header of its own
	inline                // complete with its closing brace
)

// entry is a key of a table.
type entry struct {
	name string
	off  int // where the key stands
	val  *node
}

func (n *node) get(name string) *node {
	for i := range n.entries {
		if n.entries[i].name == name {
			return n.entries[i].val
		}
	}
	return nil
}

// fault is something wrong with the syntax of a file.
type fault struct {
	off     int // where
	summary string
	earlier int // of a duplicate: where the first one is
}

// document is the outcome of reading a file's syntax.
type document struct {
	root       *node
	duplicates []fault
	broken     *fault      // what ended the tree before the end of the file
	judged     chan *fault // what the judge finds, nil if nothing; one value
}

// parseTOML reads the syntax of a file. The tree and the places come from one
// parser; another, complete one is the judge of what is TOML. It is the slower
// of the two, so it works while the tree is read.
func parseTOML(data []byte) document {
	if bytes.HasPrefix(data, byteOrderMark) {
		data = append([]byte("   "), data[len(byteOrderMark):]...) // every place stays what it is
	}
	doc := document{root: &node{kind: tableKind, made: headed}, judged: make(chan *fault, 1)}
	if doc.broken = beyondBounds(data); doc.broken != nil {
		doc.judged <- nil
		return doc
	}
	go func() { doc.judged <- judge(data) }()
	b := &builder{data: data, root: doc.root, table: doc.root, index: map[*node]map[string]*node{}}
	doc.broken = b.build()
	doc.duplicates = b.faults
	return doc
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// judge returns what BurntSushi/toml finds wrong.
func judge(data []byte) *fault {
	var nothing struct{}
	_, err := toml.Decode(string(data), &nothing)
	if err == nil {
		return nil
	}
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &fault{summary: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	return &fault{off: pe.Position.Start, summary: pe.Message}
}

// builder makes the tree of nodes.
type builder struct {
	data   []byte
	root   *node
	table  *node // where key-value pairs go
	faults []fault
	index  map[*node]map[string]*node // look-up for tables with many keys
}

// build makes the tree, and returns what ends it too soon.
func (b *builder) build() *fault {
	p := unstable.Parser{}
	p.Reset(b.data)
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.KeyValue:
			b.keyValue(b.table, e)
		case unstable.Table:
			b.table = b.header(e, false)
		case unstable.ArrayTable:
			b.table = b.header(e, true)
		default: // comments, which were not asked for
		}
	}
	return b.fault(p.Error())
}

func (b *builder) fault(err error) *fault {
	if err == nil {
		return nil
	}
	var pe *unstable.ParserError
	if errors.As(err, &pe) {
		return &fault{off: cap(b.data) - cap(pe.Highlight), summary: pe.Message}
	}
	return &fault{summary: err.Error()}
}

// header enters [a.b] or [[a.b]].
func (b *builder) header(e *unstable.Node, many bool) *node {
	t := b.root
	for it := e.Key(); it.Next(); {
		k := it.Node()
		name, off := string(k.Data), int(k.Raw.Offset)
		old := b.get(t, name)
		if !it.IsLast() {
			t = b.below(t, old, entry{name: name, off: off})
			continue
		}
		return b.open(t, old, entry{name: name, off: off}, b.headerStart(off), many)
	}
	return t
}

// headerStart returns the offset of the bracket that opens the header in which
// a key stands: headers fill a line of their own.
func (b *builder) headerStart(off int) int {
	line := bytes.LastIndexByte(b.data[:off], '\n') + 1
	return line + max(bytes.IndexByte(b.data[line:off], '['), 0)
}

// headerText returns the header at the offset, brackets and all.
func (b *builder) headerText(off int) string {
	header, _, _ := bytes.Cut(b.data[off:], []byte{']'})
	return printable(string(header)) + "]"
}

// below returns the table of that name in t on the path of a header, made if it
// is missing.
func (b *builder) below(t, old *node, e entry) *node {
	switch {
	case old == nil:
		return b.addTable(t, e, implied)
	case old.kind == tablesKind:
		return old.items[len(old.items)-1]
	case old.kind == tableKind && old.made != inline:
		return old
	}
	return b.complete(old, e)
}

// within does the same on the path of a dotted key, which may add to nothing but
// what such keys made: a table has one place (TOML 1.0, "Keys", "Table").
func (b *builder) within(t, old *node, e entry) *node {
	switch {
	case old == nil:
		return b.addTable(t, e, dotted)
	case old.kind == tableKind && old.made == dotted:
		return old
	}
	return b.complete(old, e)
}

func (b *builder) addTable(t *node, e entry, made origin) *node {
	e.val = &node{kind: tableKind, off: e.off, made: made}
	b.add(t, e)
	return e.val
}

// complete reports that something is added to what is complete already. What is
// added goes to the table that it returns, and nowhere else.
func (b *builder) complete(old *node, e entry) *node {
	what := old.kind.String()
	switch {
	case old.kind == tableKind && old.made == inline:
		what = "an inline table"
	case old.kind == tableKind:
		what = "a table with a header"
	}
	b.faults = append(b.faults, fault{off: e.off, summary: quote(e.name) + " is " + what + ", to which nothing can be added", earlier: old.off})
	return &node{kind: tableKind, off: e.off, made: dotted}
}

func (b *builder) open(t, old *node, e entry, off int, many bool) *node {
	fresh := &node{kind: tableKind, off: off, made: headed}
	switch {
	case old == nil && many:
		e.val = &node{kind: tablesKind, off: off, items: []*node{fresh}}
		b.add(t, e)
	case old == nil:
		e.val = fresh
		b.add(t, e)
	case many && old.kind == tablesKind:
		old.items = append(old.items, fresh)
	case !many && old.kind == tableKind && old.made == implied:
		old.made, old.off = headed, off
		return old
	default:
		b.duplicate(off, b.headerText(off), old.off)
	}
	return fresh
}

// keyValue enters a.b = value into t.
func (b *builder) keyValue(t *node, e *unstable.Node) {
	var last *unstable.Node
	for it := e.Key(); it.Next(); {
		last = it.Node()
		if it.IsLast() {
			break
		}
		name, off := string(last.Data), int(last.Raw.Offset)
		t = b.within(t, b.get(t, name), entry{name: name, off: off})
	}
	name, off := string(last.Data), int(last.Raw.Offset)
	val, _ := b.value(e.Value(), off+int(last.Raw.Length))
	if old := b.get(t, name); old != nil {
		b.duplicate(off, quote(name), b.keyOffset(t, name))
		return
	}
	b.add(t, entry{name: name, off: off, val: val})
}

func (b *builder) duplicate(off int, what string, earlier int) {
	b.faults = append(b.faults, fault{off: off, summary: what + " is defined twice", earlier: earlier})
}

// value makes the node of a value that begins at or after the offset, and
// returns where it ends. The parser gives no place for arrays, so the gaps are
// walked over.
func (b *builder) value(v *unstable.Node, from int) (*node, int) {
	n := &node{kind: kindOf[v.Kind]}
	switch v.Kind {
	case unstable.Array:
		n.off = b.skip(from, '[')
		end := n.off + 1
		for it := v.Children(); it.Next(); {
			var item *node
			item, end = b.value(it.Node(), end)
			n.items = append(n.items, item)
		}
		return n, b.skip(end, ']') + 1
	case unstable.InlineTable:
		n.off, n.made = int(v.Raw.Offset), inline
		end := n.off + 1
		for it := v.Children(); it.Next(); {
			b.keyValue(n, it.Node())
			end = int(it.Node().Raw.Offset + it.Node().Raw.Length)
		}
		return n, b.skip(end, '}') + 1
	default: // scalars, below
	}
	n.off, n.text = int(v.Raw.Offset), string(v.Data)
	return n, int(v.Raw.Offset + v.Raw.Length)
}

// skip walks over white space, commas, equal signs and comments to the
// character, and returns its offset.
func (b *builder) skip(from int, to byte) int {
	for i := from; i < len(b.data); i++ {
		switch b.data[i] {
		case to:
			return i
		case '#':
			if end := bytes.IndexByte(b.data[i:], '\n'); end > 0 {
				i += end
			}
		}
	}
	return min(from, len(b.data))
}

// manyKeys is the size from which a table's keys are looked up by map.
const manyKeys = 16

func (b *builder) get(t *node, name string) *node {
	if len(t.entries) < manyKeys {
		return t.get(name)
	}
	return b.index[t][name]
}

func (b *builder) add(t *node, e entry) {
	t.entries = append(t.entries, e)
	switch {
	case len(t.entries) == manyKeys:
		m := make(map[string]*node, 2*manyKeys)
		for _, e := range t.entries {
			m[e.name] = e.val
		}
		b.index[t] = m
	case len(t.entries) > manyKeys:
		b.index[t][e.name] = e.val
	}
}

func (b *builder) keyOffset(t *node, name string) int {
	for _, e := range t.entries {
		if e.name == name {
			return e.off
		}
	}
	return t.off
}
