//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux; what is measured here runs in its kernel")
	os.Exit(1)
}
