package webseed

import (
	"testing"
	"time"
)

// widths lets bytes come for a while at the rate that a server gives so many requests,
// and returns for how long each width was in use.
func widths(w *width, d time.Duration, rate func(n int) float64, busy func(n int) int) map[int]time.Duration {
	const step = 10 * time.Millisecond
	used, now := map[int]time.Duration{}, time.Unix(1e9, 0)
	for at := time.Duration(0); at < d; at += step {
		n := busy(w.n)
		used[w.n] += step
		w.came(now.Add(at), int64(rate(n)*step.Seconds()), n)
	}
	return used
}

func all(n int) int { return n }

func TestWidth(t *testing.T) {
	const long = 5 * time.Minute
	t.Run("EachConnectionIsBounded", func(t *testing.T) {
		w := newWidth()
		if used := widths(&w, long, func(n int) float64 { return float64(n) * 1e6 }, all); used[usualWidth] > 5*time.Second || w.n != triedWidth {
			t.Errorf("used %v", used)
		}
	})
	t.Run("TheLineIs", func(t *testing.T) {
		w := newWidth()
		if used := widths(&w, long, func(int) float64 { return 7e6 }, all); used[triedWidth] > long/15 || used[triedWidth] == 0 || w.n != usualWidth {
			t.Errorf("used %v", used)
		}
	})
	t.Run("ManyAreWorse", func(t *testing.T) {
		w := newWidth()
		if used := widths(&w, long, func(n int) float64 { return 7e6 / float64(n) }, all); used[triedWidth] > long/15 || w.n != usualWidth {
			t.Errorf("used %v", used)
		}
	})
	t.Run("OneIsFast", func(t *testing.T) {
		w := newWidth()
		if used := widths(&w, long, func(n int) float64 { return float64(n) * 11e6 }, all); used[triedWidth] > 0 {
			t.Errorf("used %v", used)
		}
	})
	t.Run("LittleIsWanted", func(t *testing.T) {
		w := newWidth()
		if used := widths(&w, long, func(n int) float64 { return float64(n) * 1e6 }, func(n int) int { return min(n, 2) }); used[triedWidth] > long/5 {
			t.Errorf("used %v", used)
		}
	})
}
