package rules

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// LoadOptions says where Load finds what is not in the policy's file system,
// and how it speaks of files. The zero value knows no profiles by name, shows
// paths as they are and trusts every file.
type LoadOptions struct {
	Profiles fs.FS                                     // NAME.toml of each built-in profile
	Display  func(path string) string                  // how messages show a path
	Trust    func(path string, info fs.FileInfo) error // asked before a file is read; an error refuses it
}

// Load reads a policy and all that it includes. Names are slash paths of fsys;
// an absolute path in the policy is one from the root of fsys. The Policy is
// never nil; it is of use to Resolve, even if problems were found, for finding
// the rest of them.
func Load(fsys fs.FS, name string, opt LoadOptions) (*Policy, Problems) {
	l := newLoader(fsys, name, opt)
	w := l.file(name, PolicySource, Pos{})
	if w != nil {
		l.finish(w)
	}
	l.policy.broken = len(l.problems.Of(Error)) > 0
	return l.policy, l.problems.tidy()
}

func newLoader(fsys fs.FS, name string, opt LoadOptions) *loader {
	return &loader{
		fsys:     fsys,
		opt:      opt,
		policy:   &Policy{Path: name, files: &files{byName: map[string]*fileText{}}},
		defined:  map[string]Pos{},
		read:     map[string]*whole{},
		open:     map[string]bool{},
		feeds:    map[string]*feed{},
		profiles: map[string]*Profile{},
	}
}

type loader struct {
	fsys     fs.FS
	opt      LoadOptions
	policy   *Policy
	problems Problems
	defined  map[string]Pos      // sections by path: "service.ssh"
	read     map[string]*whole   // files that were read, by path
	open     map[string]bool     // files whose includes are being read
	feeds    map[string]*feed    // files of addresses, by path
	profiles map[string]*Profile // by kind and path
}

func (l *loader) display(name string) string {
	if l.opt.Display != nil {
		return l.opt.Display(name)
	}
	return name
}

func (l *loader) report(s Severity, at Pos, summary, hint string) {
	l.problems = append(l.problems, l.policy.files.problem(s, at, summary, hint))
}

func (l *loader) errorAt(at Pos, summary, hint string) { l.report(Error, at, summary, hint) }

// errorAt reports an error at an offset of the file.
func (r *reader) errorAt(off int, summary, hint string) {
	r.bad = true
	r.loader.errorAt(r.pos(off), summary, hint)
}

func (r *reader) pos(off int) Pos { return r.file.pos(off) }

// fetch reads a file that the policy names at a place; nil if it cannot be.
func (l *loader) fetch(fsys fs.FS, name string, kind SourceKind, at Pos) *fileText {
	data, err := l.bytes(fsys, name, kind)
	if err != nil {
		l.unreadable(name, kind, at, err)
		return nil
	}
	f := &fileText{name: l.shown(name, kind), path: name, data: data}
	l.policy.files.byName[f.name] = f
	l.policy.Sources = append(l.policy.Sources, Source{Path: name, Kind: kind, Data: data})
	return f
}

func (l *loader) shown(name string, kind SourceKind) string {
	if kind == BuiltinSource {
		return "built-in profile " + name
	}
	return l.display(name)
}

func (l *loader) bytes(fsys fs.FS, name string, kind SourceKind) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, errOutside
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()            // of the open file: nobody can swap it any more
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errDirectory
	case kind != PolicySource && !info.Mode().IsRegular(): // the policy itself may come by a pipe
		return nil, errIrregular
	case l.opt.Trust != nil && kind != BuiltinSource:
		err = l.opt.Trust(name, info)
	}
	if err != nil {
		return nil, err
	}
	return readAll(f, info.Size())
}

// readAll reads a file whose size is known, if only roughly.
func readAll(f io.Reader, size int64) ([]byte, error) {
	const most = 1 << 30
	buf := bytes.NewBuffer(make([]byte, 0, min(max(size, 0), most)+bytes.MinRead))
	_, err := buf.ReadFrom(f)
	return buf.Bytes(), err
}

var (
	errOutside   = errors.New("the path leads out of the file system")
	errDirectory = errors.New("it is a directory")
	errIrregular = errors.New("it is not a regular file")
)

func (l *loader) unreadable(name string, kind SourceKind, at Pos, err error) {
	shown := l.shown(name, kind)
	if at.File == "" {
		at = Pos{File: shown}
	}
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.errorAt(at, "there is no file "+shown, map[SourceKind]string{IncludeSource: `a pattern such as "conf.d/*.toml" may match nothing`}[kind])
		return
	case errors.As(err, &pe):
		err = pe.Err
	}
	l.errorAt(at, "cannot read "+shown+": "+err.Error(), "")
}

// file reads a policy file and what it includes; nil if it cannot be read.
func (l *loader) file(name string, kind SourceKind, at Pos) *whole {
	if w, done := l.read[name]; done {
		return w
	}
	f := l.fetch(l.fsys, name, kind, at)
	if f == nil {
		l.policy.partial = true
		l.read[name] = nil
		return nil
	}
	w := &whole{}
	l.read[name] = w
	l.open[name] = true
	r := &reader{loader: l, file: f}
	if !r.document(func(root *node) { r.readPolicy(root, kind, w) }) {
		l.policy.partial = true
	}
	l.include(name, w)
	delete(l.open, name)
	return w
}

