// Command skips reads the events of `go test -json` and prints what plain
// `go test` would, and each test that skipped with its reason. It fails if a
// test failed, if none ran, or if one skipped that the file named by its only
// argument does not allow: where the environment promises a kernel, a skipped
// kernel test is a failure.
package main
