package apply

import (
	"context"
	"fmt"
	"os"
	"strings"

	nftapply "github.com/fwctl/fwctl/apply/nftables"
	nftrender "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

func backends() map[string]backend {
	return map[string]backend{NFTables: nftBackend{}}
}

// nftBackend is nftables through netlink.
type nftBackend struct{}

type nftProgram struct{ *nftrender.Program }

// Render compiles the ruleset for nftables.
func (nftBackend) Render(rs *rules.Ruleset) (program, rules.Problems) {
	p, ps := nftrender.Render(rs)
	return nftProgram{p}, ps
}

// Remove removes the table inet fwctl.
func (nftBackend) Remove(ctx context.Context) ([]string, error) { return nftapply.Remove(ctx) }

// Present reports whether the table inet fwctl exists.
func (nftBackend) Present(ctx context.Context) (bool, error) { return nftapply.Present(ctx) }

// Plan lists what Apply would change.
func (p nftProgram) Plan(ctx context.Context) ([]string, error) {
	r, err := nftapply.Plan(ctx, p.Program, nil)
	return r.Changes, err
}

// Apply makes the table what the program says.
func (p nftProgram) Apply(ctx context.Context) ([]string, error) {
	r, err := nftapply.Apply(ctx, p.Program, nil)
	return r.Changes, err
}

// generation is the number of the nftables ruleset of this network namespace;
// every commit raises it by one.
func generation(ctx context.Context) (uint32, error) { return nftapply.Generation(ctx) }

// namespace identifies the network namespace and this run of the kernel.
// Generations of others tell nothing.
func namespace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s", strings.TrimSpace(string(boot)), ns)
}
