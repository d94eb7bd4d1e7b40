// Package policy decides what to want ahead of readers, from their past reads alone:
// Pattern within a file, Sequence across files. The time comes with each read.
//
// What must not live here: I/O, clocks, goroutines and locks; what is held, and what
// the budget has room for.
package policy
