package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// resolveTime bounds all look-ups of one run together.
	resolveTime = 10 * time.Second
	// resolveAtOnce bounds how many names are asked for at the same time.
	resolveAtOnce = 16
)

// resolver takes no half for an answer: where one family's query fails for now, the
// name was not answered, and its addresses of that family are not gone.
var resolver = &net.Resolver{StrictErrors: true}

// Resolve asks DNS for the addresses of the names, both families, all within
// ten seconds. The map holds every name that was answered, its addresses sorted;
// the error joins the others' failures, one *net.DNSError each. An answer without an address counts as
// a failure.
func Resolve(ctx context.Context, names []string) (map[string][]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		found = map[string][]netip.Addr{}
		errs  = make([]error, len(names))
		slots = make(chan struct{}, resolveAtOnce)
	)
	for i, name := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			addrs, err := lookup(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if errs[i] = err; err == nil {
				found[name] = addrs
			}
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", name, err)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap().WithZone("")
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}
