package house

import (
	"go/ast"
	"testing"
)

// Exported names are read in `go doc`, away from the code around them. In a
// group of constants or variables the comment of the group will do.
func TestExportedNamesAreExplained(t *testing.T) {
	for _, f := range load(t) {
		if f.Test() || f.Generated() {
			continue
		}
		for _, d := range f.AST.Decls {
			for _, name := range unexplained(d) {
				t.Errorf("%s:%d: %s has no comment", f.Path, f.Line(name.Pos()), name.Name)
			}
		}
	}
}

func unexplained(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(recvName(d.Recv.List[0].Type))) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Doc != nil {
			return nil
		}
		var names []*ast.Ident
		for _, s := range d.Specs {
			names = append(names, bareSpec(s)...)
		}
		return names
	}
	return nil
}

func bareSpec(s ast.Spec) []*ast.Ident {
	var names []*ast.Ident
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Doc == nil && s.Comment == nil {
			names = append(names, s.Name)
		}
	case *ast.ValueSpec:
		if s.Doc == nil && s.Comment == nil {
			names = append(names, s.Names...)
		}
	}
	var exported []*ast.Ident
	for _, n := range names {
		if n.IsExported() {
			exported = append(exported, n)
		}
	}
	return exported
}
