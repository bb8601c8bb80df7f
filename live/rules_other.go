//go:build !linux

package live

import (
	"context"
	"errors"
	"net/netip"
)

// Rules reads what decides on packets. On this system it cannot.
func Rules(context.Context) (*HostRules, error) {
	return nil, errors.New("the running rules can be read on Linux only")
}

// RuleTexts knows no rules on this system.
func RuleTexts(context.Context, string, string) map[uint64]string { return nil }

// RouteTo knows no routes on this system.
func RouteTo(netip.Addr) string { return "" }

// RouteBack knows no routes on this system.
func RouteBack(netip.Addr, string) (back, known bool) { return false, false }

// ComesBy knows no interfaces on this system.
func ComesBy(Connection) string { return "" }
