package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "listen":
		return listen(args[1:], os.Stdout)
	case len(args) > 1 && args[0] == "probe":
		return probeAll(args[1], len(args) > 2 && args[2] == "brief", os.Stdin, os.Stdout)
	}
	return fmt.Errorf("usage: demo listen PORT/PROTO… | demo probe wanted|open [brief] < PROBES")
}
