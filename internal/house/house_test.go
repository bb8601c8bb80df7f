package house

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func load(t *testing.T) []File {
	t.Helper()
	files, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// packages groups the files by directory.
func packages(files []File) map[string][]File {
	dirs := map[string][]File{}
	for _, f := range files {
		dirs[f.Dir()] = append(dirs[f.Dir()], f)
	}
	return dirs
}

// A newcomer opens doc.go to learn what a room holds and what to read first.
func TestEveryPackageHasAMap(t *testing.T) {
	for dir, files := range packages(load(t)) {
		if !slices.ContainsFunc(files, func(f File) bool { return !f.Test() }) {
			continue
		}
		i := slices.IndexFunc(files, func(f File) bool { return path.Base(f.Path) == "doc.go" })
		switch {
		case i < 0:
			t.Errorf("%s has no doc.go", dir)
		case files[i].AST.Doc == nil || len(files[i].AST.Doc.Text()) < 60:
			t.Errorf("%s/doc.go does not say what the package holds", dir)
		}
	}
}

// init runs before anybody asked, and in an order that nobody sees.
func TestNoInit(t *testing.T) {
	for _, f := range load(t) {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s:%d: func init", f.Path, f.Line(fn.Pos()))
			}
		}
	}
}

// A package is named for what it holds; these words hold anything.
func TestPackageNames(t *testing.T) {
	banned := []string{"util", "utils", "helper", "helpers", "manager", "handler", "handlers", "common", "misc"}
	for _, f := range load(t) {
		if slices.Contains(banned, strings.TrimSuffix(f.AST.Name.Name, "_test")) {
			t.Errorf("%s: package %s", f.Path, f.AST.Name.Name)
		}
	}
}

// The targets are targets: the figures are shown, and only a house that has
// clearly moved away from them fails.
func TestFunctionLength(t *testing.T) {
	ls := Measure(load(t))
	t.Log(ls)
	if ls.Quantile(0.5) > TargetMedian+2 || ls.Quantile(0.9) > TargetNinety+5 || ls.LongShare() > TargetLong+1 {
		t.Errorf("functions have grown long: %v; see `make size`", ls)
	}
}

func TestQuantile(t *testing.T) {
	var ls Lengths
	for n := 1; n <= 100; n++ {
		ls = append(ls, Func{Lines: n})
	}
	if m, n := ls.Quantile(0.5), ls.Quantile(0.9); m != 51 || n != 91 {
		t.Errorf("median %d, nine in ten %d; want 51 and 91", m, n)
	}
	if long := ls.Long(); len(long) != 40 || long[0].Lines != 100 || ls.LongShare() != 40 {
		t.Errorf("%d long functions (%.1f %%), the longest first %v", len(long), ls.LongShare(), long[0])
	}
	if q := (Lengths{}).Quantile(0.5); q != 0 {
		t.Errorf("median of nothing: %d", q)
	}
}
