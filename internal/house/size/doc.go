// Command size prints how long the functions of the repository are, by room and
// in all, against the house's targets. It is what `make size` runs.
package main
