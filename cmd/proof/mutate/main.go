// Command mutate measures whether tests can fail: it changes one small thing of a
// package at a time (a condition negated, a bound moved, a statement left out,
// a constant or an operator swapped, another result), runs the package's tests
// against each change, and prints the changes that no test noticed:
//
//	make mutate                                           # all pure packages, an hour
//	bin/mutate engine/internal/choker
//	bin/mutate -n 300 -seed 7 reader/internal/policy:meter.go,stride.go
//	bin/mutate -record /tmp/mutants -again engine/internal/picker
//
// Nothing is written into the module: the compiler reads the changed file instead of
// the real one. A seed chooses the mutants, from all those that compile and are not
// listed in equivalent.txt. It exits with 1 if a package is below the bar.
//
// What lives here are the changes, the choice and the report. It knows nothing of the
// packages that it tests.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/weirfs/weir/cmd/proof/command"
)

func main() { command.Main("mutate", run) }

// Options are the flags.
type Options struct {
	N      int
	Seed   uint64
	Least  float64
	For    time.Duration
	Record string
	Again  bool
}

// run returns the exit code: 0, 1 for a package below the bar or a run that
// failed, 2 for a command line that makes no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	var o Options
	f := flag.NewFlagSet("mutate", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: mutate [flags] [DIR[:FILE,FILE…[:TESTS]] …]")
		f.PrintDefaults()
	}
	f.IntVar(&o.N, "n", 100, "draw `many` mutants in each package")
	f.Uint64Var(&o.Seed, "seed", 1, "of the draw")
	f.Float64Var(&o.Least, "least", 85, "the bar, in `percent` of mutants killed")
	f.DurationVar(&o.For, "for", 0, "stop after so long; with -record the next run goes on")
	f.StringVar(&o.Record, "record", "", "keep verdicts in `FILE`, and believe those that it has")
	f.BoolVar(&o.Again, "again", false, "believe the record's kills only, and test the survivors again")
	if err := f.Parse(args); err != nil {
		return 2, nil // it was said
	}
	names := f.Args()
	if len(names) == 0 {
		names = pure
	}
	record := &Record{}
	list, err := parseEquivalents(equivalentText)
	if err != nil {
		return 1, err
	}
	if o.Record != "" {
		if record, err = readRecord(o.Record); err != nil {
			return 1, err
		}
	}
	if o.For > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, o.For, errTimeIsUp)
		defer cancel()
		ctx = limited
	}
	var reports []*Report
	for _, name := range names {
		r := &Report{Target: parseTarget(name)}
		reports = append(reports, r)
		if err := r.measure(ctx, o, list, record, stdout); err != nil {
			return 1, err
		}
	}
	if !table(stdout, reports, o) {
		return 1, nil
	}
	return 0, nil
}
