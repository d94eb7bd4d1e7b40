package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Disasters are what befalls weir as a whole, one at a time.
type Disasters struct {
	mount  *Mount
	swarm  *Swarm
	ledger *Ledger
	random *rand.Rand
	long   bool      // time between them, and long ones
	kills  time.Time // until when weir is killed and restarted
}

// Run brings all kinds in turns, each time in another order, until the context ends.
func (d *Disasters) Run(ctx context.Context) error {
	kinds := []func(context.Context) error{d.kill, d.stop, d.network, d.restart, d.removeCache}
	if d.mount.opt.FullDisk {
		kinds = append(kinds, d.fill)
	}
	for {
		for _, i := range d.random.Perm(len(kinds)) {
			calm := time.Duration(1500+d.random.IntN(3000)) * time.Millisecond
			if d.long {
				calm *= 8
			}
			if !pause(ctx, calm) {
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
	return d.whileAllowed(func() error { return d.again(ctx, Killed, syscall.SIGKILL, nil) })
}

// restart ends weir as a user does, while it is used.
func (d *Disasters) restart(ctx context.Context) error {
	return d.whileAllowed(func() error { return d.again(ctx, Restarted, syscall.SIGTERM, nil) })
}

// whileAllowed does nothing once weir must live on. A disaster that has begun before
// that is done to its end: a weir whose cache folder was removed needs its new start.
func (d *Disasters) whileAllowed(disaster func() error) error {
	if time.Now().After(d.kills) {
		return nil
	}
	return disaster()
}

// again ends weir and starts it again. Once begun, it is done to the end.
func (d *Disasters) again(ctx context.Context, f Fault, sig syscall.Signal, between func() error) error {
	defer d.ledger.Begin(f, "")()
	d.mount.End(sig)
	if between != nil {
		if err := between(); err != nil {
			return err
		}
	}
	return d.mount.Start(context.WithoutCancel(ctx))
}

// stop stops weir for some seconds.
func (d *Disasters) stop(ctx context.Context) error {
	defer d.ledger.Begin(Stopped, "")()
	p, _ := d.mount.Process()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil // it has ended by itself, which was noted
	}
	pause(ctx, time.Duration(500+d.random.IntN(4500))*time.Millisecond)
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// network takes all seeders away, in long runs for longer than readers wait.
func (d *Disasters) network(ctx context.Context) error {
	t := time.Duration(500+d.random.IntN(5000)) * time.Millisecond
	if d.long && d.random.IntN(3) == 0 {
		t = readTimeout + 10*time.Second
	}
	d.swarm.Gone(ctx, t)
	return nil
}

// removeCache removes the cache folder beneath weir, lets it be used without one
// for a while, ends it and starts it with a new one.
func (d *Disasters) removeCache(ctx context.Context) error {
	return d.whileAllowed(func() error { return d.withoutCache(ctx) })
}

func (d *Disasters) withoutCache(ctx context.Context) error {
	end := d.ledger.Begin(CacheGone, "")
	defer end()
	d.mount.forget()
	// All at once: a folder that goes piece by piece may go just while files are made in it.
	aside := filepath.Join(filepath.Dir(d.mount.cache), "aside")
	if err := os.Rename(d.mount.cache, aside); err != nil {
		return err
	}
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	pause(ctx, time.Duration(1000+d.random.IntN(4000))*time.Millisecond)
	return d.again(ctx, Restarted, syscall.SIGTERM, func() error { return os.RemoveAll(d.mount.cache) })
}

// fill fills the cache's disk for a while.
func (d *Disasters) fill(ctx context.Context) error {
	defer d.ledger.Begin(DiskFull, "")()
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
