package webseed

import "time"

// How many requests are under way for what lies end to end: one, and at its end the
// next. More help where a server bounds the rate of each connection, and do harm
// elsewhere, as what a reader waits for comes more slowly beside what it wants later.
const (
	usualWidth = 1
	triedWidth = MaxRuns
	// fastEnough is the rate of one, in bytes per second, at which more aren't tried.
	fastEnough = 8e6
	// A trial succeeds if what comes is that many times as much as before.
	worthTrying = 1.25
	// What comes is measured over so long after settleTime, if nearly all were under way.
	// A trial in which they never are, as too little is wanted, ends after trialEnd.
	widthTime  = 3 * time.Second
	settleTime = time.Second
	trialEnd   = 8 * time.Second
	// When nothing comes for so long, a sample is worth nothing. nginx bounds a rate
	// by the second.
	idleTime = 1500 * time.Millisecond
	// After a trial that failed there is none for so long, and for longer each time.
	trialPause, longestTrialPause = 30 * time.Second, 10 * time.Minute
)

// width measures whether more requests bring more. It is pure.
type width struct {
	n     int       // that may be under way
	since time.Time // begin of the sample
	last  time.Time // when bytes came
	bytes int64     // of the sample
	busy  int64     // each of these times how many requests were under way
	usual float64   // bytes per second, with the usual width
	begun time.Time // of the trial
	pause backoff
}

func newWidth() width { return width{n: usualWidth} }

// came says that bytes came, while so many requests were under way.
func (w *width) came(now time.Time, bytes int64, busy int) {
	trying := w.n == triedWidth && w.usual > 0
	idle := now.Sub(w.last) > idleTime
	w.last = now
	switch {
	case trying && now.Sub(w.begun) > trialEnd:
		w.end(now, false)
		return
	case idle:
		w.sample(now)
		return
	case now.Sub(w.since) < settleTime:
		return
	}
	w.bytes += bytes
	w.busy += bytes * int64(busy)
	d := now.Sub(w.since) - settleTime
	if d < widthTime {
		return
	}
	rate, full := float64(w.bytes)/d.Seconds(), 4*w.busy >= 3*w.bytes*int64(w.n)
	w.sample(now)
	switch {
	case !full: // it says nothing
	case trying:
		w.end(now, rate >= worthTrying*w.usual)
	case w.n == usualWidth && rate < fastEnough && !now.Before(w.pause.until):
		w.n, w.usual, w.begun = triedWidth, rate, now
	}
}

// sample begins one.
func (w *width) sample(now time.Time) { w.since, w.bytes, w.busy = now, 0, 0 }

// end ends a trial.
func (w *width) end(now time.Time, better bool) {
	w.sample(now)
	w.usual = 0
	if !better {
		w.n = usualWidth
		w.pause.fail(now, trialPause, longestTrialPause, 0)
	}
}
