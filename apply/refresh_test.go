package apply

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"
)

// addressSet is a set of prefixes and ranges, in one string.
func addressSet(t *testing.T, text string) *netipx.IPSet {
	t.Helper()
	var b netipx.IPSetBuilder
	for _, s := range strings.Fields(text) {
		if p, err := netip.ParsePrefix(s); err == nil {
			b.AddPrefix(p)
			continue
		}
		r, err := netipx.ParseIPRange(s)
		if err != nil {
			t.Fatal(err)
		}
		b.AddRange(r)
	}
	set, err := b.IPSet()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A feed may lose half of its addresses and no more, in each family; prefixes may
// be merged, but one large prefix does not make up for many small ones.
func TestShrunk(t *testing.T) {
	const small = "10.0.0.1/32 10.0.0.3/32 10.0.0.5/32 10.0.0.7/32 "
	const small6 = "2001:db8::1/128 2001:db8::3/128 2001:db8::5/128 "
	for name, c := range map[string]struct {
		was, is string
		lost    bool
	}{
		"the same":                    {small, small, false},
		"half":                        {small, "10.0.0.1/32 10.0.0.7/32", false},
		"less than half":              {small, "10.0.0.1/32", true},
		"nothing left":                {small, "", true},
		"nothing was":                 {"", small, false},
		"the other family":            {small, "2001:db8::/32", true},
		"others":                      {small, "192.0.2.1/32 192.0.2.3/32", false},
		"merged":                      {small, "10.0.0.0/24", false},
		"half of a prefix":            {"10.0.0.0/8", "10.0.0.0/9", false},
		"less than half of a prefix":  {"10.0.0.0/8", "10.0.0.0-10.127.255.254", true},
		"a large prefix hides little": {small + "172.16.0.0/12", "172.16.0.0/12", true},
		"a large one hides some":      {small + "172.16.0.0/12", "172.16.0.0/12 10.0.0.1/32 10.0.0.3/32", false},
		"everything":                  {"0.0.0.0/0", "0.0.0.0/0", false},
		"single addresses of IPv6":    {small6, "2001:db8::1/128", true},
		"IPv6, half":                  {"2001:db8::/48 2001:db8:5::/48", "2001:db8::/48", false},
		"IPv6, everything":            {"::/0", "8000::/1", false},
		"IPv6, small beside large":    {"2001:db8::/32 " + small6, "2001:db8::/32", false},
	} {
		if err := shrunk(addressSet(t, c.was), addressSet(t, c.is)); (err != nil) != c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A feed may become many times as large while it is small, and no more than 16 times
// when it is large.
func TestGrown(t *testing.T) {
	for name, c := range map[string]struct {
		was, is string
		much    bool
	}{
		"few to many":              {"10.0.0.1/32", "10.0.0.0/16", false},
		"to the world":             {"10.0.0.1/32", "0.0.0.0/0", true},
		"a network, twice":         {"10.0.0.0/8", "10.0.0.0/7", false},
		"a network, 32 times":      {"10.0.0.0/12", "0.0.0.0/7", true},
		"nothing to a network":     {"2001:db8::/64", "10.0.0.0/8 2001:db8::/64", true},
		"IPv6, few to many":        {"2001:db8::1/128", "2001:db8::/49", false},
		"IPv6, to the world":       {"2001:db8::1/128", "::/0", true},
		"IPv6, a network, 8 times": {"2001:db8::/32", "2001:d00::/29", false},
	} {
		if err := grown(addressSet(t, c.was), addressSet(t, c.is)); (err != nil) != c.much {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is known of names and feeds outlives their failures: the time of the last
// good answer stays.
func TestAnswersKeepTheTime(t *testing.T) {
	s := NewStore(t.TempDir())
	if s.answers() != nil {
		t.Error("an empty store has answers")
	}
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := s.writeAnswers([]Answer{{Name: "a.example", Good: long, Error: "it does not resolve"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.good("a.example", time.Now()); !got.Equal(long) {
		t.Errorf("good since %v", got)
	}
	s.allGood()
	if a := s.answers()[0]; a.Error != "" || time.Since(a.Good) > time.Minute {
		t.Errorf("%+v", a)
	}
}

// Of the errors of all names each gets its own.
func TestWhyUnresolved(t *testing.T) {
	one := &net.DNSError{Name: "a.example", Err: "no such host"}
	two := &net.DNSError{Name: "b.example", Err: "server misbehaving"}
	for _, err := range []error{errors.Join(one, two), errors.Join(two, one)} {
		if got := whyUnresolved(err, "b.example"); got != "it does not resolve: server misbehaving" {
			t.Errorf("%q", got)
		}
	}
	if got := whyUnresolved(nil, "b.example"); got != "it does not resolve" {
		t.Errorf("%q", got)
	}
}
