package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Limits of weir's memory. They are wide for short runs: while a busy machine floods weir,
// it uses more for a moment.
const (
	mostMemory = 600 << 20
	mostGrowth = 1.1
)

// judge adds the failures that only the end shows.
func (s *soak) judge() {
	if s.samples == nil || s.readers.bytes.Load() == 0 {
		s.faults.Fail("nothing was read")
		return
	}
	if most := s.samples.peak(); most.Memory > mostMemory {
		s.faults.Fail("weir had %d MiB of memory of its own, more than %d", most.Memory>>20, mostMemory>>20)
	}
	if fifth, last, ok := s.samples.flat(); ok && float64(last) > mostGrowth*float64(fifth) {
		s.faults.Fail("memory grew from %d MiB in the fifth minute to %d in the last", fifth>>20, last>>20)
	}
	if s.idle.At.IsZero() || !s.atRest() {
		s.faults.Fail("idle again, weir has %d goroutines and %d files, at its start %d and %d", s.idle.Goroutines, s.idle.Files, s.base.Goroutines, s.base.Files)
	}
}

// report judges, and prints what was done and found.
func (s *soak) report() {
	s.judge()
	p := func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }
	counts, explained := s.faults.Tally()
	found := s.faults.Failures()
	p("\nfaults injected:")
	for _, f := range slices.Sorted(maps.Keys(counts)) {
		p("  %6d  %s", counts[f], f)
	}
	p("errors that programs saw because of these:")
	for _, e := range slices.Sorted(maps.Keys(explained)) {
		p("  %6d  %s", explained[e], e)
	}
	if s.samples == nil || s.readers == nil {
		p("failures:\n  %s", strings.Join(found, "\n  "))
		return
	}
	most := s.samples.peak()
	p("programs: %d; the slowest that was killed was gone after %v; weir ended %v after it was told to at most", s.readers.programs.Load(),
		time.Duration(s.readers.longest.Load()).Round(100*time.Millisecond), s.mount.longest.Round(100*time.Millisecond))
	p("most: %d MiB, %d files, %d goroutines; at its start %d, %d, %d; idle again %d, %d, %d", most.Memory>>20, most.Files, most.Goroutines,
		s.base.Memory>>20, s.base.Files, s.base.Goroutines, s.idle.Memory>>20, s.idle.Files, s.idle.Goroutines)
	memory := "- | -"
	if fifth, last, ok := s.samples.flat(); ok {
		memory = fmt.Sprintf("%d | %d", fifth>>20, last>>20)
	}
	injected := 0
	for _, n := range counts {
		injected += n
	}
	p("| date | minutes | seed | GB compared | faults injected | found | MiB in minute 5 | in the last |")
	p("| %s | %g | %d | %.1f | %d | %d | %s |", time.Now().Format(time.DateOnly), s.opt.Minutes, s.opt.Seed, float64(s.readers.bytes.Load())/1e9, injected, len(found), memory)
	if len(found) > 0 {
		p("\nFAILURES:\n  %s\nagain: %s", strings.Join(found[:min(len(found), 40)], "\n  "), s.opt.command())
	}
}
