package pf

import (
	"context"
	"errors"
	"fmt"

	livepf "github.com/fwctl/fwctl/live/pf"
)

// States lists the states with ports, of TCP and UDP.
func (c *Conn) States(ctx context.Context) ([]livepf.Flow, error) { return c.pfctl.States(ctx) }

// errNoID says that single states cannot be ended.
var errNoID = errors.New("this pfctl does not number its states, so none can be ended alone")

// Kill ends states, and no other. That one is gone already is no error.
func (c *Conn) Kill(ctx context.Context, flows []livepf.Flow) error {
	for _, f := range flows {
		if f.ID == "" {
			return errNoID
		}
		if _, err := c.run(ctx, "", "-k", "id", "-k", f.ID); err != nil {
			return fmt.Errorf("end the state of %s with %s: %w", f.Src, f.Dst, err)
		}
	}
	return nil
}
