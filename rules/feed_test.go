package rules

import (
	"net/netip"
	"testing"
	"testing/fstest"

	"go4.org/netipx"
)

// FuzzFeedEntry: the quick reader of IPv4 entries takes nothing that the careful
// one refuses, and means the same.
func FuzzFeedEntry(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1", "192.0.2.0/24", "0.0.0.0/0", "192.0.2.1/32", "192.0.2.1/24", "192.0.2.9-192.0.2.200", "192.0.2.9-192.0.2.1",
		"192.0.2.01", "192.0.2.256", "192.0.2.1/33", "192.0.2.1/", "192.0.2", "192.0.2.1.1", "255.255.255.255/32", "0.0.0.0-255.255.255.255", "1.2.3.4/032", "2001:db8::/32",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, wrong := parseRange(s)
		lo, hi, ok := scanRange4([]byte(s))
		if ok && (wrong != nil || netipx.IPRangeFrom(addr4(lo), addr4(hi)) != want) {
			t.Fatalf("%q: read as %v-%v, want %v, %v", s, addr4(lo), addr4(hi), want, wrong)
		}
		if !ok && wrong == nil && want.From().Is4() {
			t.Fatalf("%q: not read by the quick reader", s)
		}
	})
}

// A file of addresses is the union of its lines, adjacent and overlapping ones
// merged.
func TestFeed(t *testing.T) {
	data := "# all kinds\r\n192.0.2.0/25\r\n 192.0.2.128/25\t# adjacent\n192.0.2.7\n\n10.0.0.9-10.0.0.20\n10.0.0.15-10.0.0.30\n" +
		"255.255.255.255\n0.0.0.0\n2001:db8::/33\n2001:db8:8000::/33\n2001:db8::1"
	p, problems := Load(fstest.MapFS{
		"p.toml":      {Data: []byte("version = 1\n[group.g]\nfile = \"lists/f.txt\"\nmin_entries = 10\n[block.g]\nfrom = [\"g\"]\n")},
		"lists/f.txt": {Data: []byte(data)},
	}, "p.toml", LoadOptions{})
	rs, more := Resolve(p, nil)
	if rs == nil {
		t.Fatal(append(problems, more...))
	}
	g := rs.Groups[0]
	want := setOf(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("255.255.255.255/32"))
	want = union(want, made(func() *netipx.IPSetBuilder {
		b := &netipx.IPSetBuilder{}
		b.AddRange(netipx.MustParseIPRange("10.0.0.9-10.0.0.30"))
		return b
	}()))
	if !g.Terms[0].Set.Equal(want) || g.File != "lists/f.txt" {
		t.Errorf("got %v from %q, want %v", g.Terms[0].Set.Ranges(), g.File, want.Ranges())
	}
}

// A file is read once, whoever names it, and no file stays behind in a group.
func TestFeedIsReadOnce(t *testing.T) {
	p, problems := Load(fstest.MapFS{
		"p.toml": {Data: []byte("version = 1\n[group.a]\nfile = \"f.txt\"\n[group.b]\nfile = \"./f.txt\"\n")},
		"f.txt":  {Data: []byte("192.0.2.1\n")},
	}, "p.toml", LoadOptions{})
	if err := problems.Err(); err != nil || len(p.Sources) != 2 {
		t.Errorf("%d sources, want 2; %v", len(p.Sources), err)
	}
}
