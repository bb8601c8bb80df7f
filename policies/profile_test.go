package policies

import (
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// The format of a profile, written down a second time and read by other code
// than the loader's, so that the two have to agree.
type profile struct {
	Product, Versions, Source string
	Notes                     []string
	Parameter                 map[string]parameter
	Audience                  map[string]struct{ Doc string }
	Port                      map[string]row
	Never                     map[string]row
}

type parameter struct {
	Type    string
	Default any
	Values  []any
	Doc     string
}

type row struct {
	Ports, Protocols, To []string
	SourcePorts          []string `toml:"source_ports"`
	Audience, Doc        string
	When                 []string
	TLS                  bool
}

func readProfile(t *testing.T, name string) profile {
	t.Helper()
	data, err := fs.ReadFile(Profiles(), name+".toml")
	if err != nil {
		t.Fatal(err)
	}
	var p profile
	md, err := toml.Decode(string(data), &p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if u := md.Undecoded(); len(u) > 0 {
		t.Errorf("%s: keys that the format does not have: %v", name, u)
	}
	return p
}

// names lists the files of one directory without their ending.
func names(t *testing.T, f fs.FS, ending string) []string {
	t.Helper()
	files, err := fs.Glob(f, "*"+ending)
	if err != nil || len(files) == 0 {
		t.Fatalf("no *%s: %v", ending, err)
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ending)
	}
	return files
}

// eachProfile runs a test for every profile.
func eachProfile(t *testing.T, f func(t *testing.T, name string, p profile)) {
	for _, name := range names(t, Profiles(), ".toml") {
		t.Run(name, func(t *testing.T) { f(t, name, readProfile(t, name)) })
	}
}

// Names of parameters and audiences are written in policies, those of rows
// stand in messages: all are names as the language has them.
var nameLike = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// A profile that does not say what it is for and where it comes from cannot be
// checked by anybody, so it is not one.
func TestProfilesCiteTheirSource(t *testing.T) {
	eachProfile(t, func(t *testing.T, name string, p profile) {
		if !nameLike.MatchString(name) {
			t.Errorf("%q is no name", name)
		}
		for what, text := range map[string]string{"product": p.Product, "versions": p.Versions, "source": p.Source} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("no %s", what)
			}
		}
		if len(p.Source) < 10 || !strings.ContainsAny(p.Source, "0123456789(") {
			t.Errorf("source %q names no edition, date, section or page", p.Source)
		}
		for _, n := range p.Notes {
			if strings.TrimSpace(n) == "" || strings.HasSuffix(n, ".") {
				t.Errorf("note %q: a clause without a final period", n)
			}
		}
	})
}

func TestProfilesExplainEverything(t *testing.T) {
	eachProfile(t, func(t *testing.T, _ string, p profile) {
		said := func(what, name, doc string) {
			if !nameLike.MatchString(name) {
				t.Errorf("%s %q is no name", what, name)
			}
			if len(doc) < 4 || strings.HasSuffix(doc, ".") || strings.ContainsAny(doc, "\n\t") {
				t.Errorf("%s %s: doc %q", what, name, doc)
			}
		}
		for n, x := range p.Parameter {
			said("parameter", n, x.Doc)
		}
		for n, x := range p.Audience {
			said("audience", n, x.Doc)
		}
		for n, x := range p.Port {
			said("row", n, x.Doc)
		}
		for n, x := range p.Never {
			said("never", n, x.Doc)
		}
	})
}

// Only `with` may choose, and only among what makes sense: a default is a string,
// a boolean or an integer, and one of the values if there are any. A parameter
// without a default says so by its type.
func TestProfileParameters(t *testing.T) {
	eachProfile(t, func(t *testing.T, _ string, p profile) {
		for n, x := range p.Parameter {
			if (x.Default == nil) == (x.Type == "") {
				t.Errorf("parameter %s: a default or a type, one of them", n)
			}
			if x.Type != "" && x.Type != "string" {
				t.Errorf("parameter %s: type %q", n, x.Type)
			}
			switch x.Default.(type) {
			case nil, string, bool, int64:
			default:
				t.Errorf("parameter %s: default %v", n, x.Default)
			}
			if x.Default != nil && x.Values != nil && !slices.Contains(x.Values, x.Default) {
				t.Errorf("parameter %s: default %v is not among %v", n, x.Default, x.Values)
			}
			if !usesParameter(p, n) {
				t.Errorf("parameter %s changes nothing", n)
			}
		}
	})
}

