package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

// readTimeout is weir's read deadline. It is long, so that reads survive a busy machine and
// the shorter faults.
const readTimeout = 90 * time.Second

// hardStop is how long a run may take beyond --minutes.
const hardStop = 8 * time.Minute

// soak is one run with all that takes part.
type soak struct {
	opt     Options
	out     io.Writer
	faults  *FaultLog
	mount   *Mount
	swarm   *Swarm
	churn   *TorrentChurn
	readers *Readers
	samples *Samples
	base    Sample // just after weir's first start
	idle    Sample // after everything else has ended
}

// runSoak runs everything and returns the exit code.
func runSoak(ctx context.Context, o Options, out io.Writer) (code int, err error) {
	fmt.Fprintf(out, "soak: %g minutes, seed %d\n", o.Minutes, o.Seed)
	dir, err := os.MkdirTemp(o.Dir, "weir-soak-")
	if err != nil {
		return 1, err
	}
	s := &soak{opt: o, out: out, faults: newFaultLog()}
	// Whatever hangs, the process ends here, and weir with it.
	defer time.AfterFunc(time.Duration(o.Minutes*float64(time.Minute))+hardStop, func() {
		s.faults.Fail("the run has not ended in time")
		if s.mount != nil {
			_ = syscall.Unmount(s.mount.dir, syscall.MNT_FORCE|syscall.MNT_DETACH)
		}
		s.report()
		_ = pprof.Lookup("goroutine").WriteTo(out, 1)
		os.Exit(1)
	}).Stop()
	err = s.run(ctx, dir)
	if err = errors.Join(err, s.close()); err != nil {
		s.faults.Fail("the run: %v", err)
	}
	s.report()
	if len(s.faults.Failures()) == 0 || !o.Keep {
		return s.code(), os.RemoveAll(dir)
	}
	fmt.Fprintf(out, "kept in %s\n", dir)
	return s.code(), nil
}

func (s *soak) code() int {
	if len(s.faults.Failures()) > 0 {
		return 1
	}
	return 0
}

// open makes the torrents and starts the seeders and weir.
func (s *soak) open(ctx context.Context, dir string) error {
	torrents, err := newTorrents(s.opt.Seed, s.opt.MiB<<20)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if s.swarm, err = newSwarm(torrents, s.faults); err != nil {
		return err
	}
	if s.mount, err = newMount(s.opt, s.faults, dir); err != nil {
		return err
	}
	s.swarm.mount = s.mount
	if err := s.mount.Start(ctx); err != nil {
		return err
	}
	s.samples = &Samples{mount: s.mount}
	s.readers = &Readers{mount: s.mount, faults: s.faults, torrents: torrents, self: self}
	if s.churn, err = newTorrentChurn(s.mount, s.swarm, s.faults, torrents, dir); err != nil {
		return err
	}
	if err := s.churn.Open(ctx); err != nil {
		return err
	}
	s.base, err = s.samples.take()
	return err
}

// run does everything at the same time until the time is over, and then waits until weir
// is at rest.
func (s *soak) run(ctx context.Context, dir string) error {
	if err := s.open(ctx, dir); err != nil {
		return err
	}
	length := time.Duration(s.opt.Minutes * float64(time.Minute))
	begin := time.Now()
	timed, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.opt.Seed, n)) }
	d := &Disasters{mount: s.mount, swarm: s.swarm, faults: s.faults, random: random(2), longRun: length > 5*time.Minute, killUntil: begin.Add(length)}
	if length >= 10*time.Minute { // the last start must be long enough ago to judge memory
		d.killUntil = begin.Add(length * 2 / 5)
	}
	keeper := &Pinner{mount: s.mount, faults: s.faults, torrents: s.readers.torrents}
	var failed error
	all.Go(func() {
		defer cancel() // if weir can't be restarted, all end
		failed = d.Run(timed)
	})
	all.Go(func() { s.churn.Run(timed, random(3)) })
	all.Go(func() { keeper.Run(timed, random(4)) })
	all.Go(func() { s.swarm.Churn(timed, random(5)) })
	all.Go(func() { s.swarm.Corrupt(timed, random(6)) })
	all.Go(func() { s.swarm.Attack(timed, random(7)) })
	all.Go(func() { s.samples.Run(timed) })
	s.readers.start(timed, s.opt.Readers, s.opt.Seed, &all)
	all.Go(func() { s.progress(timed) })
	all.Wait()
	if failed != nil || ctx.Err() != nil {
		return errors.Join(failed, context.Cause(ctx))
	}
	s.churn.Close(ctx)
	s.settle(ctx)
	s.mount.End(syscall.SIGTERM)
	return nil
}

// progress prints each minute how much was compared, and new failures.
func (s *soak) progress(ctx context.Context) {
	printed := 0
	for pause(ctx, time.Minute) {
		fmt.Fprintf(s.out, "%s %.1f GB compared, %d failures\n", time.Now().Format("15:04:05"), float64(s.readers.bytes.Load())/1e9, len(s.faults.Failures()))
		for found := s.faults.Failures(); printed < len(found); printed++ {
			fmt.Fprintln(s.out, "  failure:", found[printed])
		}
	}
}

// settle closes the swarm and waits until weir is at rest.
func (s *soak) settle(ctx context.Context) {
	_ = s.swarm.Close() // closing it again does nothing
	p, _ := s.mount.Process()
	for end := time.Now().Add(commandTimeout); ; {
		one, err := s.samples.take()
		if err == nil {
			s.idle = one
			if s.atRest() {
				return
			}
		}
		select {
		case <-p.ended:
			return
		default:
		}
		if time.Now().After(end) || !pause(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// atRest reports whether weir has no more goroutines and files than after its start, but
// for those of warm torrents.
func (s *soak) atRest() bool {
	warm := len(s.readers.torrents)
	return s.idle.Goroutines <= s.base.Goroutines+20*warm+50 && s.idle.Files <= s.base.Files+5*warm+50
}

// close unmounts and closes the swarm.
func (s *soak) close() error {
	var errs []error
	if s.mount != nil {
		errs = append(errs, s.mount.Close())
	}
	if s.swarm != nil {
		errs = append(errs, s.swarm.Close())
	}
	return errors.Join(errs...)
}

// newMount makes the folders and the log.
func newMount(o Options, l *FaultLog, dir string) (*Mount, error) {
	m := &Mount{opt: o, faults: l, dir: filepath.Join(dir, "mnt"), cache: filepath.Join(dir, "disk", "cache"), lostAt: map[int]func(){}}
	for _, d := range []string{m.dir, filepath.Dir(m.cache)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	m.flags = []string{
		"--cache", m.cache, fmt.Sprintf("--cache-size=%dMiB", o.Cache), "--min-free=0", "--read-timeout", readTimeout.String(),
		"--dht=false", "--nonempty", "--metrics", "127.0.0.1:0",
	}
	if o.FullDisk {
		const fullDiskReserve = 160 // MiB; badger is opened with 128 free
		m.disk = filepath.Dir(m.cache)
		if err := syscall.Mount("tmpfs", m.disk, "tmpfs", 0, fmt.Sprintf("size=%dm", o.Cache*5/4+fullDiskReserve)); err != nil {
			return nil, fmt.Errorf("mount tmpfs: %w", err)
		}
	}
	var err error
	m.log, err = os.Create(filepath.Join(dir, "log"))
	return m, err
}
