// Command soak runs the real weir on a real mount for as long as it is told to,
// with honest and hostile peers and with faults that a seed chooses, and compares
// every byte that programs read with the right one:
//
//	make soak MINUTES=60
//	bin/soak -minutes 5 -seed 7 -weir bin/weir
//
// It exits with 1, and prints the seed and the command to run it again, if a byte was
// wrong, weir died or logged an error, a reader could not be killed, a program saw an
// error that no fault explains, or memory, files or goroutines grew. docs/reliability.md
// has the runs that were recorded.
//
// What lives here are the readers, the faults and the judge. It knows weir only by its
// command line, its log and its mount.
package main

import (
	"github.com/weirfs/weir/cmd/proof/command"
)

func main() { command.Main("soak", run) }
