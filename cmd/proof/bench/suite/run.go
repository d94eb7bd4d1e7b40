package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/program"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// Run is one run of one case with one system.
type Run struct {
	*Bench
	Ctx     context.Context
	c       Case
	System  string
	Repeat  int
	Dir     string // for this run alone
	wires   []*testbed.Wire
	process []*program.Process
	// profiler is there with --profile, for the program started last.
	profiler *profiler
}

// close ends what the run has started. The order matters: a program that still
// reads would meet a swarm that is gone.
func (r *Run) close() (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Ctx), 20*time.Second)
	defer cancel()
	if r.profiler != nil {
		err = r.profiler.finish(ctx)
	}
	err = errors.Join(err, r.StopAll())
	for _, w := range r.wires {
		err = errors.Join(err, w.Hosts().Stop(ctx))
	}
	return errors.Join(err, os.RemoveAll(r.Dir))
}

// StopAll ends the run's programs.
func (r *Run) StopAll() (err error) {
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
	Own     bool     // they are our own
	Web     string   // address of its web seed, "" if there is none
}

// Seed starts a swarm on a wire, with a tracker that knows just its seeders.
func (r *Run) Seed(w *testbed.Wire, s testbed.Seeding) (*Swarm, error) {
	c, err := r.content(s.Spec)
	if err != nil {
		return nil, err
	}
	h := swarmtest.Hints{Trackers: [][]string{{w.AnnounceURL()}}}
	sw := &Swarm{Content: c, Spec: s.Spec, Wire: w, Own: s.Own || !r.libtorrent, Torrent: filepath.Join(r.Dir, s.Spec.Name+".torrent")}
	s.Torrent = sw.Torrent + ".peers" // libtorrent's seeders are not told of the web
	if err := os.WriteFile(s.Torrent, c.Torrent(h), 0o644); err != nil {
		return nil, err
	}
	if s.Web != "" {
		sw.Web = w.WebURL(s.Web)
		h.WebSeeds = []string{sw.Web}
	}
	if err := os.WriteFile(sw.Torrent, c.Torrent(h), 0o644); err != nil {
		return nil, err
	}
	sw.Magnet = c.Magnet(h)
	r.wires = append(r.wires, w)
	if sw.Peers, err = w.Start(r.Ctx, s); err != nil {
		return nil, fmt.Errorf("start the swarm: %w", err)
	}
	return sw, nil
}

// MoveWeb puts another web seed into the swarm's .torrent.
func (s *Swarm) MoveWeb(url string) error {
	s.Web = url
	h := swarmtest.Hints{Trackers: [][]string{{s.Wire.AnnounceURL()}}, WebSeeds: []string{url}}
	return os.WriteFile(s.Torrent, s.Content.Torrent(h), 0o644)
}

// Start starts the run's program on a source of the swarm: its .torrent, unless
// another one is named.
func (r *Run) Start(sw *Swarm, source string, args ...string) (*program.Process, error) {
	if source == "" {
		source = sw.Torrent
	}
	return r.StartWith(sw, source, nil, args...)
}

// Open starts the run's program on the swarm's .torrent and opens the first file.
func (r *Run) Open(sw *Swarm) (*program.Process, *os.File, error) {
	p, err := r.Start(sw, "")
	if err != nil {
		return nil, nil, err
	}
	f, err := p.Open(r.Ctx)
	return p, f, err
}

// StartWith starts the run's program on a source, if there is one, and more.
func (r *Run) StartWith(sw *Swarm, source string, more []string, args ...string) (*program.Process, error) {
	o := program.Options{
		Name: r.System, Path: r.Paths[r.System], Source: source, More: more, Args: args,
		Cache: filepath.Join(r.Dir, "cache"), Mount: filepath.Join(r.Dir, "mnt"),
		Torrent: sw.Info().Name, Single: sw.Info().Single,
	}
	if r.System == Weir {
		if sw.Web != "" {
			o.Args = append(o.Args, "--allow-private") // it is in the same network
		}
		flags, err := r.profileArgs()
		if err != nil {
			return nil, err
		}
		o.Args = append(o.Args, flags...)
	}
	p, err := program.Start(r.Ctx, o)
	if err != nil {
		return nil, err
	}
	r.process = append(r.process, p)
	return p, nil
}

// Fetched returns what the seeders of a swarm have sent, once they are quiet.
func (r *Run) Fetched(sw *Swarm) (float64, error) {
	if r.System != Weir { // btfs never stops by itself
		n, err := sw.Wire.Hosts().Uploaded(r.Ctx)
		return float64(n), err
	}
	quiet := 1300 * time.Millisecond // libtorrent renews its count once a second
	if sw.Own {
		quiet = 300 * time.Millisecond
	}
	n, err := sw.Wire.Hosts().Settled(r.Ctx, quiet)
	return float64(n), err
}

// Output runs a program in the run's time.
func (r *Run) Output(name string, args ...string) ([]byte, error) {
	return Output(exec.CommandContext(r.Ctx, name, args...))
}

// Output runs a program; an error says what it had to say.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", cmd.Args[0], err, stderr.Bytes())
	}
	return out, err
}
