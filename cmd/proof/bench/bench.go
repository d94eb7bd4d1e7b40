package main

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

	"github.com/weirfs/weir/cmd/proof/bench/program"
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
	o       Options
	testbed *testbed.Testbed
	work    string
	paths   map[string]string // programs by system
	knows   map[string]bool   // flags of this weir's mount
	// libtorrent's seeders are used.
	libtorrent bool
	contents   map[string]*swarmtest.Content
	stderr     io.Writer
	runs       int
}

// newBench looks at what there is to measure.
func newBench(o Options, work string, g *testbed.Testbed, libtorrent bool, stderr io.Writer) (*Bench, error) {
	b := &Bench{o: o, testbed: g, work: work, paths: map[string]string{}, knows: map[string]bool{}, contents: map[string]*swarmtest.Content{}, libtorrent: libtorrent, stderr: stderr}
	path, err := filepath.Abs(o.Weir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no weir binary, make builds one: %w", err)
	}
	b.paths[weirSystem] = path
	if p, err := exec.LookPath("btfs"); err == nil {
		b.paths[btfsSystem] = p
	}
	help, err := exec.Command(path, "mount", "--help").Output()
	if err != nil {
		return nil, fmt.Errorf("%s mount --help: %w", path, err)
	}
	for _, word := range strings.Fields(string(help)) {
		b.knows[strings.TrimRight(word, ",")] = true
	}
	return b, nil
}

