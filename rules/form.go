package rules

import (
	"slices"
	"strconv"
	"strings"
)

// form is what the value of a key must look like. The loader checks values by
// it and the JSON Schema is written from it, so that neither can drift.
type form struct {
	kinds   kind     // the TOML types that are allowed
	noun    string   // what a message says was expected; "" for the types' own nouns
	example string   // a right value, for the hint; "" for none
	words   []string // the only strings allowed; empty: any string
	pattern string   // what strings look like, for the schema; the loader's parsers say it better
	item    *form    // of an array's elements
	some    bool     // an array that must not be empty
	values  *form    // of the values of a table with free keys
	table   *keys    // of a table with fixed keys
	named   bool     // a table of sections: its keys are names of the policy's own
	min     int64    // of integers
	max     int64    // of integers; 0: no bound
}

// keys describes the keys of a table.
type keys struct {
	title string // "service", "[defaults]": how messages speak of the table
	list  []keyInfo
}

// keyInfo is what is known of one key but for where its value goes.
type keyInfo struct {
	name     string
	doc      string
	form     form
	required bool
}

// key is one key of a table that is read into a T.
type key[T any] struct {
	keyInfo
	set func(r *reader, dst *T, v *node)
}

func keysOf[T any](title string, list []key[T]) *keys {
	ks := &keys{title: title}
	for _, k := range list {
		ks.list = append(ks.list, k.keyInfo)
	}
	return ks
}

func (f form) expected() string {
	if f.noun != "" {
		return f.noun
	}
	var nouns []string
	for k := stringKind; k <= tablesKind; k <<= 1 {
		if f.kinds&k != 0 {
			nouns = append(nouns, k.String())
		}
	}
	return alternatives(nouns)
}

// Shorthands for the forms of the sections.
var (
	text    = form{kinds: stringKind}
	boolean = form{kinds: booleanKind}
)

// notEmpty is the form of an array that must hold something.
func notEmpty(f form) form {
	f.some = true
	return f
}

func oneOf(words ...string) form { return form{kinds: stringKind, words: words} }

func listOf(item form, noun, example string) form {
	return form{kinds: arrayKind, noun: noun, example: example, item: &item}
}

// reader reads the tables of one file.
type reader struct {
	*loader
	file *fileText
	bad  bool // an error was reported since it was last cleared
}

// conform reports every way in which a value is not of its form. It returns the
// part of it that is, nil if nothing is left.
func (r *reader) conform(name string, f form, v *node) *node {
	if v.kind&f.kinds == 0 {
		r.wrongType(name, f, v)
		return nil
	}
	switch {
	case v.kind == stringKind && len(f.words) > 0 && !slices.Contains(f.words, v.text):
		r.errorAt(v.off, name+" cannot be "+quote(v.text)+": it is "+alternatives(f.words), nearest(v.text, f.words))
		return nil
	case v.kind == integerKind:
		return r.conformInteger(name, f, v)
	case v.kind == arrayKind && f.item != nil:
		return r.conformItems(name, f, v)
	}
	return v
}

func (r *reader) wrongType(name string, f form, v *node) {
	hint := ""
	switch {
	case f.kinds&arrayKind != 0 && v.kind == stringKind:
		hint = "write " + name + " = [" + quote(v.text) + "]"
	case f.kinds&(dateKind|dateTimeKind) != 0 && v.kind == stringKind:
		hint = "dates stand without quotes"
	case f.kinds == booleanKind && (v.text == "true" || v.text == "false"):
		hint = "write " + name + " = " + v.text
	case v.kind == localDateTimeKind && f.kinds&dateTimeKind != 0:
		hint = "add the offset: " + v.text + "Z or " + v.text + "+01:00"
	case v.kind == tablesKind && f.named:
		hint = "sections have names: [" + name + ".NAME]"
	case f.example != "":
		hint = "such as " + f.example
	}
	r.errorAt(v.off, name+" must be "+f.expected()+", not "+v.kind.String(), hint)
}

