// Command demo is the traffic of `make demo`, so that the demonstration needs no
// program that a fresh machine may lack: `listen` is the daemons of the host,
// `probe` is everybody who tries to reach them.
package main