// can reports whether a system is there and asked for.
func (b *Bench) can(system string) bool {
	if b.o.Systems != "" && !slices.Contains(strings.Split(b.o.Systems, ","), system) {
		return false
	}
	switch system {
	case weirSystem, btfsSystem:
		return b.paths[system] != ""
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

// run runs the cases, all systems one after another in each repeat, so that a
// noisy minute hits all of them. It returns what it has when ctx ends.
func (b *Bench) run(ctx context.Context, cases []Case) *Report {
	rep := newReport()
	start := time.Now()
	for _, c := range cases {
		begin := time.Now()
		if b.o.Only == "" && b.o.Repeat == 0 && begin.Sub(start) > wholeTime {
			rep.Absent = append(rep.Absent, fmt.Sprintf("%s: no time is left of %v (--only %[1]s)", c.Name, wholeTime))
			continue
		}
		for i := 0; b.again(c, i, time.Since(begin)); i++ {
			for _, system := range c.Systems {
				// What is slower by a factor is known well enough after one run.
				if !b.can(system) || system == btfsSystem && i > 0 {
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
	case c.Once || b.o.Quick:
		return false
	case b.o.Repeat > 0:
		return done < b.o.Repeat
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
	if absent := errAbsent(""); errors.As(err, &absent) {
		rep.Absent = append(rep.Absent, fmt.Sprintf("%s with %s: %v", c.Name, system, absent))
		return
	}
	rep.add(system, v, err)
	fmt.Fprintf(b.stderr, "%-28s %-5s %5.1f s  %s\n", c.Name, system, time.Since(begin).Seconds(), say(c, v, err))
}

// one runs a case once with one system, within its limit.
func (b *Bench) one(ctx context.Context, c Case, system string, repeat int) (v Values, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("not done within %v", c.Limit))
	defer cancel()
	b.runs++
	r := &Run{
		Bench: b, ctx: ctx, c: c, system: system, repeat: repeat,
		dir: filepath.Join(b.work, fmt.Sprintf("run%03d", b.runs)),
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return c.Run(r)
}

// Run is one run of one case with one system.
type Run struct {
	*Bench
	ctx     context.Context
	c       Case
	system  string
	repeat  int
	dir     string // for this run alone
	wires   []*testbed.Wire
	process []*program.Process
	// profiler is there with --profile, for the program started last.
	profiler *profiler
}

// close ends what the run has started. The order matters: a program that still
// reads would meet a swarm that is gone.
func (r *Run) close() (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 20*time.Second)
	defer cancel()
	if r.profiler != nil {
		err = r.profiler.finish(ctx)
	}
	err = errors.Join(err, r.stopAll())
	for _, w := range r.wires {
		err = errors.Join(err, w.Hosts().Stop(ctx))
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// stopAll ends the run's programs.
func (r *Run) stopAll() (err error) {
	for _, p := range r.process {
		err = errors.Join(err, p.Stop())
	}
	r.process = nil
	return err
}

// Swarm is who seeds a torrent in a run.
type Swarm struct {
	*swarmtest.Content
	Spec    remotehosts.Spec
	Wire    *testbed.Wire
	Torrent string // path of the .torrent
	Magnet  string
	Peers   []string // addresses of the seeders
	own     bool     // they are our own
}

// content makes a content once.
func (b *Bench) content(spec remotehosts.Spec) (*swarmtest.Content, error) {
	if c := b.contents[spec.Name]; c != nil {
		return c, nil
	}
	begin := time.Now()
	if !spec.Virtual {
		if err := spec.Write(b.testbed.Data); err != nil {
			return nil, err
		}
	}
	c, err := spec.Content()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b.stderr, "made %s, %s, in %.1f s\n", spec.Name, Bytes.Format(float64(c.Info().Length)), time.Since(begin).Seconds())
	b.contents[spec.Name] = c
	return c, nil
}

// seed starts a swarm on a wire, with a tracker that knows just its seeders.
func (r *Run) seed(w *testbed.Wire, s testbed.Seeding) (*Swarm, error) {
	c, err := r.content(s.Spec)
	if err != nil {
		return nil, err
	}
	h := swarmtest.Hints{Trackers: [][]string{{w.AnnounceURL()}}}
	sw := &Swarm{Content: c, Spec: s.Spec, Wire: w, Magnet: c.Magnet(h), Torrent: filepath.Join(r.dir, s.Spec.Name+".torrent")}
	if err := os.WriteFile(sw.Torrent, c.Torrent(h), 0o644); err != nil {
		return nil, err
	}
	s.Torrent, sw.own = sw.Torrent, s.Own || !r.libtorrent
	r.wires = append(r.wires, w)
	if sw.Peers, err = w.Start(r.ctx, s); err != nil {
		return nil, fmt.Errorf("start the swarm: %w", err)
	}
	return sw, nil
}

// start starts the run's program on a source of the swarm: its .torrent, unless
// another one is named.
func (r *Run) start(sw *Swarm, source string, args ...string) (*program.Process, error) {
	if source == "" {
		source = sw.Torrent
	}
	return r.startWith(sw, source, nil, args...)
}

// open starts the run's program on the swarm's .torrent and opens the first file.
func (r *Run) open(sw *Swarm) (*program.Process, *os.File, error) {
	p, err := r.start(sw, "")
	if err != nil {
		return nil, nil, err
	}
	f, err := p.Open(r.ctx)
	return p, f, err
}

// startWith starts the run's program on a source, if there is one, and more.
func (r *Run) startWith(sw *Swarm, source string, more []string, args ...string) (*program.Process, error) {
	o := program.Options{
		Name: r.system, Path: r.paths[r.system], Source: source, More: more, Args: args,
		Cache: filepath.Join(r.dir, "cache"), Mount: filepath.Join(r.dir, "mnt"),
		Torrent: sw.Info().Name, Single: sw.Info().Single,
	}
	if r.system == weirSystem {
		flags, err := r.profileArgs()
		if err != nil {
			return nil, err
		}
		o.Args = append(o.Args, flags...)
	}
	p, err := program.Start(r.ctx, o)
	if err != nil {
		return nil, err
	}
	r.process = append(r.process, p)
	return p, nil
}

// fetched returns what the seeders of a swarm have sent, once they are quiet.
func (r *Run) fetched(sw *Swarm) (float64, error) {
	if r.system != weirSystem { // btfs never stops by itself
		n, err := sw.Wire.Hosts().Uploaded(r.ctx)
		return float64(n), err
	}
	quiet := 1300 * time.Millisecond // libtorrent renews its count once a second
	if sw.own {
		quiet = 300 * time.Millisecond
	}
	n, err := sw.Wire.Hosts().Settled(r.ctx, quiet)
	return float64(n), err
}
