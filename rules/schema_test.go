package rules_test

import (
	"bytes"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(rules.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("fwctl.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("fwctl.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads TOML as an editor does before it asks the schema: dates become
// strings.
func asJSON(t *testing.T, data []byte) any {
	t.Helper()
	var doc map[string]any
	if _, err := toml.Decode(string(data), &doc); err != nil {
		t.Fatal(err)
	}
	return plain(doc)
}

func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
		return v
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case time.Time:
		switch v.Location().String() {
		case "date-local":
			return v.Format(time.DateOnly)
		case "datetime-local":
			return v.Format("2006-01-02T15:04:05")
		}
		return v.Format(time.RFC3339)
	}
	return v
}

// The schema takes every policy that fwctl ships or shows.
func TestSchemaTakesPolicies(t *testing.T) {
	schema := compileSchema(t)
	for _, dir := range []fs.FS{policies.Examples(), os.DirFS(languageDir), os.DirFS(languageDir + "/etc/fwctl")} {
		names, err := fs.Glob(dir, "*.toml")
		if err != nil || len(names) == 0 {
			t.Fatal("no policies", err)
		}
		for _, name := range names {
			data, err := fs.ReadFile(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(asJSON(t, data)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := schema.Validate(asJSON(t, []byte(everyStage))); err != nil {
		t.Error(err)
	}
}

// What the schema cannot see: it looks at one value at a time, knows no names,
// and takes a date in quotes for a date.
var beyondSchema = []string{
	"keys/built-in-name",
	"keys/no-version", // an included file has none
	"types/duration-of-nothing",
	"types/date-in-quotes",
	"types/with-of-strange-type", // 8000.0 is an integer in JSON
	"types/line-break-in-reason",
}

// The schema refuses what is wrong with keys and types, as far as it can.
func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	var missed []string
	for _, path := range caseFiles(t) {
		group := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".txtar")
		if group != "keys" && group != "types" {
			continue
		}
		for _, c := range casesOf(t, readArchive(t, path)) {
			data := c.files["policy.toml"].Data
			if schema.Validate(asJSON(t, data)) == nil {
				missed = append(missed, group+"/"+c.name)
			}
		}
	}
	if !slices.Equal(missed, beyondSchema) {
		t.Errorf("the schema takes\n%s\nwant\n%s", strings.Join(missed, "\n"), strings.Join(beyondSchema, "\n"))
	}
}
