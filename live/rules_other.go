//go:build !linux

package live

import (
	"context"
	"net/netip"
)

// Rules reads everything that decides on packets: the rules of pf.
func Rules(ctx context.Context) (*HostRules, error) { return PFRules(ctx) }

// Elsewhere reads what decides on packets in other network namespaces. On this system
// there are none.
func Elsewhere(context.Context) ([]Namespace, []string, error) { return nil, nil, nil }

// RuleTexts knows no rules on this system.
func RuleTexts(context.Context, string, string) map[uint64]string { return nil }

// RouteTo knows no routes on this system.
func RouteTo(netip.Addr) string { return "" }

// RouteBack knows no routes on this system.
func RouteBack(netip.Addr, string) (back, known bool) { return false, false }

// ComesBy knows no interfaces on this system.
func ComesBy(Connection) string { return "" }
