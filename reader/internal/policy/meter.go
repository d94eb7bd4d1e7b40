package policy

import "time"

// meter measures what a reader takes: how fast, and how long it pauses between
// two reads.
type meter struct {
	rate float64       // bytes per second; 0 until measured
	gap  time.Duration // the longest recent pause
	last time.Time     // of the latest read

	mark  time.Time // begin of the running sample
	taken int64     // since mark
}

const (
	// sampleTime is how long the rate is averaged.
	sampleTime = 250 * time.Millisecond
	// idleTime is a pause that says nothing about the rate.
	idleTime = time.Second
)

// read says that n bytes were asked for.
func (m *meter) read(now time.Time, n int64) {
	pause := now.Sub(m.last)
	if m.last.IsZero() || pause > idleTime {
		m.mark, m.taken = now, 0
	}
	if !m.last.IsZero() {
		m.gap = NextGap(m.gap, pause)
	}
	m.last = now
	m.taken += n
	d := now.Sub(m.mark)
	if d < sampleTime {
		return
	}
	// Up at once, so that the window grows with the swarm, down gradually.
	if sample := float64(m.taken) / d.Seconds(); sample > m.rate {
		m.rate = sample
	} else {
		m.rate += (sample - m.rate) / 4
	}
	m.mark, m.taken = now, 0
}

const (
	graceLeast = 30 * time.Millisecond
	graceMost  = 2 * time.Second
)

// NextGap returns the longest recent pause after one more; long ones fade.
func NextGap(gap, pause time.Duration) time.Duration {
	if pause > gap {
		return min(pause, graceMost)
	}
	return gap - gap/8
}

// Grace is how long a reader with this longest pause may be silent before it counts
// as stopped: a little longer than it was lately, so that cat has stopped after 30 ms
// and a program that reads every half second has not.
func Grace(gap time.Duration) time.Duration { return min(graceMost, graceLeast+2*gap) }

// answered says that a read which had to wait has its bytes: from now on a pause
// is the reader's own.
func (m *meter) answered(now time.Time) { m.last = now }

// aheadTime is how much of the reader's time a window covers.
const aheadTime = 2 * time.Second

// latest returns the rate, and before the first sample is complete what it shows so
// far: a sequence of small files may be over by then.
func (m *meter) latest() float64 {
	const least = 50 * time.Millisecond // less is chance
	if m.rate > 0 {
		return m.rate
	}
	return float64(m.taken) / max(least, m.last.Sub(m.mark)).Seconds()
}

// reach returns how far ahead of a reader with this rate to want, after it has read so
// many bytes in order. It begins with a piece and grows with what was read, so that a
// reader that stops early has cost little. The bound is what the reader takes in
// two seconds, and a piece more, because nothing of a piece can be read before all of
// it is there.
func reach(rate float64, read, pieceBytes int64) int64 {
	return min(int64(rate*aheadTime.Seconds())+pieceBytes, max(pieceBytes, read))
}
