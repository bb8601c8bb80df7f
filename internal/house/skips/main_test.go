package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A run: one package with a pass, an allowed skip and a forbidden one.
const skipping = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestCorpus","Output":"    a_test.go:1: no corpus\n"}
{"Action":"skip","Package":"p","Test":"TestCorpus"}
{"Action":"output","Package":"p","Test":"TestKernel","Output":"    a_test.go:9: not root\n"}
{"Action":"skip","Package":"p","Test":"TestKernel"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

const failing = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
`

func TestRun(t *testing.T) {
	for _, c := range []struct{ name, allowed, in, wantErr, wantOut string }{
		{"allowed", "p\\.Test(Corpus|Kernel)  absent here\n", skipping, "", "ok  \tp\t0.1s\n"},
		{"denied", "p\\.TestCorpus  absent here\n", skipping, "may not here: p.TestKernel", "NOT ALLOWED)\tp.TestKernel\ta_test.go:9: not root"},
		{"whole name", "p\\.Test  a prefix is not enough\n", skipping, "p.TestCorpus, p.TestKernel", ""},
		{"no reason", "p\\.TestCorpus\n", skipping, "line 1 gives no reason", ""},
		{"failed", "", failing, "failed: p.TestA", "a_test.go:7: wrong\n"},
		{"nothing ran", "", `{"Action":"skip","Package":"p"}`, "no test ran", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "allowed")
			if err := os.WriteFile(file, []byte(c.allowed), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := run(file, strings.NewReader(c.in), &out)
			if c.wantErr == "" && err != nil {
				t.Errorf("error: %v", err)
			}
			if c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error %v, want one with %q", err, c.wantErr)
			}
			if !strings.Contains(out.String(), c.wantOut) {
				t.Errorf("printed %q, want %q in it", out.String(), c.wantOut)
			}
		})
	}
}