func (r *reader) conformInteger(name string, f form, v *node) *node {
	n, err := integer(v.text)
	switch {
	case err != nil:
		r.errorAt(v.off, name+" is too large", "")
	case f.max > 0 && f.min == f.max && n != f.max:
		r.errorAt(v.off, name+" must be "+strconv.FormatInt(f.max, 10)+", not "+v.text, "")
	case f.max > 0 && (n < f.min || n > f.max):
		r.errorAt(v.off, name+" must be from "+strconv.FormatInt(f.min, 10)+" to "+strconv.FormatInt(f.max, 10), "")
	default:
		return v
	}
	return nil
}

func (r *reader) conformItems(name string, f form, v *node) *node {
	if f.some && len(v.items) == 0 {
		r.errorAt(v.off, name+" is empty: that means none, never all", "leave it out, or put something in")
	}
	good := *v
	good.items = nil
	for _, item := range v.items {
		if item.kind&f.item.kinds == 0 {
			r.wrongItem(name, *f.item, item)
		} else if ok := r.conform(name, *f.item, item); ok != nil {
			good.items = append(good.items, ok)
		}
	}
	return &good
}

func (r *reader) wrongItem(name string, f form, v *node) {
	hint := ""
	switch {
	case v.kind == integerKind && strings.HasSuffix(f.noun, "protocol"):
		hint = "write " + quote(v.text+"/tcp") + " or " + quote(v.text+"/udp")
	case f.example != "":
		hint = "such as " + f.example
	case f.kinds == stringKind && v.text != "":
		hint = "write " + quote(v.text)
	}
	r.errorAt(v.off, "an entry of "+name+" must be "+f.expected()+", not "+v.kind.String(), hint)
}

// integer reads a TOML integer.
func integer(s string) (int64, error) {
	return strconv.ParseInt(strings.TrimPrefix(s, "+"), 0, 64)
}

// readTable reads the keys of a table into dst: unknown keys, wrong values and
// missing keys are reported. It returns the keys that were there but could not be
// read, or were probably meant by unknown ones: nobody is told that they are
// missing.
func readTable[T any](r *reader, t *node, title string, list []key[T], dst *T) map[string]bool {
	meant := map[string]bool{}
	for _, e := range t.entries {
		i := slices.IndexFunc(list, func(k key[T]) bool { return k.name == e.name })
		if i < 0 {
			meant[r.unknownKey(e, keysOf(title, list))] = true
			continue
		}
		if v := r.conform(e.name, list[i].form, e.val); v != nil {
			list[i].set(r, dst, v)
		} else {
			meant[e.name] = true
		}
	}
	for i := range list {
		k := &list[i].keyInfo
		if k.required && !meant[k.name] && !slices.ContainsFunc(t.entries, func(e entry) bool { return e.name == k.name }) {
			r.missingKey(t, title, *k)
		}
	}
	return meant
}

func (r *reader) missingKey(t *node, title string, k keyInfo) {
	hint := k.doc
	if k.form.example != "" {
		hint = "such as " + k.name + " = " + k.form.example
	}
	r.errorAt(t.off, title+" has no "+k.name, hint)
}

// unknownKey reports a key that is not listed, and returns the one that was
// probably meant, "" if none.
func (r *reader) unknownKey(e entry, ks *keys) string {
	var names []string
	for _, k := range ks.list {
		names = append(names, k.name)
	}
	what := "key " + quote(e.name) + " in " + ks.title
	if e.val.kind == tableKind && ks.title == wholePolicy {
		what = "section [" + e.name + "]"
	}
	r.errorAt(e.off, "unknown "+what, nearestOr(e.name, names, "known: "+strings.Join(names, ", ")))
	return nearestWord(e.name, names)
}

// wholePolicy is how messages call the table that holds all others.
const wholePolicy = "the policy"
