package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Disasters are faults that hit weir as a whole, one at a time.
type Disasters struct {
	mount     *Mount
	swarm     *Swarm
	faults    *FaultLog
	random    *rand.Rand
	longRun   bool      // there is time between them, and they last longer
	killUntil time.Time // until when weir is killed and restarted
}

// Run causes one after another, all kinds in each round, in random order, until ctx ends.
func (d *Disasters) Run(ctx context.Context) error {
	kinds := []func(context.Context) error{d.kill, d.stop, d.network, d.restart, d.removeCache}
	if d.mount.opt.FullDisk {
		kinds = append(kinds, d.fill)
	}
	for {
		for _, i := range d.random.Perm(len(kinds)) {
			quiet := time.Duration(1500+d.random.IntN(3000)) * time.Millisecond
			if d.longRun {
				quiet *= 8
			}
			if !pause(ctx, quiet) {
				return nil
			}
			if err := kinds[i](ctx); err != nil {
				return err
			}
		}
	}
}

// kill kills weir and starts it again with the same cache.
func (d *Disasters) kill(ctx context.Context) error {
	return d.whileKillsAllowed(func() error { return d.restartWith(ctx, Killed, syscall.SIGKILL, nil) })
}

// restart ends weir as a user does, and starts it again, while it is used.
func (d *Disasters) restart(ctx context.Context) error {
	return d.whileKillsAllowed(func() error { return d.restartWith(ctx, Restarted, syscall.SIGTERM, nil) })
}

// whileKillsAllowed does nothing after killUntil. A disaster that began before that is
// completed: a weir whose cache folder was removed must be restarted.
func (d *Disasters) whileKillsAllowed(disaster func() error) error {
	if time.Now().After(d.killUntil) {
		return nil
	}
	return disaster()
}

// restartWith ends weir with a signal, calls between, and starts weir again, even if ctx
// ends meanwhile.
func (d *Disasters) restartWith(ctx context.Context, f Fault, sig syscall.Signal, between func() error) error {
	defer d.faults.Begin(f, "")()
	d.mount.End(sig)
	if between != nil {
		if err := between(); err != nil {
			return err
		}
	}
	return d.mount.Start(context.WithoutCancel(ctx))
}

// stop suspends weir for some seconds.
func (d *Disasters) stop(ctx context.Context) error {
	defer d.faults.Begin(Stopped, "")()
	p, _ := d.mount.Process()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil // it has ended by itself: a failure is recorded
	}
	pause(ctx, time.Duration(500+d.random.IntN(4500))*time.Millisecond)
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// network stops all seeders, in long runs for longer than readers wait.
func (d *Disasters) network(ctx context.Context) error {
	t := time.Duration(500+d.random.IntN(5000)) * time.Millisecond
	if d.longRun && d.random.IntN(3) == 0 {
		t = readTimeout + 10*time.Second
	}
	d.swarm.Gone(ctx, t)
	return nil
}

// removeCache removes the cache folder of the running weir, which is used without one for
// a while and then restarted with a new one.
func (d *Disasters) removeCache(ctx context.Context) error {
	return d.whileKillsAllowed(func() error { return d.withoutCache(ctx) })
}

func (d *Disasters) withoutCache(ctx context.Context) error {
	end := d.faults.Begin(CacheGone, "")
	defer end()
	d.mount.forget()
	// In one step: removing file by file may race with files that are being made.
	aside := filepath.Join(filepath.Dir(d.mount.cache), "aside")
	if err := os.Rename(d.mount.cache, aside); err != nil {
		return err
	}
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	pause(ctx, time.Duration(1000+d.random.IntN(4000))*time.Millisecond)
	return d.restartWith(ctx, Restarted, syscall.SIGTERM, func() error { return os.RemoveAll(d.mount.cache) })
}

// fill keeps the cache's disk full for a while.
func (d *Disasters) fill(ctx context.Context) error {
	defer d.faults.Begin(DiskFull, "")()
	name := filepath.Join(filepath.Dir(d.mount.cache), "filler")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer f.Close()
	for b := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(b) // until the disk is full
	}
	pause(ctx, time.Duration(1000+d.random.IntN(4000))*time.Millisecond)
	return nil
}
