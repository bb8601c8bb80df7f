package live

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
)

// RuleTexts returns the rules of a chain of nf_tables as nft(8) lists them, by
// handle, for people to read. It is empty where nft is not installed or does not
// answer. The table is written with its family: "inet fwctl".
func RuleTexts(ctx context.Context, table, chain string) map[uint64]string {
	texts := map[uint64]string{}
	nft := program("nft")
	if nft == "" {
		return texts
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	args := append([]string{"--handle", "--terse", "list", "chain"}, strings.Fields(table)...)
	out, err := exec.CommandContext(ctx, nft, append(args, chain)...).Output()
	if err != nil {
		return texts
	}
	for line := range strings.Lines(string(out)) {
		if text, number, ok := cutLast(strings.TrimSpace(line), " # handle "); ok {
			if handle, err := strconv.ParseUint(number, 10, 64); err == nil {
				texts[handle] = text
			}
		}
	}
	return texts
}
