package reader_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// asked returns how long after a moment the swarm was asked for something last.
func (k *simKernel) askedAfter(at time.Time) time.Duration {
	k.swarm.mu.Lock()
	defer k.swarm.mu.Unlock()
	return k.swarm.asked.Sub(at)
}

// TestStop checks that nothing is requested 100 ms after a reader has stopped, whatever it
// leaves open, and that it resumes with the window that it had.
func TestStop(t *testing.T) {
	const rtt = 50 * time.Millisecond
	t.Run("StillOpen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newSimKernel(t, oneFile(400*mib, mib), 20e6, rtt)
			f := k.open(0)
			sequential(f, 0, 100*mib, 128*kib)
			f.flown.Wait() // what the kernel still reads ahead by itself
			stopped := time.Now()
			time.Sleep(10 * time.Second)
			if d := k.askedAfter(stopped); d > 100*time.Millisecond {
				t.Errorf("asked for blocks %v after the reader stopped", d)
			}
			if n := k.budget.Used(); n != 0 {
				t.Errorf("%d bytes of the budget are still in use", n)
			}
			before := k.swarm.fetched
			f.read(100*mib, 64*kib)
			f.read(102*mib, 256*kib)
			f.flown.Wait()
			if k.budget.Used() < 16*mib {
				t.Errorf("a window of %d bytes when the reader went on, and the swarm had brought %d more by then", k.budget.Used(), k.swarm.fetched-before)
			}
			f.close()
			if n := k.budget.Used(); n != 0 {
				t.Errorf("%d bytes in use after close", n)
			}
		})
	})
	t.Run("Closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newSimKernel(t, oneFile(400*mib, mib), 20e6, rtt)
			f := k.open(0)
			sequential(f, 0, 100*mib, 128*kib)
			f.close()
			stopped := time.Now()
			time.Sleep(10 * time.Second)
			if d := k.askedAfter(stopped); d > 0 {
				t.Errorf("asked for blocks %v after the file was closed", d)
			}
		})
	})
	t.Run("BetweenFiles", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newSimKernel(t, manyFiles(4000, 64*kib, mib), 20e6, rtt)
			next := func(from, to int) {
				for i := from; i < to; i++ {
					f := k.open(i)
					sequential(f, 0, f.size, 32*kib)
					f.close()
				}
			}
			next(0, 2000)
			if k.budget.Used() == 0 {
				t.Error("the window did not outlive the file")
			}
			stopped := time.Now()
			time.Sleep(5 * time.Second)
			if d := k.askedAfter(stopped); d > 100*time.Millisecond {
				t.Errorf("asked for blocks %v after the last file was closed", d)
			}
			if n := k.budget.Used(); n != 0 {
				t.Errorf("%d bytes of the budget are still in use", n)
			}
			next(2000, 2001)
			if k.budget.Used() < 16*mib {
				t.Errorf("a window of %d bytes when the next file was read", k.budget.Used())
			}
			time.Sleep(time.Minute) // all is forgotten
			before := k.askedAfter(stopped)
			next(3000, 3001)
			next(3001, 3002)
			time.Sleep(time.Second)
			if k.budget.Used() != 0 {
				t.Errorf("%d bytes in use after two files", k.budget.Used())
			}
			if k.askedAfter(stopped) == before {
				t.Error("nothing was asked for")
			}
		})
	})
	t.Run("ReadsInBursts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			// Half a second's worth each half second: the pauses are the reader's way.
			k := newSimKernel(t, oneFile(400*mib, mib), 20e6, rtt)
			f := k.open(0)
			var late time.Duration
			for i := range int64(60) {
				began := time.Now()
				sequential(f, i*2*mib, (i+1)*2*mib, 128*kib)
				if d := time.Since(began); i >= 8 {
					late = max(late, d)
				}
				time.Sleep(500 * time.Millisecond)
			}
			if late > 60*time.Millisecond {
				t.Errorf("a burst took %v", late)
			}
			f.close()
		})
	})
}

// TestSeek checks that a seek withdraws the old window at once, and a short skip does not.
func TestSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newSimKernel(t, oneFile(800*mib, mib), 20e6, 50*time.Millisecond)
		f := k.open(0)
		sequential(f, 0, 60*mib, 128*kib)
		f.flown.Wait()
		before := k.budget.Used()
		f.read(63*mib, 128*kib)
		f.read(62*mib, 128*kib)
		f.flown.Wait()
		if now := k.budget.Used(); now < before/2 {
			t.Errorf("skips of 3 and 1 MiB left %d of a window of %d bytes", now, before)
		}
		f.read(500*mib, 4*kib)
		if now := k.budget.Used(); now != 0 {
			t.Errorf("a seek left %d bytes of the window", now)
		}
		f.flown.Wait()
		f.close()
	})
}
