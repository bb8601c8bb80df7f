package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

// build says what program this is.
type build struct {
	Changed bool   `json:"changed"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

// String writes "fwctl v1.2.3 (0123abcd, go1.26, linux/amd64)".
func (b build) String() string {
	commit := ""
	if b.Commit != "" {
		commit = b.Commit[:min(12, len(b.Commit))] + ", "
	}
	return fmt.Sprintf("fwctl %s (%s%s, %s)", b.Version, commit, b.Go, b.System)
}

// programVersion is what the linker said, else what the Go tool recorded.
func programVersion() build {
	b := build{Version: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
		if b.Version == "" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "unknown"
	}
	return b
}

func newVersion(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "what program this is",
		Args:  atMost(0),
		RunE: func(*cobra.Command, []string) error {
			b := programVersion()
			return g.ui.answer(b, func() { g.ui.print("%s\n", b) })
		},
	}
}
