package policy

import "time"

// meter measures how fast a reader reads, and how long it pauses between reads.
type meter struct {
	rate float64       // bytes per second; 0 until measured
	gap  time.Duration // the longest recent pause
	last time.Time     // of the latest read

	sampleStart time.Time
	sampleBytes int64 // read since sampleStart
}

const (
	// sampleTime is the length of a sample of the rate.
	sampleTime = 250 * time.Millisecond
	// idleTime is a pause too long to count for the rate.
	idleTime = time.Second
)

// read says that n bytes were asked for.
func (m *meter) read(now time.Time, n int64) {
	pause := now.Sub(m.last)
	if m.last.IsZero() || pause > idleTime {
		m.sampleStart, m.sampleBytes = now, 0
	}
	if !m.last.IsZero() {
		m.gap = NextGap(m.gap, pause)
	}
	m.last = now
	m.sampleBytes += n
	d := now.Sub(m.sampleStart)
	if d < sampleTime {
		return
	}
	// Up at once, so that the window grows as the swarm gets faster; down gradually.
	if sample := float64(m.sampleBytes) / d.Seconds(); sample > m.rate {
		m.rate = sample
	} else {
		m.rate += (sample - m.rate) / 4
	}
	m.sampleStart, m.sampleBytes = now, 0
}

const (
	minGrace = 30 * time.Millisecond
	maxGrace = 2 * time.Second
)

// NextGap returns the longest recent pause after one more; long ones fade.
func NextGap(gap, pause time.Duration) time.Duration {
	if pause > gap {
		return min(pause, maxGrace)
	}
	return gap - gap/8
}

// Grace is how long a reader with this longest pause may be silent before it counts as
// stopped: 30 ms for cat, but more than a second for a program that reads every half
// second.
func Grace(gap time.Duration) time.Duration { return min(maxGrace, minGrace+2*gap) }

// answered says that a read that waited for the swarm has its bytes. Only the time from now
// on is the reader's own pause.
func (m *meter) answered(now time.Time) { m.last = now }

// aheadTime is how much of the reader's time a window covers.
const aheadTime = 2 * time.Second

// latest returns the rate, or an estimate from the first sample while that is incomplete:
// a sequence of small files may be over by then.
func (m *meter) latest() float64 {
	const least = 50 * time.Millisecond // less says nothing
	if m.rate > 0 {
		return m.rate
	}
	return float64(m.sampleBytes) / max(least, m.last.Sub(m.sampleStart)).Seconds()
}

// distance returns how far to read ahead of a reader with this rate, after it has read
// this many bytes in order. It begins with a piece and grows with what was read, so that a
// reader that stops early costs little. It is at most what the reader reads in two seconds
// and a piece more, since no byte of a piece can be read before the whole is there.
func distance(rate float64, read, pieceBytes int64) int64 {
	return min(int64(rate*aheadTime.Seconds())+pieceBytes, max(pieceBytes, read))
}
