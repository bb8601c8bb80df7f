package form

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Kind is a kind of result, for SARIF.
type Kind struct{ ID, Meaning string }

// Result is one result, for SARIF.
type Result struct {
	Kind, Level, Message string // Level: "error", "warning", "note"
	At                   string // "policy.toml:12:1"; if it is no place, the result is of the file
	Logical              string // what it is about besides, as a rule of the host
	Same                 string // two results are the same if this is
}

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
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
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

// SARIF writes results with the places of the policy that they concern. Those without
// one are of the file. Paths are relative to dir where they lie below it.
func SARIF(w io.Writer, version, file, dir string, kinds []Kind, results []Result) error {
	driver := sarifDriver{Name: "fwctl", Version: version, Rules: []sarifRule{}}
	for _, k := range kinds {
		driver.Rules = append(driver.Rules, sarifRule{k.ID, sarifText{k.Meaning}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
	for _, r := range results {
		run.Results = append(run.Results, r.sarif(file, dir))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

func (r *Result) sarif(file, dir string) sarifResult {
	line, col := 1, 1
	if name, l, c, ok := position(r.At); ok {
		file, line, col = name, l, c
	}
	var place sarifLocation
	if file != "" { // there is a policy
		place.Physical = &sarifPhysical{sarifArtifact{uri(file, dir)}, sarifRegion{line, col}}
	}
	if r.Logical != "" {
		place.Logical = []sarifLogical{{r.Logical}}
	}
	places := []sarifLocation{place}
	if place.Physical == nil && place.Logical == nil {
		places = []sarifLocation{}
	}
	sum := sha256.Sum256([]byte(r.Same))
	return sarifResult{
		RuleID: r.Kind, Level: r.Level, Message: sarifText{r.Message}, Locations: places,
		Fingerprints: map[string]string{"primaryLocationLineHash": hex.EncodeToString(sum[:8])},
	}
}

// position takes "policy.toml:12:1" apart.
func position(at string) (file string, line, col int, ok bool) {
	parts := strings.Split(at, ":")
	if len(parts) < 3 {
		return "", 0, 0, false
	}
	line, err1 := strconv.Atoi(parts[len(parts)-2])
	col, err2 := strconv.Atoi(parts[len(parts)-1])
	return strings.Join(parts[:len(parts)-2], ":"), line, col, err1 == nil && err2 == nil && line > 0 && col > 0
}

// uri is the path as RFC 3986 writes it, relative to dir where it lies below it.

func uri(file, dir string) string {
	if !filepath.IsAbs(file) {
		return (&url.URL{Path: filepath.ToSlash(file)}).String()
	}
	if rel, err := filepath.Rel(dir, file); err == nil && !strings.HasPrefix(rel, "..") {
		return (&url.URL{Path: filepath.ToSlash(rel)}).String()
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
}
