// Package forms holds what fwctl writes for other programs against what those programs
// read: Prometheus' own linter, the published schema of SARIF, the grammar of Nagios'
// plugins. Each function returns what is wrong, in words. It is for tests alone.
package forms
