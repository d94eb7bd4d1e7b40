package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// killBound is how long a killed reader may take to end, not counting the time in which weir
// is suspended. It is below the deadline of reads, which would end it anyway.
const killBound = readTimeout / 2

// Readers runs reading programs, and kills some of them.
type Readers struct {
	mount    *Mount
	faults   *FaultLog
	torrents []*Torrent
	self     string // this program

	bytes    atomic.Int64 // compared
	programs atomic.Int64
	longest  atomic.Int64 // nanoseconds that a killed one took to end
}

// Run runs one program after another until ctx ends.
func (r *Readers) Run(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		b := r.torrents[random.IntN(len(r.torrents))]
		j := Job{
			Way: ways[random.IntN(len(ways))], Mount: r.mount.dir, Files: b.Files, Seed: random.Uint64(),
			Threads: 1 + random.IntN(3), For: time.Duration(1000+random.IntN(7000)) * time.Millisecond,
		}
		var kill time.Duration
		sig := syscall.SIGKILL
		if random.IntN(4) == 0 {
			kill = time.Duration(random.Int64N(int64(j.For)))
			if random.IntN(2) == 0 {
				sig = syscall.SIGINT
			}
		}
		if err := r.program(ctx, b, j, kill, sig); err != nil {
			r.faults.Fail("reader: %v", err)
			return
		}
	}
}

// program runs one program, and kills it after kill if that isn't 0.
func (r *Readers) program(ctx context.Context, b *Torrent, j Job, kill time.Duration, sig syscall.Signal) error {
	job, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.Command(r.self, "read", string(job))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	r.programs.Add(1)
	var last Progress
	ended := make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var p Progress
			if json.Unmarshal(lines.Bytes(), &p) == nil { // a killed program's last line may be cut
				last = p
			}
		}
		ended <- cmd.Wait()
	}()
	var killAt <-chan time.Time
	if kill > 0 {
		killAt = time.After(kill)
	}
	killed := false
	select {
	case err = <-ended:
	case <-killAt:
		killed = true
		r.faults.Count(Signalled)
		err = r.end(cmd, sig, ended)
	case <-ctx.Done():
		killed = true
		err = r.end(cmd, syscall.SIGKILL, ended)
	}
	r.bytes.Add(last.Bytes)
	switch {
	case last.Wrong != "":
		r.faults.Fail("WRONG BYTES: %s", last.Wrong)
	case last.Errno != "":
		if !r.faults.Explained(last.Errno, b.Name, begin, time.Now()) {
			r.faults.Fail("a program saw %s, which no fault excuses, %v after it began: %s", last.Errno, time.Since(begin).Round(time.Second), last.Where)
		}
		pause(ctx, 300*time.Millisecond) // until a missing torrent is added again
	case !killed && err != nil:
		return fmt.Errorf("%s: %w", j.Way, err)
	}
	return nil
}

// end signals a reader, which must end soon.
func (r *Readers) end(cmd *exec.Cmd, sig syscall.Signal, ended <-chan error) error {
	_ = cmd.Process.Signal(sig) // it may have ended
	const step = 100 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	told := false
	for waited := time.Duration(0); ; {
		select {
		case err := <-ended:
			for {
				was := r.longest.Load()
				if int64(waited) <= was || r.longest.CompareAndSwap(was, int64(waited)) {
					return err
				}
			}
		case <-tick.C:
			if !r.faults.InForce(time.Second, Stopped) {
				waited += step
			}
			if waited > killBound && !told {
				told = true
				r.faults.Fail("UNKILLABLE: a reader lives %v after %v", waited, sig)
				_ = cmd.Process.Kill()
			}
		}
	}
}

// start runs n readers until the context ends.
func (r *Readers) start(ctx context.Context, n int, seed uint64, all *sync.WaitGroup) {
	for i := range n {
		all.Go(func() { r.Run(ctx, rand.New(rand.NewPCG(seed, 100+uint64(i)))) })
	}
}
