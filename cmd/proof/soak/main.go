// Command soak runs the real weir on a real mount for as long as it is told to,
// with honest and hostile peers beside each other and faults drawn by a seed, and
// compares every byte that programs read with the truth:
//
//	make soak MINUTES=60
//	bin/soak -minutes 5 -seed 7 -weir bin/weir
//
// It ends with 1, the seed and the command to run it again, when a byte was wrong,
// weir died or logged an error, a reader could not be killed, a program saw an error
// that no fault explains, or memory, files or goroutines grew. docs/reliability.md
// has the runs that were recorded.
//
// What lives here are the readers, the faults and the judge. weir is a stranger to
// it, known by its command line, its log and its mount.
package main

import (
	"github.com/weirfs/weir/cmd/proof/command"
)

func main() { command.Main("soak", run) }
