package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// dotted writes keys of 8 parts.
func dotted(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d%s = 1\n", i, strings.Repeat(".a", 7))
	}
	return b.String()
}

// crowd writes sections with lists: the formats take the number of the section and
// the list, and the number of the section and of the item.
func crowd(section string, sections int, item string, items int) string {
	var b strings.Builder
	for i := range sections {
		var list strings.Builder
		for k := range items {
			fmt.Fprintf(&list, item, i, k)
		}
		fmt.Fprintf(&b, section, i, list.String())
	}
	return b.String()
}

// Files that are made to take a parser down, and files as other systems save
// them, end with a message or load, and soon.
func TestHostileFiles(t *testing.T) {
	const head = "version = 1\n"
	for name, c := range map[string]struct{ text, want string }{
		"byte order mark":    {"\ufeff" + head, ""},
		"carriage returns":   {"version = 1\r\n[service.a]\r\nports = [\"22/tcp\"]\r\nfrom = [\r\n\"10.0.0.1\",\r\n]\r\n", ""},
		"UTF-16":             {"\xff\xfev\x00e\x00", "UTF-16"},
		"Latin-1":            {head + "# B\xfcro\n", "invalid UTF-8 byte: 0xfc"},
		"NUL":                {"version = 1\x00\n", "control characters"},
		"brackets":           {head + "x = " + strings.Repeat("[", 3_000_000), "nested more than"},
		"and comments":       {head + "x =" + strings.Repeat("[#]\n", 2_500_000), "nested more than"},
		"and strings":        {head + "x =" + strings.Repeat("['', \"]\", \"\"\"]\"\"\",\n", 200_000), "nested more than"},
		"a string too long":  {head + `x = ["""\\"""""",` + strings.Repeat("[", 3_000_000), "nested more than"},
		"9 brackets":         {head + "x = " + strings.Repeat("[", 9) + strings.Repeat("]", 9), "nested more than 8 deep"},
		"8 braces":           {head + "x = " + strings.Repeat("{a=", 8) + "1" + strings.Repeat("}", 8), "unknown section [x]"},
		"8 braces, often":    {head + strings.Repeat("[[x]]\na = "+strings.Repeat("{a=", 8)+"1"+strings.Repeat("}", 8)+"\n", 5000), "unknown"},
		"8 dots, often":      {head + "[x]\n" + dotted(20_000), "unknown section [x]"},
		"braces":             {head + "x = " + strings.Repeat("{a=", 1_000_000), "nested more than"},
		"dots":               {"x." + strings.Repeat("a.", 100_000) + "b = 1\n", "a key of more than 8 parts"},
		"dots in a header":   {"[x." + strings.Repeat("a.", 100_000) + "b]\n", "a key of more than 8 parts"},
		"dots, inline":       {head + "x = [{ " + strings.Repeat("a.", 100_000) + "b = 1 }]\n", "a key of more than 8 parts"},
		"a long line":        {head + "[group.a]\naddresses = [" + strings.Repeat(`"192.0.2.1",`, 50_000) + "]\n", ""},
		"many tables":        {head + strings.Repeat("[[a]]\n", 20_000), "unknown"},
		"the same again":     {head + strings.Repeat("[group.a]\n", 20_000), "[group.a] is defined twice"},
		"a name of 1 MB":     {head + "[service." + strings.Repeat("a", 1_000_000) + "]\n", "cannot be a name"},
		"a key of 1 MB":      {head + strings.Repeat("a", 1_000_000) + " = 1\n", "unknown key"},
		"an address of 1 MB": {head + "[group.a]\naddresses = [\"" + strings.Repeat("9", 1_000_000) + "\"]\n", "is neither an address"},
		"many interfaces":    {head + crowd("[service.a%[1]d]\nfrom = []\nports = [\"80/tcp\"]\nin = [%[2]s]\n", 10, `"e%d.%d",`, 5000), ""},
		"many wrong groups":  {head + crowd("[group.a%[1]d]\naddresses = [%[2]s]\n", 5000, `"b%d-%d",`, 2), "there is no group"},
		"many errors":        {head + "[group.a]\naddresses = [" + strings.Repeat("\"x.\",\n", 20_000) + "]\n", "is neither an address"},
	} {
		start := time.Now()
		p, problems := rules.Load(fileSystem(map[string]string{"p.toml": c.text}), "p.toml", rules.LoadOptions{})
		_, more := rules.Resolve(p, nil)
		got := text(append(problems, more...))
		t.Logf("%s: %v", name, time.Since(start).Round(time.Millisecond))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %.300s, want %q", name, got, c.want)
		}
	}
}
