// Command bench measures weir in small swarms that it makes itself, and compares it
// with what is possible on the same line, with btfs if that is installed, and with the
// bars that the project has set itself:
//
//	make bench                                      # all of it, below ten minutes
//	bin/bench --list
//	bin/bench --only random,freeze --repeat 3
//	bin/bench --only hostile      # beside attacks, five minutes
//	bin/bench --only sequential/rtt50 --systems weir --profile /tmp/profiles
//
// It exits with 1 if a bar was missed.
//
// Each seeder is a process of libtorrent (python3-libtorrent) with its own address. If
// libtorrent is not installed, or a case needs misbehaviour, this program seeds. As root
// on Linux the run is enclosed in namespaces, and seeders are in another network. It is
// reached over a line of this program (package link) with real TCP on both ends, or over
// a plain one ("lan"). Without root there are loopback and a relay. Every run of a program
// begins with an empty cache and ends with its process; programs take turns within each
// repeat.
//
// Packages: suite is what cases are made of; reading, web, collections, applications,
// storage and hostile have the cases, a file each. link carries packets, remotehosts is the far
// end, testbed makes networks and folders, program starts what is measured, raw fetches
// without it, zeros is a mount that serves zeros. The list of the cases is here. weir
// imports nothing from here.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/storage"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/cmd/proof/command"
)

func main() { command.Main("bench", run) }

// run returns the exit code: 0, 1 for a bar that was missed or a run that failed,
// 2 for a command line that makes no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	if was, err := testbed.RunRole(os.Stdin, stdout); was {
		return 0, err
	}
	if how := os.Getenv(storage.ZerosEnv); how != "" {
		return 0, storage.ServeZeros(how, os.Stdin, stdout)
	}
	var o suite.Options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.Only, "only", "", "run the cases whose names contain `PATTERN`; several with commas between")
	f.IntVar(&o.Repeat, "repeat", 0, "run each case so `many` times, and take the medians (default 1, up to 3 for what is quick)")
	f.BoolVar(&o.Quick, "quick", false, "a few small cases, to see whether it works")
	f.StringVar(&o.Dir, "dir", "", "keep the contents in `DIR`, best in memory (/dev/shm/…), for the next time")
	f.StringVar(&o.JSON, "json", "", "write the rows to `FILE`, too")
	f.StringVar(&o.Profile, "profile", "", "leave processor and heap profiles of weir in `DIR`")
	f.StringVar(&o.Weir, "weir", "bin/weir", "the binary to measure")
	f.StringVar(&o.Systems, "systems", "", "run just these of weir, btfs, raw, http and curl; commas between")
	f.BoolVar(&o.Own, "own", false, "use weir's own test seeders where libtorrent is installed, too")
	f.BoolVar(&o.Relay, "relay", false, "as without root: no namespaces, and a relay in place of the line")
	list := f.Bool("list", false, "list the cases")
	if err := f.Parse(args); err != nil {
		return 2, nil // it was said
	}
	all := cases()
	if o.Quick {
		all = quickly(all)
	}
	some := chosen(all, o.Only)
	if *list {
		for _, c := range some {
			fmt.Fprintf(stdout, "%-28s %s\n", c.Name, c.About)
		}
		return 0, nil
	}
	if f.NArg() > 0 || len(some) == 0 || o.Repeat < 0 {
		return 2, fmt.Errorf("nothing to run: see --list and --help")
	}
	if testbed.CanEnclose() && !testbed.Inside() && !o.Relay {
		work, err := testbed.Work(os.TempDir())
		if err != nil {
			return 1, err
		}
		defer work.Close()
		return testbed.Enclose(ctx, work, stdout, stderr)
	}
	return measure(ctx, o, some, stdout, stderr)
}

// measure runs the cases here.
func measure(ctx context.Context, o suite.Options, some []suite.Case, stdout, stderr io.Writer) (int, error) {
	work, err := testbed.Work(os.TempDir())
	if err != nil {
		return 1, err
	}
	defer work.Close()
	version, libtorrent := remotehosts.LibtorrentVersion()
	libtorrent = libtorrent && !o.Own
	g, err := testbed.Open(testbed.Options{Data: o.Dir, Work: work.Dir, Libtorrent: libtorrent, Stderr: stderr})
	if err != nil {
		return 1, err
	}
	defer g.Close()
	b, err := suite.New(o, work.Dir, g, libtorrent, stderr)
	if err != nil {
		return 1, err
	}
	if libtorrent {
		fmt.Fprintln(stderr, "seeders: libtorrent", version)
	} else {
		fmt.Fprintln(stderr, "seeders: our own")
	}
	rep := b.Run(ctx, some)
	if err := rep.Print(stdout); err != nil {
		return 1, err
	}
	if o.JSON != "" {
		if err := rep.WriteJSON(o.JSON); err != nil {
			return 1, err
		}
	}
	if rep.Failed() > 0 || rep.Broken > 0 || ctx.Err() != nil {
		return 1, context.Cause(ctx)
	}
	return 0, nil
}
