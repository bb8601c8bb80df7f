package main

import (
	"errors"

	"github.com/fwctl/fwctl/rules"
)

// The exit statuses. A command's help says which of them it uses and for what.
const (
	exitGood    = 0
	exitDiffers = 1 // warnings, failed tests, edited but not applied
	exitError   = 2 // nothing was changed
	exitUnknown = 3 // cannot tell
	exitBack    = 4 // a change failed and was taken back
)

// status is an error that was already put into words and only ends the command.
type status int

// Error is never printed.
func (status) Error() string { return "exit status" }

// usageError is a command line that fwctl does not understand.
type usageError struct {
	err  error
	hint string
}

// Error says what is wrong with the command line.
func (e *usageError) Error() string { return e.err.Error() }

func usage(message, hint string) error { return &usageError{errors.New(message), hint} }

// policyError is a policy that cannot be used.
type policyError struct{ problems rules.Problems }

// Error joins the problems.
func (e *policyError) Error() string { return e.problems.Error() }
