package house

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what the commands in README.md print")

// blocks finds the fenced blocks of a language: everything up to the text, the
// text, the closing fence.
func blocks(lang string) *regexp.Regexp {
	return regexp.MustCompile("(?s)(```" + lang + "\n)(.*?)(```\n)")
}

// What README.md shows is what happens: its first policy is loaded by the
// commands in its console blocks, which print what stands there; and the rules
// it quotes are rendered from that policy, in that order.
func TestReadme(t *testing.T) {
	name := filepath.Join(root, "README.md")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	dir := t.TempDir()
	build(t, dir)
	policy := blocks("toml").FindStringSubmatch(text)
	if policy == nil {
		t.Fatal("README.md shows no policy")
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.toml"), []byte(policy[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	now := blocks("console").ReplaceAllStringFunc(text, func(block string) string {
		b := blocks("console").FindStringSubmatch(block)
		return b[1] + replay(dir, b[2]) + b[3]
	})
	if now != text && *update {
		if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if now != text {
		t.Errorf("README.md shows what is no longer so (-update rewrites it); now:\n%s", now)
	}
	quoted(t, shell(dir, "fwctl render --backend nftables policy.toml"), blocks("nft").FindStringSubmatch(text))
}

func build(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "fwctl"), "./cmd/fwctl")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// replay runs the commands of a block and returns the block with what they print.
func replay(dir, block string) string {
	var b strings.Builder
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			b.WriteString(line + shell(dir, strings.TrimSuffix(command, "\n")))
		}
	}
	return b.String()
}

// shell returns what a command prints; that it fails may be the point.
func shell(dir, command string) string {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error() + "\n"
	}
	return string(out)
}

// quoted checks that the lines of the block stand in the text, in their order.
func quoted(t *testing.T, text string, block []string) {
	t.Helper()
	if block == nil {
		t.Fatal("README.md quotes no rules")
	}
	for line := range strings.Lines(block[2]) {
		_, rest, found := strings.Cut(text, line)
		if !found {
			t.Errorf("README.md quotes a rule that is not rendered, or not there: %s", line)
			continue
		}
		text = rest
	}
}
