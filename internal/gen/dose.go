package gen

import (
	"os"
	"strconv"
	"testing"
)

// Dose is how much a test draws: the number in the environment variable, else the
// ordinary one, FWCTL_SOAK times.
func Dose(t testing.TB, variable string, ordinary int) int {
	t.Helper()
	return number(t, variable, ordinary*number(t, "FWCTL_SOAK", 1))
}

// Seed is where a test begins to draw: FWCTL_SEED, else 1.
func Seed(t testing.TB) uint64 {
	t.Helper()
	return uint64(number(t, "FWCTL_SEED", 1)) //nolint:gosec // not negative
}

func number(t testing.TB, variable string, missing int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return missing
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no count", variable, text)
	}
	return n
}