func (r *reader) readPolicy(root *node, kind SourceKind, w *whole) {
	if kind == PolicySource && root.get("version") == nil {
		r.errorAt(0, "the policy has no version", "begin it with version = 1")
	}
	readTable(r, root, wholePolicy, rootKeys, w)
}

// document reads a file's tables, and reports what is not TOML about it. Without
// a complete tree nothing is read, since half a table would be missing keys; the
// result says whether there was one.
func (r *reader) document(read func(root *node)) bool {
	doc := parseTOML(r.file.data)
	for _, f := range doc.duplicates {
		r.loader.errorAt(r.pos(f.off), f.summary, "first in line "+strconv.Itoa(r.pos(f.earlier).Line))
	}
	if doc.broken == nil {
		read(doc.root)
	}
	judged := <-doc.judged
	switch {
	case judged == nil && doc.broken == nil, len(doc.duplicates) > 0 && doc.broken == nil:
		return true
	case judged == nil:
		judged = doc.broken
	}
	if at := r.pos(judged.off); doc.broken != nil || !r.told(at) {
		r.loader.errorAt(at, judged.summary, "")
	}
	return doc.broken == nil
}

// told reports whether an error in that line was reported already.
func (l *loader) told(at Pos) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Pos.File == at.File && p.Pos.Line == at.Line })
}

// include reads the files that w includes and merges their settings into w.
func (l *loader) include(name string, w *whole) {
	var below []*whole
	for _, inc := range w.include {
		pattern := join(name, inc.V)
		l.policy.Includes = append(l.policy.Includes, Text{V: pattern, Pos: inc.Pos})
		for _, m := range l.matches(pattern, inc) {
			if l.open[m] {
				l.errorAt(inc.Pos, l.display(m)+" includes itself"+l.by(name, m), "")
				continue
			}
			if sub := l.file(m, IncludeSource, inc.Pos); sub != nil {
				below = append(below, sub)
			}
		}
	}
	l.settle(w, below)
}

func (l *loader) by(name, m string) string {
	if name == m {
		return ""
	}
	return ", by way of " + l.display(name)
}

// join returns the path that a file names: absolute, or relative to the file.
func join(file, name string) string {
	if strings.HasPrefix(name, "/") {
		return strings.TrimPrefix(path.Clean(name), "/")
	}
	return path.Join(path.Dir(file), name)
}

// matches returns the files that an include means, sorted. As in a shell, "*"
// does not match a leading dot.
func (l *loader) matches(pattern string, inc Text) []string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}
	}
	found, err := fs.Glob(l.fsys, pattern)
	if err != nil {
		l.errorAt(inc.Pos, quote(inc.V)+" is not a pattern of paths", "")
		return nil
	}
	l.checkDirectory(pattern, inc)
	if !strings.HasPrefix(path.Base(pattern), ".") {
		found = slices.DeleteFunc(found, func(m string) bool { return strings.HasPrefix(path.Base(m), ".") })
	}
	slices.Sort(found)
	return found
}

// checkDirectory reports a directory that is there but cannot be listed: a
// pattern would find nothing in it, which must not pass for an empty one.
func (l *loader) checkDirectory(pattern string, inc Text) {
	dir := path.Dir(pattern[:strings.IndexAny(pattern, `*?[\`)] + "x")
	if !fs.ValidPath(dir) {
		l.unreadable(dir, IncludeSource, inc.Pos, errOutside)
		return
	}
	if _, err := fs.ReadDir(l.fsys, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.unreadable(dir, IncludeSource, inc.Pos, err)
	}
}

// define records a section, and reports whether its name was free.
func (l *loader) define(id string, at Pos) bool {
	if first, taken := l.defined[id]; taken {
		l.errorAt(at, "["+id+"] is defined twice", "first at "+first.String())
		return false
	}
	l.defined[id] = at
	return true
}

func (r *reader) addGroup(g *GroupSection) {
	g.broken = r.bad
	if isBuiltin(g.Name) {
		r.loader.errorAt(g.Pos, "the group "+quote(g.Name)+" is built in", "choose another name")
		return
	}
	if r.define("group."+g.Name, g.Pos) {
		r.checkGroup(g)
		r.policy.Groups = append(r.policy.Groups, g)
	}
}

func (r *reader) addStatement(s *Statement) {
	s.broken = r.bad
	if !r.define(s.ID(), s.Pos) {
		return
	}
	p := r.policy
	list := map[Kind]*[]*Statement{Service: &p.Services, Block: &p.Blocks, Outbound: &p.Outbounds, Route: &p.Routes}[s.Kind]
	*list = append(*list, s)
}

// finish does what needs the whole policy: the settings, and the order of all.
func (l *loader) finish(w *whole) {
	p := l.policy
	p.Defaults, p.Safety = w.defaults, w.safety
	slices.SortFunc(p.Groups, func(a, b *GroupSection) int { return cmp.Compare(a.Name, b.Name) })
	for _, list := range [][]*Statement{p.Services, p.Blocks, p.Outbounds, p.Routes} {
		slices.SortFunc(list, func(a, b *Statement) int { return cmp.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(p.Accepts, func(a, b *AcceptSection) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Tests, func(a, b *TestSection) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(p.PFAnchors, func(a, b Text) int { return cmp.Compare(a.V, b.V) })
	l.checkStatements()
}
