// Package form writes reports in the forms that other programs read: the line of a
// Nagios plugin, Prometheus' text format, SARIF. What is reported is the caller's.
package form
