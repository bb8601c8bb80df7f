package forms

import "testing"

// Each checker knows good from bad.
func TestCheckers(t *testing.T) {
	s := NewSARIF(t)
	const log = `{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{"message": {"text": "y"}`
	for name, c := range map[string]struct {
		wrong []string
		good  bool
	}{
		"metrics":                         {Prometheus("# HELP x_info What.\n# TYPE x_info gauge\nx_info{a=\"b\\\"c\"} 1\n"), true},
		"metrics without help":            {Prometheus("# TYPE x_info gauge\nx_info 1\n"), false},
		"a gauge named as a counter":      {Prometheus("# HELP x_total What.\n# TYPE x_total gauge\nx_total 1\n"), false},
		"a time":                          {Prometheus("# HELP x What.\n# TYPE x gauge\nx 1 1700000000000\n"), false},
		"no end":                          {Prometheus("# HELP x What.\n# TYPE x gauge\nx 1"), false},
		"no metrics":                      {Prometheus("x y z\n"), false},
		"a log":                           {s.Wrong([]byte(log + "}]}]}")), true},
		"a log with another level":        {s.Wrong([]byte(log + `, "level": "bad"}]}]}`)), false},
		"a log with a line 0":             {s.Wrong([]byte(log + `, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "x"}, "region": {"startLine": 0}}}]}]}]}`)), false},
		"a log with an address of no use": {s.Wrong([]byte(log + `, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a b%"}}}]}]}]}`)), false},
		"a log with more":                 {s.Wrong([]byte(log + `, "more": 1}]}]}`)), false},
		"a log without a tool":            {s.Wrong([]byte(`{"version": "2.1.0", "runs": [{"results": []}]}`)), false},
		"a line":                          {Nagios("FWCTL X OK - fine | 'a b'=1;0;;0 time=0.1s;;;0\n", "OK"), true},
		"a line without data":             {Nagios("FWCTL X UNKNOWN - why\n", "UNKNOWN"), true},
		"another state":                   {Nagios("FWCTL X OK - fine\n", "WARNING"), false},
		"two lines":                       {Nagios("FWCTL X OK - fine\nmore\n", "OK"), false},
		"two bars":                        {Nagios("FWCTL X OK - fine | a=1 | b=1\n", "OK"), false},
		"a label with a blank":            {Nagios("FWCTL X OK - fine | a b=1\n", "OK"), false},
		"an unknown unit":                 {Nagios("FWCTL X OK - fine | a=1h\n", "OK"), false},
		"a label twice":                   {Nagios("FWCTL X OK - fine | a=1 a=2\n", "OK"), false},
		"an escape":                       {Nagios("FWCTL X OK - \x1b[2J\n", "OK"), false},
	} {
		if (len(c.wrong) == 0) != c.good {
			t.Errorf("%s: %q", name, c.wrong)
		}
	}
}
