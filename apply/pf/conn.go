package pf

import (
	"cmp"
	"context"

	livepf "github.com/fwctl/fwctl/live/pf"
	read "github.com/fwctl/fwctl/read/pf"
	render "github.com/fwctl/fwctl/render/pf"
)

// anchor is the anchor that is fwctl's.
const anchor = livepf.Own

// Options say which pf it is. The zero value is that of this system.
type Options struct {
	livepf.Options
	MainFile string // which pf loads at boot; "": /etc/pf.conf
}

// Conn is pf on this host, by way of pfctl. It holds nothing open and is not for
// concurrent use.
type Conn struct {
	Dialect  render.Dialect
	grammar  read.Dialect
	pfctl    *livepf.Conn
	mainFile string
}

// ErrMissing says that there is no pfctl.
var ErrMissing = livepf.ErrMissing

// Open finds pfctl and the dialect.
func Open(opt Options) (*Conn, error) {
	pfctl, err := livepf.Open(opt.Options)
	if err != nil {
		return nil, err
	}
	d, _ := render.ParseDialect(pfctl.Dialect.String()) // both have the same names
	return &Conn{Dialect: d, grammar: pfctl.Dialect, pfctl: pfctl, mainFile: cmp.Or(opt.MainFile, "/etc/pf.conf")}, nil
}

// Parse reads a text in the grammar of this pf.
func (c *Conn) Parse(text string) *read.Config { return c.pfctl.Parse(text) }

// run starts pfctl and returns what it printed.
func (c *Conn) run(ctx context.Context, input string, args ...string) (string, error) {
	return c.pfctl.Run(ctx, input, args...)
}

// own runs pfctl for the anchor.
func (c *Conn) own(ctx context.Context, input string, args ...string) (string, error) {
	return c.run(ctx, input, append([]string{"-a", anchor}, args...)...)
}

// absent reports whether pfctl failed since there is no such anchor, or no such table.
func absent(err error) bool { return livepf.Absent(err) }
