package throttle_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir/engine/internal/throttle"
)

// sender is a connection that always has a next message to send.
type sender struct {
	turn   throttle.Queued
	size   int       // of the next message
	at     time.Time // when it asks again
	passed int64
}

// TestPromises: connections with messages of any size, at any rate. Together they
// pass what the rate allows and no more in any stretch of time, each passes the same,
// and who is told how long to wait is ready then and not before.
func TestPromises(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		rate := int64(1000 << r.IntN(14))
		l := throttle.New(rate)
		begin := time.Unix(1000, 0)
		all := make([]*sender, 1+r.IntN(8))
		next := func() int { return 1 + r.IntN([]int{17, 4 << 10, block, 9 * block}[r.IntN(4)]) }
		for i := range all {
			all[i] = &sender{at: begin, size: next()}
		}
		d := time.Duration(300*block*len(all)) * time.Second / time.Duration(rate)
		var total int64
		for now := begin; now.Before(begin.Add(d)); {
			s := all[0] // who asks next
			for _, other := range all {
				if other.at.Before(s.at) {
					s = other
				}
			}
			now = s.at
			wait, change, ok := s.turn.Ready(l, now, s.size)
			if !ok {
				if wait <= 0 || change == nil {
					t.Fatalf("seed %d: not ready, and to wait %v", seed, wait)
				}
				if again, _, ok := s.turn.Ready(l, now.Add(wait-1), s.size); ok || again != 1 {
					t.Fatalf("seed %d: to wait %v, and a nanosecond before that: %v, %v", seed, wait, again, ok)
				}
				s.at = now.Add(wait)
				continue
			}
			if wait != 0 {
				t.Fatalf("seed %d: ready, and to wait %v", seed, wait)
			}
			s.turn.Used(s.size)
			s.passed += int64(s.size)
			total += int64(s.size)
			s.size = next()
			// A tenth of a second after a pause, and one message for each connection.
			if most := float64(rate) * (now.Sub(begin).Seconds() + 0.1); float64(total) > most+float64(len(all)*block) {
				t.Fatalf("seed %d: %d bytes of %.0f within %v", seed, total, most, now.Sub(begin))
			}
		}
		if least := 0.9 * float64(rate) * d.Seconds(); float64(total) < least {
			t.Errorf("seed %d: %d connections passed %d bytes of %.0f", seed, len(all), total, least)
		}
		for i, s := range all {
			// The same turns, not the same bytes: the last turn of a message may be a short one.
			if share := float64(s.passed) / float64(all[0].passed); share > 1.5 || share < 0.66 {
				t.Errorf("seed %d: connection %d passed %d bytes, the first %d", seed, i, s.passed, all[0].passed)
			}
		}
	}
}

// TestStep: who has long messages reserves one block at a time.
func TestStep(t *testing.T) {
	now := time.Unix(1000, 0)
	l := throttle.New(block) // a block a second
	var a throttle.Queued
	a.Ready(l, now, 8*block)
	if d := l.Backlog(now); d != 1900*time.Millisecond {
		t.Errorf("a message of eight blocks holds the others up for %v", d)
	}
}

func TestBurst(t *testing.T) {
	now := time.Unix(1000, 0)
	l := throttle.New(100 * block)
	for i := range 30 {
		at, _ := l.Reserve(now, block)
		if passes := !at.After(now); passes != (i <= 10) {
			t.Errorf("block %d of a hundred a second after a long pause: %v", i, passes)
		}
	}
	// A short pause makes up for what it was, not for a tenth of a second.
	at, _ := l.Reserve(now.Add(200*time.Millisecond), block)
	if d := at.Sub(now.Add(200 * time.Millisecond)); d != 0 {
		t.Errorf("a place %v from now", d)
	}
	if d := l.Backlog(now.Add(200 * time.Millisecond)); d != 10*time.Millisecond {
		t.Errorf("a backlog of %v", d)
	}
}

