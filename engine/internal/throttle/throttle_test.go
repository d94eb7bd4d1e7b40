package throttle_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir/engine/internal/throttle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const block = 16 << 10

// TestRate: connections that ask at once get the rate together, and the same each.
func TestRate(t *testing.T) {
	for name, rate := range map[string]int64{"1kB": 1000, "100kB": 100e3, "1MiB": 1 << 20, "1GB": 1e9} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := throttle.New(rate)
				d := max(5*time.Second, time.Duration(80*block)*time.Second/time.Duration(rate))
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				var blocks [4]int
				var wg sync.WaitGroup
				for i := range blocks {
					wg.Go(func() {
						for ctx.Err() == nil {
							blocks[i]++
							l.Wait(ctx, nil, block)
						}
					})
				}
				wg.Wait()
				total := 0
				for i, n := range blocks {
					total += n
					// The burst goes to whoever comes first.
					if slack := 2 + int(rate/10/block); n < blocks[0]-slack || n > blocks[0]+slack {
						t.Errorf("connection %d passed %d blocks, the first %d", i, n, blocks[0])
					}
				}
				if int64(total)*block != l.Total() {
					t.Errorf("counted %d bytes of %d", l.Total(), total*block)
				}
				if got := float64(total*block) / d.Seconds(); got < 0.9*float64(rate) || got > 1.1*float64(rate) {
					t.Errorf("%.0f bytes per second, want %d", got, rate)
				}
			})
		})
	}
}

func TestRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(1)
		l.Wait(t.Context(), nil, block) // hours of debt
		begin, done := time.Now(), make(chan time.Duration, 1)
		go func() {
			l.Wait(t.Context(), nil, block)
			done <- time.Since(begin)
		}()
		time.Sleep(time.Second) // of the bubble: the waiter waits by then
		l.SetRate(0)
		if waited := <-done; waited != time.Second {
			t.Errorf("waited %v after the limit went", waited)
		}
		l.SetRate(block)
		for range 3 {
			l.Wait(t.Context(), nil, block)
		}
		if took := time.Since(begin) - time.Second; took < 1800*time.Millisecond || took > 2*time.Second {
			t.Errorf("three blocks at a block a second took %v", took)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(1)
		l.Wait(t.Context(), nil, block)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l.Wait(ctx, nil, block)
		gone := make(chan struct{})
		close(gone)
		l.Wait(t.Context(), gone, block)
	})
}

func TestTurn(t *testing.T) {
	now := time.Unix(1000, 0)
	l := throttle.New(block)
	var a, b throttle.Queued
	if _, _, ok := a.Ready(l, now, block); !ok {
		t.Fatal("the first block has to wait")
	}
	if _, _, ok := a.Ready(l, now, block); !ok {
		t.Error("a place that was not used is gone")
	}
	wait, _, ok := b.Ready(l, now, block)
	if ok || wait <= 0 || wait > time.Second {
		t.Fatalf("the second block is to wait %v, %v", wait, ok)
	}
	a.Used(block)
	if behind, _, ok := a.Ready(l, now, block); ok || behind != wait+time.Second {
		t.Errorf("the first connection is to wait %v behind the second, which waits %v", behind, wait)
	}
	if _, _, ok := b.Ready(l, now.Add(wait), block); !ok {
		t.Error("not ready when its time has come")
	}
	if l.SetRate(4 * block); l.Rate() != 4*block {
		t.Error("the rate is not what was set")
	}
	if _, _, ok := a.Ready(l, now.Add(time.Minute), block); !ok {
		t.Error("a place of the old rate holds a connection back")
	}
	a.Used(block)
	long, short := 0, 0 // what a connection of long messages passes beside one of short ones
	for i := range 2000 {
		at := now.Add(time.Minute + time.Duration(i)*10*time.Millisecond)
		if _, _, ok := a.Ready(l, at, 8*block); ok {
			a.Used(8 * block)
			long += 8
		}
		if _, _, ok := b.Ready(l, at, block); ok {
			b.Used(block)
			short++
		}
	}
	if long < short-10 || long > short+10 || short < 36 || short > 44 {
		t.Errorf("%d blocks in long messages, %d in short ones, want 40 each", long, short)
	}
	l.SetRate(0)
	if _, _, ok := b.Ready(l, now, 1<<30); !ok {
		t.Error("no limit, and yet to wait")
	}
}

func TestBacklog(t *testing.T) {
	now := time.Unix(1000, 0)
	l := throttle.New(block)
	if d := l.Backlog(now); d != 0 {
		t.Errorf("backlog of %v at the beginning", d)
	}
	for range 3 {
		l.Reserve(now, block)
	}
	if d := l.Backlog(now.Add(time.Second)); d < 1800*time.Millisecond || d > 2*time.Second {
		t.Errorf("backlog of %v after one of three seconds", d)
	}
	if l.SetRate(0); l.Backlog(now) != 0 {
		t.Error("a backlog without a limit")
	}
}
