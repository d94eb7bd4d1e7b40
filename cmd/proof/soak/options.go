package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options are the flags.
type Options struct {
	Minutes  float64
	Seed     uint64
	Weir     string // the binary
	MiB      int64  // of contents
	Cache    int64  // MiB
	Readers  int    // at once
	Dir      string // for everything that is written; "" is a new one beneath the system's
	FullDisk bool
	Keep     bool
}

// run returns the exit code: 0, 1 if weir failed or the run could not be made, 2 for wrong
// usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	if len(args) == 2 && args[0] == "read" {
		return readMain(args[1], stdout)
	}
	var o Options
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Float64Var(&o.Minutes, "minutes", 1, "how long to run")
	f.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano())%1e9, "for everything random (default by the clock)")
	f.StringVar(&o.Weir, "weir", "bin/weir", "the `binary`")
	f.Int64Var(&o.MiB, "mib", 256, "`size` of the contents")
	f.Int64Var(&o.Cache, "cache", 96, "`size` of the cache in MiB, less than the contents so that it evicts")
	f.IntVar(&o.Readers, "readers", 5, "how `many` programs read at once")
	f.StringVar(&o.Dir, "dir", "", "write beneath `DIR`")
	f.BoolVar(&o.FullDisk, "full-disk", os.Geteuid() == 0, "put the cache on a small tmpfs and fill that up now and then; needs root, and is root's default")
	f.BoolVar(&o.Keep, "keep", false, "keep weir's log and the cache after a failure")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil // flag has printed why
	}
	if f.NArg() > 0 || o.Minutes <= 0 || o.Readers < 1 || o.MiB < 32 {
		fmt.Fprintln(stderr, "soak: want minutes and readers above zero, 32 MiB at least, and no arguments")
		return 2, nil
	}
	var err error
	if o.Weir, err = filepath.Abs(o.Weir); err != nil {
		return 1, err
	}
	if _, err := os.Stat(o.Weir); err != nil {
		return 1, fmt.Errorf("%w; run make build first", err)
	}
	return runSoak(ctx, o, stdout)
}

// command returns the command that repeats this run.
func (o Options) command() string {
	s := fmt.Sprintf("make soak MINUTES=%g SOAKARGS='-seed %d -mib %d -cache %d -readers %d", o.Minutes, o.Seed, o.MiB, o.Cache, o.Readers)
	return s + fmt.Sprintf(" -full-disk=%t'", o.FullDisk)
}
