package main

import (
	"os"

	"github.com/fwctl/fwctl/internal/pfctl"
)

func main() { os.Exit(pfctl.Main()) }
