package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// Options are the command line's.
type Options struct {
	Only    string // part of the names of cases to run, several with commas between
	Repeat  int
	Quick   bool
	Dir     string // keeps contents between runs
	JSON    string // file for the report
	Profile string // folder for profiles of weir
	Weir    string // path of the binary
	Own     bool   // no libtorrent
	Relay   bool   // no namespaces
	Systems string // which to run, with commas between; empty for all
}

// Bench is one run of the program.
type Bench struct {
	Options Options
	Testbed *testbed.Testbed
	work    string
	Paths   map[string]string // programs by system
	Knows   map[string]bool   // flags of this weir's mount
	// libtorrent's seeders are used.
	libtorrent bool
	contents   map[string]*swarmtest.Content
	Stderr     io.Writer
	runs       int
}

// New looks at what there is to measure.
func New(o Options, work string, g *testbed.Testbed, libtorrent bool, stderr io.Writer) (*Bench, error) {
	b := &Bench{Options: o, Testbed: g, work: work, Paths: map[string]string{}, Knows: map[string]bool{}, contents: map[string]*swarmtest.Content{}, libtorrent: libtorrent, Stderr: stderr}
	path, err := filepath.Abs(o.Weir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no weir binary, make builds one: %w", err)
	}
	b.Paths[Weir] = path
	if p, err := exec.LookPath("btfs"); err == nil {
		b.Paths[BTFS] = p
	}
	help, err := exec.Command(path, "mount", "--help").Output()
	if err != nil {
		return nil, fmt.Errorf("%s mount --help: %w", path, err)
	}
	for _, word := range strings.Fields(string(help)) {
		b.Knows[strings.TrimRight(word, ",")] = true
	}
	return b, nil
}

// can reports whether a system is there and asked for.
func (b *Bench) can(system string) bool {
	if b.Options.Systems != "" && !slices.Contains(strings.Split(b.Options.Systems, ","), system) {
		return false
	}
	switch system {
	case Weir, BTFS:
		return b.Paths[system] != ""
	}
	return true
}

// Without --repeat a case is repeated while it is cheap: three times, or as often
// as begins within this time.
const (
	repeatUntil = 6 * time.Second
	repeatMost  = 3
)

// wholeTime bounds a run of all cases: what has not begun by then is left out.
const wholeTime = 9 * time.Minute

// Run runs the cases, all systems one after another in each repeat, so that a
// noisy minute hits all of them. It returns what it has when ctx ends.
func (b *Bench) Run(ctx context.Context, cases []Case) *Report {
	rep := newReport()
	start := time.Now()
	for _, c := range cases {
		begin := time.Now()
		if b.Options.Only == "" && b.Options.Repeat == 0 && begin.Sub(start) > wholeTime {
			rep.Absent = append(rep.Absent, fmt.Sprintf("%s: no time is left of %v (--only %[1]s)", c.Name, wholeTime))
			continue
		}
		for i := 0; b.again(c, i, time.Since(begin)); i++ {
			for _, system := range c.Systems {
				// What is slower by a factor is known well enough after one run.
				if !b.can(system) || system == BTFS && i > 0 {
					continue
				}
				b.note(ctx, rep, c, system, i)
				if ctx.Err() != nil {
					rep.finish(c)
					return rep
				}
			}
		}
		rep.finish(c)
	}
	return rep
}

// again reports whether a case is run another time.
func (b *Bench) again(c Case, done int, took time.Duration) bool {
	switch {
	case done == 0:
		return true
	case c.Once || b.Options.Quick:
		return false
	case b.Options.Repeat > 0:
		return done < b.Options.Repeat
	case c.Aside:
		return false
	}
	return done < repeatMost && took < repeatUntil
}

// note runs a case once with one system and puts what came out into the report.
func (b *Bench) note(ctx context.Context, rep *Report, c Case, system string, repeat int) {
	begin := time.Now()
	v, err := b.one(ctx, c, system, repeat)
	if ctx.Err() != nil {
		return
	}
	if absent := Absent(""); errors.As(err, &absent) {
		rep.Absent = append(rep.Absent, fmt.Sprintf("%s with %s: %v", c.Name, system, absent))
		return
	}
	rep.add(system, v, err)
	fmt.Fprintf(b.Stderr, "%-28s %-5s %5.1f s  %s\n", c.Name, system, time.Since(begin).Seconds(), say(c, v, err))
}

// one runs a case once with one system, within its limit.
func (b *Bench) one(ctx context.Context, c Case, system string, repeat int) (v Values, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("not done within %v", c.Limit))
	defer cancel()
	b.runs++
	r := &Run{
		Bench: b, Ctx: ctx, c: c, System: system, Repeat: repeat,
		Dir: filepath.Join(b.work, fmt.Sprintf("run%03d", b.runs)),
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return c.Run(r)
}

// content makes a content once.
func (b *Bench) content(spec remotehosts.Spec) (*swarmtest.Content, error) {
	if c := b.contents[spec.Name]; c != nil {
		return c, nil
	}
	begin := time.Now()
	if !spec.Virtual {
		if err := spec.Write(b.Testbed.Data); err != nil {
			return nil, err
		}
	}
	c, err := spec.Content()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b.Stderr, "made %s, %s, in %.1f s\n", spec.Name, Bytes.Format(float64(c.Info().Length)), time.Since(begin).Seconds())
	b.contents[spec.Name] = c
	return c, nil
}
