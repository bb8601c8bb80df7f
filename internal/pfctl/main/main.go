// Command main is the stand-in for pfctl(8) as a program of its own.
package main

import (
	"os"

	"github.com/fwctl/fwctl/internal/pfctl"
)

func main() { os.Exit(pfctl.Main()) }
