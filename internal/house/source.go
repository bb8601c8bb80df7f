package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// File is one Go file of the repository, whatever system it is built for.
type File struct {
	Path string // below the root, with slashes: "render/nftables/doc.go"
	Fset *token.FileSet
	AST  *ast.File
}

// Dir is the directory of the file's package, "." for the root.
func (f File) Dir() string { return path.Dir(f.Path) }

// Test reports whether only tests see the file.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Generated reports whether a program wrote the file.
func (f File) Generated() bool { return ast.IsGenerated(f.AST) }

// Line is the line of a position in the file.
func (f File) Line(p token.Pos) int { return f.Fset.Position(p).Line }

// Load parses every Go file below the root, testdata and dotted directories
// left out.
func Load(root string) ([]File, error) {
	var files []File
	fset := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, File{Path: name, Fset: fset, AST: f})
		return err
	})
	return files, err
}

func skipped(dir string) bool {
	base := path.Base(dir)
	return base == "testdata" || base != "." && strings.HasPrefix(base, ".")
}
