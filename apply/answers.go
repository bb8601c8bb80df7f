package apply

import (
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// Answer is what is known of a DNS name or a feed of the confirmed policy.
type Answer struct {
	Name  string    `json:"name"`            // a DNS name, or the absolute path of a feed
	Good  time.Time `json:"good"`            // when what is in force was read
	Error string    `json:"error,omitempty"` // why what was read last is not in force
}

// Stale is an Answer that is in force for want of a newer one.
type Stale struct {
	Answer
	Age int64 `json:"age"` // in seconds
}

// answers reads what is known of names and feeds. It may be lost without harm: the
// next refresh asks again.
func (s *Store) answers() []Answer {
	payload, err := s.read(answersFile)
	if err != nil {
		return nil
	}
	var out []Answer
	if json.Unmarshal(payload, &out) != nil {
		return nil
	}
	return out
}

// good is when what is in force for a name or feed was read; the other time where
// that is not known.
func (s *Store) good(name string, other time.Time) time.Time {
	answers := s.answers()
	if i := slices.IndexFunc(answers, func(a Answer) bool { return a.Name == name }); i >= 0 {
		return answers[i].Good
	}
	return other
}

// allGood notes that every name and feed was read with success and is as it was.
// That it cannot is no error, see answers.
func (s *Store) allGood() {
	answers := s.answers()
	for i := range answers {
		answers[i] = Answer{Name: answers[i].Name, Good: thisSecond()}
	}
	if len(answers) > 0 {
		_ = s.writeAnswers(answers)
	}
}

func (s *Store) writeAnswers(answers []Answer) error {
	payload, err := json.MarshalIndent(answers, "", "  ")
	if err != nil {
		return err
	}
	return s.write(answersFile, payload)
}

func thisSecond() time.Time { return time.Now().UTC().Truncate(time.Second) }

// stale are the names and feeds of a policy whose last good answer stays.
func stale(answers []Answer, p *rules.Policy) []Stale {
	named := append(p.Names(), feedPaths(p)...)
	var out []Stale
	for _, a := range answers {
		if a.Error != "" && slices.Contains(named, a.Name) {
			out = append(out, Stale{a, int64(max(time.Since(a.Good), 0) / time.Second)})
		}
	}
	return out
}

// feedPaths lists the feeds of a policy by their absolute paths.
func feedPaths(p *rules.Policy) []string {
	var out []string
	for _, f := range p.Feeds() {
		out = append(out, "/"+f.Path)
	}
	return out
}

// miss notes that the last good answer stays for a name or a feed.
func (c *change) miss(name, why string) {
	if c.missed == nil {
		c.missed = map[string]string{}
	}
	c.missed[name] = why
}

// answers says of every name and feed of the policy how old it is.
func (c *change) answers(p *rules.Policy) []Answer {
	var out []Answer
	for _, name := range append(p.Names(), feedPaths(p)...) {
		why, missed := c.missed[name]
		a := Answer{Name: name, Good: thisSecond(), Error: why}
		switch {
		case missed && c.old == nil && c.before != nil:
			a.Good = c.store.good(name, c.before.Manifest.Time)
		case c.old != nil && (missed || strings.HasPrefix(name, "/")): // feeds come with the old policy
			a.Good = c.old.Manifest.Time
		}
		out = append(out, a)
	}
	return out
}

// stageAnswers writes down how old names and feeds are.
func (c *change) stageAnswers(n *next) error {
	answers := c.answers(c.policy)
	if len(answers) == 0 {
		return nil
	}
	payload, err := json.MarshalIndent(answers, "", "  ")
	if err != nil {
		return err
	}
	return n.add(answersFile, payload)
}

// whyUnresolved finds what DNS said of one name among the errors of all.
func whyUnresolved(err error, name string) string {
	for _, e := range all(err) {
		var d *net.DNSError
		if errors.As(e, &d) && d.Name == name {
			return "it does not resolve: " + d.Err
		}
	}
	return "it does not resolve"
}

// all takes joined errors apart.
func all(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
