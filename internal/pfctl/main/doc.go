// Command main is the stand-in for pfctl(8) as a program of its own: see package
// pfctl.
package main