// usesParameter reports whether a row depends on the parameter. One with a single
// value is there to be refused otherwise.
func usesParameter(p profile, name string) bool {
	if len(p.Parameter[name].Values) == 1 {
		return true
	}
	for _, r := range p.Port {
		text := strings.Join(append(slices.Clone(r.Ports), r.SourcePorts...), " ")
		if strings.Contains(text, "{"+name+"}") || slices.ContainsFunc(r.When, func(c string) bool { return conditionName(c) == name }) {
			return true
		}
	}
	return false
}

func conditionName(c string) string {
	c = strings.TrimPrefix(c, "!")
	return strings.TrimSuffix(c[:strings.IndexAny(c+"=", "=")], "!")
}

var placeholder = regexp.MustCompile(`\{([^}]*)\}`)

func TestProfileRowsReferToWhatThereIs(t *testing.T) {
	eachProfile(t, func(t *testing.T, _ string, p profile) {
		used := map[string]bool{}
		for n, r := range p.Port {
			used[r.Audience] = true
			if _, ok := p.Audience[r.Audience]; !ok {
				t.Errorf("row %s: no audience %q", n, r.Audience)
			}
			if len(r.Ports)+len(r.Protocols) == 0 {
				t.Errorf("row %s opens nothing", n)
			}
			for _, m := range placeholder.FindAllStringSubmatch(strings.Join(append(r.Ports, r.SourcePorts...), " "), -1) {
				if _, ok := p.Parameter[m[1]]; !ok {
					t.Errorf("row %s: no parameter {%s}", n, m[1])
				}
			}
			for _, c := range r.When {
				checkCondition(t, p, n, c)
			}
		}
		for a := range p.Audience {
			if !used[a] {
				t.Errorf("audience %s has no row", a)
			}
		}
	})
}

// A condition compares with a value that the parameter can have; a boolean is
// named bare.
func checkCondition(t *testing.T, p profile, row, c string) {
	x, ok := p.Parameter[conditionName(c)]
	if !ok {
		t.Errorf("row %s: no parameter for %q", row, c)
		return
	}
	_, values, compares := strings.Cut(c, "=")
	if _, isBool := x.Default.(bool); isBool == compares {
		t.Errorf("row %s: %q does not fit the parameter's type", row, c)
	}
	if !compares {
		return
	}
	for v := range strings.SplitSeq(values, "|") {
		if !slices.Contains(x.Values, any(v)) {
			t.Errorf("row %s: %q: the parameter is never %q", row, c, v)
		}
	}
}

// A profile never says who. Addresses are only where the protocol itself has
// them: multicast groups and the link-local network, as destinations.
func TestProfilesNeverSayWho(t *testing.T) {
	eachProfile(t, func(t *testing.T, _ string, p profile) {
		for n, r := range p.Port {
			for _, s := range r.To {
				a, err := netip.ParseAddr(s)
				if err != nil || !a.IsMulticast() && !a.IsLinkLocalUnicast() {
					t.Errorf("row %s: to %q", n, s)
				}
			}
		}
		for n, r := range p.Never {
			if len(r.Ports) == 0 || r.Audience != "" || len(r.To)+len(r.Protocols)+len(r.SourcePorts) > 0 {
				t.Errorf("never %s: ports and a doc, nothing else", n)
			}
		}
	})
}

// What must not be reachable must not be opened by a row either, whatever the
// parameters.
func TestProfilesNeverOpenWhatTheyForbid(t *testing.T) {
	eachProfile(t, func(t *testing.T, _ string, p profile) {
		for n, f := range p.Never {
			for m, r := range p.Port {
				for _, port := range f.Ports {
					if slices.Contains(r.Ports, port) {
						t.Errorf("row %s opens %s, which never.%s forbids", m, port, n)
					}
				}
			}
		}
	})
}
