package drift

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// What follows is the part of SARIF 2.1.0 (OASIS Standard, 2020) that consumers
// of code scanning read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"` // the rule of the host
	}
)

const sarifSchema = "https://json.schemastore.org/sarif-2.1.0.json"

// meanings are what the kinds of findings mean, in a sentence.
var meanings = map[Kind]string{
	Opened:    "The host accepts what the policy refuses.",
	Tampered:  "fwctl's own rules are not those that fwctl would put there.",
	Closed:    "The host refuses what the policy accepts.",
	Undecided: "The comparison was larger than its budget; nothing follows.",
	Unknown:   "Whether the host differs depends on something that is not understood.",
	Manager:   "Other software manages rules on the host.",
	Answer:    "Host and policy both refuse, but one of them answers and the other does not.",
}

var sarifLevels = map[Kind]string{
	Opened: "error", Tampered: "error", Closed: "warning", Undecided: "warning", Unknown: "warning", Manager: "warning", Answer: "note",
}

// SARIF writes the report with the places of the policy that it concerns. Paths
// are relative to dir where they lie below it.
func (r *Report) SARIF(w io.Writer, s Subject, dir string) error {
	driver := sarifDriver{Name: "fwctl", Version: s.Version, Rules: []sarifRule{}}
	for _, k := range Kinds() {
		driver.Rules = append(driver.Rules, sarifRule{"fwctl." + k.String(), sarifText{meanings[k]}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
	for _, f := range r.Findings {
		run.Results = append(run.Results, f.sarif(s.Policy, dir))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

func (f *Finding) sarif(policy, dir string) sarifResult {
	file, line, col := policy, 1, 1
	message := f.Summary
	out := sarifResult{RuleID: "fwctl." + f.Kind.String(), Level: sarifLevels[f.Kind]}
	var rule string
	if len(f.Examples) > 0 {
		x := f.Examples[0]
		message = fmt.Sprintf("%s (%s by %s; for example %s)", f.Summary, x.Host.Verdict, x.Host, x.Packet)
		if name, l, c, ok := position(x.Policy.At); ok {
			file, line, col = name, l, c
		}
		rule = x.Host.String() + x.Policy.Name
		out.Locations = []sarifLocation{{Logical: []sarifLogical{{x.Host.String()}}}}
	} else {
		out.Locations = []sarifLocation{{}}
	}
	out.Message = sarifText{message}
	out.Locations[0].Physical = sarifPhysical{sarifArtifact{uri(file, dir)}, sarifRegion{line, col}}
	sum := sha256.Sum256([]byte(f.Kind.String() + f.Hook + rule + strings.Join(f.Packets, ";")))
	out.Fingerprints = map[string]string{"primaryLocationLineHash": hex.EncodeToString(sum[:8])}
	return out
}

// position takes "policy.toml:12:1" apart.
func position(at string) (file string, line, col int, ok bool) {
	parts := strings.Split(at, ":")
	if len(parts) < 3 {
		return "", 0, 0, false
	}
	line, err1 := strconv.Atoi(parts[len(parts)-2])
	col, err2 := strconv.Atoi(parts[len(parts)-1])
	return strings.Join(parts[:len(parts)-2], ":"), line, col, err1 == nil && err2 == nil
}

func uri(file, dir string) string {
	if !filepath.IsAbs(file) {
		return filepath.ToSlash(file)
	}
	if rel, err := filepath.Rel(dir, file); err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return "file://" + filepath.ToSlash(file)
}
