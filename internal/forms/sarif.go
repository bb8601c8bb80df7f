package forms

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The schema of SARIF 2.1.0 (OASIS, errata 01) is not part of the repository: a module
// that is known to this one through its linters alone has it as published.
const (
	schemaModule = "github.com/securego/gosec/v2@v2.29.0"
	schemaFile   = "report/sarif/testdata/sarif-schema-2.1.0.json"
	schemaSum    = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
)

// SARIF is the published schema, which has no room for properties that it does not name.
type SARIF struct{ schema *jsonschema.Schema }

// NewSARIF reads the schema. Where it cannot be had the test is skipped, but fails where
// the environment variable CI is "true".
func NewSARIF(t testing.TB) *SARIF {
	t.Helper()
	text, err := sarifSchema(t)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != schemaSum {
		t.Fatalf("it is another schema: %x", sum)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return &SARIF{s}
}

func sarifSchema(t testing.TB) ([]byte, error) {
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", schemaModule)
	c.Dir = t.TempDir() // outside this module
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("the schema of SARIF cannot be had: %w: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(module.Dir, schemaFile))
}

// Wrong is what is wrong with a log.
func (s *SARIF) Wrong(text []byte) (wrong []string) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	if err := s.schema.Validate(doc); err != nil {
		wrong = append(wrong, err.Error())
	}
	if !utf8.Valid(text) {
		wrong = append(wrong, "not UTF-8")
	}
	return wrong
}
