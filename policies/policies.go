package policies

import (
	"embed"
	"io/fs"
)

//go:embed profiles/*.toml
var profiles embed.FS

//go:embed examples
var examples embed.FS

// Profiles holds the service profiles that come with fwctl, NAME.toml for what
// a policy calls profile = "NAME".
func Profiles() fs.FS { return sub(profiles, "profiles") }

// Examples holds the example policies, NAME.toml, beside NAME.host.json, the
// facts of a host that the policy would fit, and the directories of the files
// that they include.
func Examples() fs.FS { return sub(examples, "examples") }

// sub cannot fail: the directory is named above and embedded by the compiler.
func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err)
	}
	return s
}
