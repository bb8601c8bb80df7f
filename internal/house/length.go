package house

import (
	"cmp"
	"fmt"
	"go/ast"
	"slices"
)

// The house's targets for the length of functions, in lines from "func" to the
// closing brace, tests and generated files left out.
const (
	TargetMedian = 12 // at most
	TargetNinety = 40 // nine functions in ten are shorter
	LongLines    = 60 // a function longer than this is a long one
	TargetLong   = 3  // percent of functions that may be long, less than
)

// Func is one function or method and its length.
type Func struct {
	Name  string // "Resolve", "Ruleset.Decide"
	Path  string
	Line  int
	Lines int // from "func" to the closing brace
}

// Lengths is every function of some files, the shortest first.
type Lengths []Func

// Measure returns the functions of the files that people wrote and that are not
// tests.
func Measure(files []File) Lengths {
	var ls Lengths
	for _, f := range files {
		if f.Test() || f.Generated() {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				from, to := f.Line(fn.Pos()), f.Line(fn.End())
				ls = append(ls, Func{Name: funcName(fn), Path: f.Path, Line: from, Lines: to - from + 1})
			}
		}
	}
	slices.SortStableFunc(ls, func(a, b Func) int { return cmp.Compare(a.Lines, b.Lines) })
	return ls
}

// Quantile is the length that the given share of functions, 0 to 1, does not
// exceed; 0 if there are none.
func (ls Lengths) Quantile(share float64) int {
	if len(ls) == 0 {
		return 0
	}
	return ls[min(int(share*float64(len(ls))), len(ls)-1)].Lines
}

// Long returns the long functions, the longest first.
func (ls Lengths) Long() Lengths {
	i, _ := slices.BinarySearchFunc(ls, LongLines+1, func(f Func, n int) int { return cmp.Compare(f.Lines, n) })
	long := slices.Clone(ls[i:])
	slices.Reverse(long)
	return long
}

// LongShare is the percentage of long functions.
func (ls Lengths) LongShare() float64 {
	return 100 * float64(len(ls.Long())) / float64(max(len(ls), 1))
}

// String is one line with the figures and, in brackets, their targets.
func (ls Lengths) String() string {
	return fmt.Sprintf("%d functions, median %d lines (<= %d), nine in ten within %d (< %d), %.1f %% above %d (< %d %%)",
		len(ls), ls.Quantile(0.5), TargetMedian, ls.Quantile(0.9), TargetNinety, ls.LongShare(), LongLines, TargetLong)
}

// funcName is the function's name, a method's with its receiver's type.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	return recvName(fn.Recv.List[0].Type) + "." + fn.Name.Name
}

// recvName is the name of a receiver's type, without pointer and parameters.
func recvName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return recvName(t.X)
	case *ast.IndexExpr:
		return recvName(t.X)
	case *ast.IndexListExpr:
		return recvName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
