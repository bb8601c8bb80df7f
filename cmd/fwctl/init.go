package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/adopt"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/policies"
)

func newInit(g *global) *cobra.Command {
	var o adopt.Options
	var file string
	c := &cobra.Command{
		Use:   "init [flags]",
		Short: "a first policy from what listens on this host, and who is connected",
		Long: `init writes a policy for this host as it is: a service for each program that
listens for others, with comments that say what was seen. Every connection that
comes in now may begin anew by it, so that it shuts out nobody who is there.

Where only hosts of private or neighbouring networks are connected to a port, a
group of them is whom it is for; every other port stays open to everybody, as it is
today. Each such place is marked DECIDE. What only the host itself reaches, and
UDP sockets of clients, are listed in comments and not opened.

It changes nothing on the host and needs no privilege. Without root it cannot see
which programs listen and which ports lead into containers, and says so. It never
writes over a file.

Exit status: 0; 2 error, or the FILE is there already.`,
		Example: `  fwctl init                                    print it
  fwctl init -o /etc/fwctl/policy.toml          write it; then read each DECIDE
  fwctl init --profile omero --profile ssh      services by the profiles of products`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error { return g.init(c.Context(), o, file) },
	}
	c.Flags().StringSliceVar(&o.Use, "profile", nil, "write the service `NAME` by its profile; several by commas, or several times")
	c.Flags().StringVarP(&file, "output", "o", "", "write to `FILE`, which must not be there yet")
	return c
}

// begun is the answer of init.
type begun struct {
	Changed  bool     `json:"changed"` // a file was written
	File     string   `json:"file,omitempty"`
	Services []string `json:"services"`
	Decide   int      `json:"decide"` // places that are marked for a decision
	NotSeen  []string `json:"not_seen"`
	Policy   string   `json:"policy"`
}

func (g *global) init(ctx context.Context, o adopt.Options, file string) error {
	if file != "" {
		if _, err := os.Lstat(file); err == nil { // said at once; what counts is asked when it is made
			return written(file)
		}
	}
	o.Profiles = policies.Profiles()
	done := g.ui.working("looking at this host")
	defer done()
	seen, err := adopt.See(ctx)
	if err != nil {
		return err
	}
	t, err := adopt.Start(seen, o)
	if err != nil {
		return err
	}
	if err := sound(seen, t, o.Profiles); err != nil {
		return err
	}
	done()
	if file != "" {
		if err := createFile(file, t.Text); err != nil {
			return err
		}
	}
	for _, n := range seen.Notes {
		g.ui.warn("%s", n)
	}
	a := begun{Changed: file != "", File: file, Services: append([]string{}, t.Services...), Decide: t.Decide, NotSeen: append([]string{}, seen.Notes...), Policy: t.Text}
	return g.ui.answer(a, func() {
		if file == "" {
			g.ui.print("%s", t.Text)
			return
		}
		g.ui.say("%s: %s, %s to decide about, marked DECIDE", file, plural(len(t.Services), "service"), plural(t.Decide, "place"))
		g.ui.hint(fmt.Sprintf("`fwctl plan %s` says what an apply would open and close", file))
	})
}

// sound fails unless a policy can be used, and lets in whom it is said to let in.
func sound(seen *adopt.Seen, t *adopt.Starter, profiles fs.FS) error {
	refused, ps := t.Refused(seen, profiles, live.RouteTo)
	if ps.Err() != nil {
		return &policyError{ps}
	}
	if len(refused) > 0 {
		c := refused[0]
		return fmt.Errorf("the policy made would refuse tcp %s -> %s, which is connected; nothing was written", c.Remote, c.Local)
	}
	return nil
}

func written(file string) error {
	return usage(file+" is there already; nothing was written", "init never writes over a file: name another one, or move this one away")
}

// createFile makes a file that is not there, with the directory that it is in; or none.
func createFile(file, text string) error {
	if dir := filepath.Dir(file); dir != "." {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write policy: %w", err)
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return written(file)
	}
	if err != nil {
		return fmt.Errorf("write policy: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(file) // half a policy is worse than none
		return fmt.Errorf("write policy: %w", err)
	}
	return nil
}
