package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/exposure"
)

// answerTypes are what the commands write with --json, beside failed.
var answerTypes = map[string][]any{
	"apply": {apply.Outcome{}, apply.Ended{}}, "audit": {audited{}}, "boot": {apply.Booted{}}, "check": {checked{}},
	"compare": {comparison{}}, "confirm": {apply.Confirmation{}}, "drift": {drifted{}}, "explain": {explanation{}, liveExplanation{}, codes{}},
	"facts": {factsAnswer{}}, "history": {history{}}, "import": {imported{}}, "init": {begun{}}, "off": {apply.Removed{}}, "plan": {planned{}},
	"refresh": {apply.Refreshed{}}, "render": {rendered{}}, "rollback": {apply.Settled{}, apply.Outcome{}, apply.Ended{}}, "status": {apply.Status{}}, "version": {build{}},
}

// answersSchema is the JSON Schema of all answers, made of the types that are written. A
// strict one has no room for what it does not name; the other is for readers, who have to
// be content with more.
func answersSchema(strict bool) []byte {
	d := describer{defs: map[string]any{}, strict: strict, fields: map[string]map[string]string{}}
	failure := d.of(reflect.TypeFor[failed]())
	for command, types := range answerTypes {
		all := []any{failure}
		for _, v := range types {
			all = append(all, d.of(reflect.TypeOf(v)))
		}
		d.defs["fwctl "+command] = map[string]any{"anyOf": all}
	}
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "what fwctl answers with --json",
		"description": "The answer of a command is described by $defs, \"fwctl COMMAND\". Fields are only ever added.", "$defs": d.defs,
	}, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// describer makes schemas of types.
type describer struct {
	defs   map[string]any
	strict bool
	fields map[string]map[string]string // of packages: what their comments say of "Type.Field"
}

func (d *describer) of(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer {
		return d.of(t.Elem())
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[big.Int]():
		return map[string]any{"type": "integer"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return words(t)
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": d.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.of(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer"}
}

// words describes a type that writes itself as text: an enumeration, if it is a small
// number.
func words(t reflect.Type) map[string]any {
	out := map[string]any{"type": "string"}
	if t.Kind() != reflect.Uint8 {
		return out
	}
	var all []string
	for i := range uint64(32) {
		v := reflect.New(t).Elem()
		v.SetUint(i)
		text, ok := worded(v)
		if !ok || regexp.MustCompile(`[0-9]`).MatchString(text) {
			break
		}
		all = append(all, text)
	}
	out["enum"] = all
	return out
}

// worded asks a value for its text; one that has none panics.
func worded(v reflect.Value) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	b, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	return string(b), err == nil
}

// object describes a struct, once.
func (d *describer) object(t reflect.Type) map[string]any {
	name := strings.TrimPrefix(t.String(), "main.")
	if t.Name() == "" {
		return d.properties(t)
	}
	if _, known := d.defs[name]; !known {
		d.defs[name] = nil // it may hold itself
		d.defs[name] = d.properties(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (d *describer) properties(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	d.collect(t, properties, &required)
	slices.Sort(required)
	out := map[string]any{"type": "object", "properties": properties, "required": required}
	if d.strict {
		out["additionalProperties"] = false
	}
	return out
}

// collect adds the fields of a struct, and those of structs that it embeds.
func (d *describer) collect(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			d.collect(inner, properties, required)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			s := d.of(f.Type)
			if said := d.comment(t, f.Name); said != "" {
				s["description"] = said
			}
			properties[name] = s
			if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
				*required = append(*required, name)
				if f.Type.Kind() == reflect.Pointer {
					properties[name] = map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
				}
			}
		}
	}
}

// comment is what the source says of a field.
func (d *describer) comment(t reflect.Type, field string) string {
	dir := strings.TrimPrefix(strings.TrimPrefix(t.PkgPath(), "github.com/fwctl/fwctl"), "/")
	if t.PkgPath() == "main" || strings.HasSuffix(t.PkgPath(), "cmd/fwctl") {
		dir = "cmd/fwctl"
	}
	if d.fields[dir] == nil {
		d.fields[dir] = comments(filepath.Join("../..", dir))
	}
	return d.fields[dir][t.Name()+"."+field]
}

// comments are those of the fields of all structs of a package.
func comments(dir string) map[string]string {
	out := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			panic(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					said := strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
					for _, name := range field.Names {
						out[spec.Name.Name+"."+name.Name] = said
					}
				}
			}
			return true
		})
	}
	return out
}

// strictAnswers is the strict schema, made once.
var strictAnswers = sync.OnceValue(func() []byte { return answersSchema(true) })

// answerProblem is what is wrong with a command's answer.
func answerProblem(command, answer string) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(strictAnswers()))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("answers.json", doc); err != nil {
		return err
	}
	s, err := c.Compile("answers.json#/$defs/fwctl%20" + command)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
	if err != nil {
		return fmt.Errorf("%w: %s", err, answer)
	}
	return s.Validate(value)
}

// The schema of the answers knows good from bad, and has all commands that answer.
func TestAnswersSchema(t *testing.T) {
	var report strings.Builder
	u := newUI(nil, &report, nil)
	u.json = true
	a := &audited{Report: &exposure.Report{Doors: []exposure.Door{}, Findings: []exposure.Finding{}, Notes: []string{}}}
	if err := u.answer(a, nil); err != nil {
		t.Fatal(err)
	}
	good := report.String()
	for text, fine := range map[string]bool{
		good: true, `{"changed": false, "error": "no"}`: true, `{"error": "no"}`: false, "{}": false, "": false,
		strings.Replace(good, `"good"`, `"bad"`, 1): false, strings.Replace(good, `"notes": []`, `"notes": null`, 1): false,
		strings.Replace(good, `"notes"`, `"other"`, 1): false, strings.Replace(good, "false", `"no"`, 1): false,
	} {
		if err := answerProblem("audit", text); (err == nil) != fine {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, c := range newRoot(newUI(nil, nil, nil)).Commands() {
		if answerTypes[c.Name()] == nil && !c.Hidden && !slices.Contains([]string{"schema", "completion", "help"}, c.Name()) {
			t.Errorf("the answers of %s have no schema", c.Name())
		}
	}
}