func TestRateOfOne(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, rate := range []int64{1, -1, -1 << 40} {
		l := throttle.New(rate)
		l.Reserve(now, 10)
		if d := l.Backlog(now); (rate > 0) != (d == 9900*time.Millisecond) || rate < 0 && (d != 0 || l.Rate() != 0) {
			t.Errorf("a rate of %d: ten bytes hold the next up for %v", rate, d)
		}
	}
}

// TestChangeFrees: a change of the rate lets go those who wait, as paid by waiting,
// to any other rate.
func TestChangeFrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(1)
		l.Wait(t.Context(), nil, block)
		begin := time.Now()
		done := make(chan time.Duration, 1)
		go func() {
			l.Wait(t.Context(), nil, block)
			done <- time.Since(begin)
		}()
		synctest.Wait()
		_, change := l.Reserve(begin, block)
		l.SetRate(2)
		if waited := <-done; waited != 0 {
			t.Errorf("waited %v after the change", waited)
		}
		select {
		case <-change:
		default:
			t.Error("who has a place is not told that it is void")
		}
		if d := l.Backlog(begin); d != 0 {
			t.Errorf("the debt of the old rate is %v", d)
		}
		if l.Total() != 2*block {
			t.Errorf("counted %d bytes", l.Total())
		}
	})
}

// TestWaitEndsAlone: who gives up does so at once, and those who go on waiting wait.
func TestWaitEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(block)
		l.Wait(t.Context(), nil, block)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		begin := time.Now()
		ended := make(chan time.Duration, 2)
		go func() { l.Wait(ctx, nil, block); ended <- time.Since(begin) }()
		go func() { l.Wait(t.Context(), gone, block); ended <- time.Since(begin) }()
		synctest.Wait()
		time.Sleep(100 * time.Millisecond) // of the bubble
		cancel()
		close(gone)
		for range 2 {
			if d := <-ended; d != 100*time.Millisecond {
				t.Errorf("gave up after %v", d)
			}
		}
		l.Wait(t.Context(), nil, block) // behind the two places that were given up
		if d := time.Since(begin); d != 2900*time.Millisecond {
			t.Errorf("the next passed after %v", d)
		}
	})
}

// TestCredit: what is ready and was not used stays ready, and is not paid twice.
func TestCredit(t *testing.T) {
	now := time.Unix(1000, 0)
	l := throttle.New(100 * block)
	var a throttle.Queued
	if _, _, ok := a.Ready(l, now, 8*block); !ok {
		t.Fatal("eight blocks have to wait after a pause")
	}
	l.Reserve(now, 100*block) // nobody who comes now is ready
	a.Used(block)
	if _, _, ok := a.Ready(l, now, 7*block); !ok {
		t.Error("what was not used is gone")
	}
	a.Used(6*block + block/2)
	before := l.Backlog(now)
	if _, _, ok := a.Ready(l, now, block); ok {
		t.Error("ready for more than was left")
	}
	if more := l.Backlog(now) - before; more != 5*time.Millisecond {
		t.Errorf("half a block that was missing took a place of %v", more)
	}
	// Bytes that passed without a limit are no debt when there is one again.
	l.SetRate(0)
	var b throttle.Queued
	b.Ready(l, now, 100*block)
	b.Used(100 * block)
	l.SetRate(1)
	if _, _, ok := b.Ready(l, now, 1); !ok {
		t.Error("a byte has to wait for those that passed without a limit")
	}
	b.Used(1)
	if wait, _, ok := b.Ready(l, now, 1); ok || wait != 900*time.Millisecond {
		t.Errorf("the second byte at one a second waits %v, %v", wait, ok)
	}
	// A place of the old rate is void.
	l.SetRate(100 * block)
	if wait, _, ok := b.Ready(l, now, 1); !ok {
		t.Errorf("to wait %v as if the rate were the old one", wait)
	}
}
