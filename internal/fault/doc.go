// Package fault ends a program in the midst of its work: with SIGKILL, when it
// makes a system call. Nothing in the program knows of it.
//
// [Kill] is all there is; it traces the threads of one process (ptrace(2)), not the
// processes that it starts. Linux only.
package fault
