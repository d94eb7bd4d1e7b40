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

// readTimeout is weir's read deadline: long, so that reads outlast all that a busy
// machine and the shorter faults do to them.
const readTimeout = 90 * time.Second

// hardStop is how much longer than told a run may take.
const hardStop = 8 * time.Minute

// soaking is everything that one soak consists of.
type soaking struct {
	opt       Options
	out       io.Writer
	ledger    *Ledger
	mount     *Mount
	swarm     *Swarm
	librarian *Librarian
	readers   *Readers
	samples   *Samples
	base      Sample // of a weir that has just started
	idle      Sample // of one that nobody uses any more
}

// soak runs it all and returns the exit code.
func soak(ctx context.Context, o Options, out io.Writer) (code int, err error) {
	fmt.Fprintf(out, "soak: %g minutes, seed %d\n", o.Minutes, o.Seed)
	dir, err := os.MkdirTemp(o.Dir, "weir-soak-")
	if err != nil {
		return 1, err
	}
	s := &soaking{opt: o, out: out, ledger: newLedger()}
	// The hard stop: whatever hangs, this ends, and weir with it.
	defer time.AfterFunc(time.Duration(o.Minutes*float64(time.Minute))+hardStop, func() {
		s.ledger.Fail("the run hangs")
		if s.mount != nil {
			_ = syscall.Unmount(s.mount.dir, syscall.MNT_FORCE|syscall.MNT_DETACH)
		}
		s.report()
		_ = pprof.Lookup("goroutine").WriteTo(out, 1)
		os.Exit(1)
	}).Stop()
	err = s.run(ctx, dir)
	if err = errors.Join(err, s.close()); err != nil {
		s.ledger.Fail("the run: %v", err)
	}
	s.report()
	if len(s.ledger.Faults()) == 0 || !o.Keep {
		return s.code(), os.RemoveAll(dir)
	}
	fmt.Fprintf(out, "kept in %s\n", dir)
	return s.code(), nil
}

func (s *soaking) code() int {
	if len(s.ledger.Faults()) > 0 {
		return 1
	}
	return 0
}

// open makes the torrents and starts the seeders and weir.
func (s *soaking) open(ctx context.Context, dir string) error {
	books, err := newLibrary(s.opt.Seed, s.opt.MiB<<20)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if s.swarm, err = newSwarm(books, s.ledger); err != nil {
		return err
	}
	if s.mount, err = newMount(s.opt, s.ledger, dir); err != nil {
		return err
	}
	s.swarm.mount = s.mount
	if err := s.mount.Start(ctx); err != nil {
		return err
	}
	s.samples = &Samples{mount: s.mount}
	s.readers = &Readers{mount: s.mount, ledger: s.ledger, books: books, self: self}
	if s.librarian, err = newLibrarian(s.mount, s.swarm, s.ledger, books, dir); err != nil {
		return err
	}
	if err := s.librarian.Open(ctx); err != nil {
		return err
	}
	s.base, err = s.samples.take()
	return err
}

// run does all at once until the time is over, and then looks at what is left.
func (s *soaking) run(ctx context.Context, dir string) error {
	if err := s.open(ctx, dir); err != nil {
		return err
	}
	length := time.Duration(s.opt.Minutes * float64(time.Minute))
	begin := time.Now()
	timed, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.opt.Seed, n)) }
	d := &Disasters{mount: s.mount, swarm: s.swarm, ledger: s.ledger, random: random(2), long: length > 5*time.Minute, kills: begin.Add(length)}
	if length >= 10*time.Minute { // the last life is long enough to judge its memory
		d.kills = begin.Add(length * 2 / 5)
	}
	keeper := &Keeper{mount: s.mount, ledger: s.ledger, books: s.readers.books}
	var failed error
	all.Go(func() {
		defer cancel() // nothing goes on without weir
		failed = d.Run(timed)
	})
	all.Go(func() { s.librarian.Run(timed, random(3)) })
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
	s.librarian.Close(ctx)
	s.settle(ctx)
	s.mount.End(syscall.SIGTERM)
	return nil
}

// progress says now and then how far it is, and what was found since.
func (s *soaking) progress(ctx context.Context) {
	said := 0
	for pause(ctx, time.Minute) {
		fmt.Fprintf(s.out, "%s %.1f GB compared, %d faults found\n", time.Now().Format("15:04:05"), float64(s.readers.bytes.Load())/1e9, len(s.ledger.Faults()))
		for found := s.ledger.Faults(); said < len(found); said++ {
			fmt.Fprintln(s.out, "  found:", found[said])
		}
	}
}

// settle takes the swarm away and waits until weir has let go of it.
func (s *soaking) settle(ctx context.Context) {
	_ = s.swarm.Close() // closing it again does nothing
	p, _ := s.mount.Process()
	for end := time.Now().Add(patience); ; {
		one, err := s.samples.take()
		if err == nil {
			s.idle = one
			if s.calm() {
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

// calm says whether weir, which nobody uses, has no more goroutines and files than
// at its start, but for those of warm torrents.
func (s *soaking) calm() bool {
	warm := len(s.readers.books)
	return s.idle.Goroutines <= s.base.Goroutines+20*warm+50 && s.idle.Files <= s.base.Files+5*warm+50
}

// close ends what runs.
func (s *soaking) close() error {
	var errs []error
	if s.mount != nil {
		errs = append(errs, s.mount.Close())
	}
	if s.swarm != nil {
		errs = append(errs, s.swarm.Close())
	}
	return errors.Join(errs...)
}

// newMount makes the folders.
func newMount(o Options, l *Ledger, dir string) (*Mount, error) {
	m := &Mount{opt: o, ledger: l, dir: filepath.Join(dir, "mnt"), cache: filepath.Join(dir, "disk", "cache"), lostAt: map[int]func(){}}
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
