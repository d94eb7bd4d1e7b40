package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
)

// errTimeIsUp ends a run whose time was limited, and is no failure.
var errTimeIsUp = errors.New("time is up")

// Report is the result of one target.
type Report struct {
	Target
	Equivalent int // mutants that were drawn and left out
	Killed     int
	TimedOut   int // of those killed
	Survivors  []*Mutant
}

// Tested returns how many mutants the tests have judged.
func (r *Report) Tested() int { return r.Killed + len(r.Survivors) }

// Score returns the percentage of mutants killed.
func (r *Report) Score() float64 { return 100 * float64(r.Killed) / float64(max(1, r.Tested())) }

// measure draws mutants and has them tested, and prints the survivors.
func (r *Report) measure(ctx context.Context, o Options, list equivalents, record *Record, out io.Writer) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	c, err := NewChecker(ctx, root, r.Dir)
	if err != nil {
		return err
	}
	all, err := c.Mutants(r.has)
	if err != nil {
		return err
	}
	if len(r.Files) == 0 {
		for _, key := range list.stale(r.Dir, all) {
			fmt.Fprintf(out, "%s: equivalent.txt names what is there no more: %s\n", r.Dir, key)
		}
	}
	var test []*Mutant
	known := make(map[*Mutant]Verdict)
	for _, m := range draw(all, o.Seed) {
		if len(test)+len(known) == o.N {
			break
		}
		if !c.Compiles(m) {
			continue
		}
		if list[r.Dir][m.Key()] != "" {
			r.Equivalent++
			continue
		}
		if v, ok := record.get(r.Dir, m); ok && (v != Survived || !o.Again) {
			known[m] = v
			r.count(m, v, out)
			continue
		}
		test = append(test, m)
	}
	if len(test) == 0 {
		return nil
	}
	room, err := os.MkdirTemp("", "weir-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(room)
	tests, err := NewRunner(ctx, root, r.Target, c, test, room)
	if err != nil {
		return ended(ctx, err)
	}
	for _, m := range test {
		v, err := tests.Test(ctx, m)
		if err != nil {
			return ended(ctx, err)
		}
		if err := record.add(r.Dir, m, v); err != nil {
			return err
		}
		r.count(m, v, out)
	}
	return nil
}

// ended returns nil when the time is up, and err otherwise.
func ended(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errTimeIsUp) {
		return nil
	}
	return err
}

// count takes a verdict.
func (r *Report) count(m *Mutant, v Verdict, out io.Writer) {
	switch v {
	case Killed:
		r.Killed++
	case TimedOut:
		r.Killed++
		r.TimedOut++
	case Survived:
		r.Survivors = append(r.Survivors, m)
		fmt.Fprintf(out, "survived %s:%d %s\n\t- %s\n\t+ %s\n", m.File, m.Line, m.Func, m.Old, m.New)
	}
}

// draw returns the mutants in the order of a draw. Every one is as likely, and the
// same seed draws the same from the same source.
func draw(all []*Mutant, seed uint64) []*Mutant {
	all = slices.Clone(all)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// table prints the figures, and reports whether all of them reach the bar.
func table(out io.Writer, reports []*Report, o Options) bool {
	ok := true
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\npackage\tmutants\tkilled\tof them by time\tequivalent\tscore\t")
	for _, r := range reports {
		note := ""
		if r.Score() < o.Least {
			ok, note = false, "below the bar"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.1f %%\t%s\n", r.Dir, r.Tested(), r.Killed, r.TimedOut, r.Equivalent, r.Score(), note)
	}
	return w.Flush() == nil && ok
}
