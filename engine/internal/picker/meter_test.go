package picker

import (
	"math"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// train lets blocks arrive at a rate, one after another, from a request at now on,
// and returns the time of the last.
func (m *meter) train(now time.Time, rate float64, blocks int) time.Time {
	m.begin(now)
	begin := now.Add(m.rtt)
	for i := range blocks {
		now = begin.Add(time.Duration(float64(i) * weir.BlockBytes / rate * float64(time.Second)))
		m.arrived(now, weir.BlockBytes)
	}
	return now
}

// TestMeterLearnsTheRate: whatever a peer's rate and round trip, it is known to a
// twentieth after 1 MiB or eight round trips, and kept through a pause.
func TestMeterLearnsTheRate(t *testing.T) {
	for _, rtt := range []time.Duration{0, ms, 30 * ms, 400 * ms} {
		for _, rate := range []float64{10e3, 100e3, 1e6, 10e6, 100e6} {
			m := newMeter(rtt)
			begin := time.Unix(1000, 0)
			m.begin(begin)
			blocks := 0
			var now time.Time
			for ; !m.measured && blocks < 10_000; blocks++ {
				now = begin.Add(m.rtt + time.Duration(float64(blocks)*weir.BlockBytes/rate*float64(time.Second)))
				m.arrived(now, weir.BlockBytes)
			}
			took := now.Sub(begin)
			// A sample takes four blocks or a second at least; 1 MiB is enough when it is
			// there sooner than eight round trips.
			perBlock := time.Duration(weir.BlockBytes / rate * float64(time.Second))
			limit := max(settleTime, 8*m.rtt) + max(time.Second, perBlock) + perBlock
			limit = min(limit, m.rtt+65*perBlock+2*max(sampleTime, m.rtt/2, 5*perBlock))
			if took > limit {
				t.Errorf("%v, %.0f B/s: sure after %d blocks and %v, want at most %v", rtt, rate, blocks, took, limit)
			}
			if math.Abs(m.rate-rate) > rate/20 {
				t.Errorf("%v, %.0f B/s: measured %.0f", rtt, rate, m.rate)
			}
			was := m.rate
			m.begin(now.Add(time.Hour))
			m.arrived(now.Add(time.Hour+m.rtt), weir.BlockBytes)
			if m.rate != was {
				t.Errorf("%v, %.0f B/s: %.0f after a pause", rtt, rate, m.rate)
			}
		}
	}
}

// TestMeterIsNotHasty: a peer that has given neither 1 MiB nor been busy for eight
// round trips is not judged yet, and its window grows by what it gives.
func TestMeterIsNotHasty(t *testing.T) {
	m := newMeter(100 * ms)
	now := time.Unix(1000, 0)
	m.train(now, 150e3, 6) // 660 ms and 96 KiB
	if m.measured {
		t.Error("sure after 660 ms")
	}
	for blocks := range 60 {
		m := newMeter(100 * ms)
		m.train(now, 5e6, blocks) // 300 ms at most
		if m.measured {
			t.Fatalf("sure after %d blocks in 300 ms", blocks)
		}
		if w := m.window(100 * ms); w != startBlocks+blocks {
			t.Errorf("a window of %d after %d blocks, want %d", w, blocks, startBlocks+blocks)
		}
	}
	for blocks, want := range map[int]bool{60: false, 110: false, 125: true} { // at the end of a sample of 61 that is beyond 1 MiB
		m := newMeter(10 * ms)
		if m.train(now, 20e6, blocks); m.measured != want {
			t.Errorf("%d blocks in a burst: sure is %v", blocks, m.measured)
		}
	}
}

// TestMeterFollowsTheRate: a peer that becomes faster or slower is measured anew, up
// at once and down once it has been busy; one that lacked requests not downwards.
func TestMeterFollowsTheRate(t *testing.T) {
	for name, test := range map[string]struct {
		was, is float64
		after   time.Duration // of the new rate
		short   bool
		least   float64
		most    float64
	}{
		"Faster":         {1e6, 8e6, 2 * time.Second, false, 7.5e6, 8.1e6},
		"FasterAndShort": {1e6, 8e6, 2 * time.Second, true, 7.5e6, 8.1e6},
		"Slower":         {8e6, 1e6, 5 * time.Second, false, 0.99e6, 1.2e6},
		"SlowerAtFirst":  {8e6, 1e6, 350 * ms, false, 8e6 * 0.99, 8e6 * 1.01}, // TCP's slow start: four round trips
		"SlowerAndShort": {8e6, 1e6, 5 * time.Second, true, 8e6 * 0.99, 8e6 * 1.01},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(100 * ms)
			now := m.train(time.Unix(1000, 0), test.was, int(4*test.was/weir.BlockBytes))
			now = now.Add(time.Second)
			m.begin(now)
			for begin := now; now.Sub(begin) < test.after; {
				now = now.Add(time.Duration(weir.BlockBytes / test.is * float64(time.Second)))
				m.idled = m.idled || test.short
				m.arrived(now, weir.BlockBytes)
			}
			if m.rate < test.least || m.rate > test.most {
				t.Errorf("%.0f B/s after %v, want %.0f to %.0f", m.rate, test.after, test.least, test.most)
			}
		})
	}
}

// TestOutrun: who was asked and did not deliver is no faster than what it delivered.
func TestOutrun(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, blocks := range []int64{0, 1, 9} {
		for _, busy := range []time.Duration{49 * ms, 50 * ms, 200 * ms, 2 * time.Second} {
			m := newMeter(100 * ms)
			m.begin(now)
			m.total = blocks * weir.BlockBytes
			m.lostHedge(now.Add(m.rtt + busy))
			want := math.Min(assumedRate, float64((blocks+1)*weir.BlockBytes)/busy.Seconds())
			if busy < sampleTime {
				want = assumedRate
			}
			if m.rate != want || m.measured != (want < assumedRate) {
				t.Errorf("%d blocks in %v: %.0f B/s, sure %v; want %.0f", blocks, busy, m.rate, m.measured, want)
			}
		}
	}
}

// TestMeterValues: what follows from a rate and a round trip.
func TestMeterValues(t *testing.T) {
	known := func(rtt time.Duration, rate float64, jitter time.Duration) *meter {
		m := newMeter(rtt)
		m.rate, m.measured, m.jitter = rate, true, jitter
		return &m
	}
	const block = weir.BlockBytes
	unknown := newMeter(100 * ms)
	unknown.rate = 100 * block
	for name, test := range map[string]struct{ got, want any }{
		"UnknownRoundTrip":    {newMeter(0).rtt, 100 * ms},
		"WindowAtFirst":       {unknown.window(100 * ms), 16},
		"NegativeRoundTrip":   {newMeter(-ms).rtt, 100 * ms},
		"ShortRoundTrip":      {newMeter(1).rtt, time.Duration(1)},
		"Window":              {known(100*ms, 100*block, 0).window(100 * ms), 20},
		"WindowOfTheSlow":     {known(100*ms, block, 0).window(100 * ms), 2},
		"Eta":                 {known(100*ms, 100*block, 0).eta(9 * block), 200 * ms},
		"EtaOfTheFirst":       {known(100*ms, 100*block, 0).eta(0), 110 * ms},
		"Patience":            {known(100*ms, 100*block, 80*ms).patience(), 380 * ms},            // a round trip, 16 blocks, 3/2 of the pause
		"PatienceAtLeast":     {known(100*ms, 100*block, 0).patience(), 310 * ms},                // 50 ms
		"PatienceAtMost":      {known(100*ms, 100*block, time.Minute).patience(), 410 * ms},      // 150 ms
		"ShortPatience":       {known(100*ms, 100*block, 60*ms).shortPatience(), 320 * ms},       // the pause
		"ShortPatienceAtMost": {known(100*ms, 100*block, time.Minute).shortPatience(), 335 * ms}, // 75 ms
		"PatienceWithSlow":    {known(100*ms, block, 0).patience(), 4 * time.Second},             // the most
		"PatienceUnknown":     {unknown.patience(), 910 * ms},                                    // 650 ms
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
	m := newMeter(100 * ms)
	for _, d := range []struct{ offered, want time.Duration }{{120 * ms, 100 * ms}, {0, 100 * ms}, {-ms, 100 * ms}, {40 * ms, 40 * ms}, {60 * ms, 40 * ms}} {
		if m.answered(time.Time{}, d.offered); m.rtt != d.want {
			t.Errorf("a round trip of %v: %v, want %v", d.offered, m.rtt, d.want)
		}
	}
}

// TestPausesFade: the longest pause counts for less as time goes by, and one while
// nothing was asked for does not count.
func TestPausesFade(t *testing.T) {
	m := newMeter(10 * ms)
	now := m.train(time.Unix(1000, 0), 1e6, 8)
	now = now.Add(400 * ms)
	m.arrived(now, weir.BlockBytes)
	if m.jitter != 400*ms {
		t.Errorf("a pause of 400 ms counts as %v", m.jitter)
	}
	for range 250 { // a second after it
		now = now.Add(4 * ms)
		m.arrived(now, weir.BlockBytes)
	}
	if m.jitter < 310*ms || m.jitter > 340*ms { // e^(-1/5)
		t.Errorf("a pause of 400 ms counts as %v a second later", m.jitter)
	}
	for range 10_000 {
		now = now.Add(4 * ms)
		m.arrived(now, weir.BlockBytes)
	}
	if m.jitter > 5*ms {
		t.Errorf("a pause of 400 ms counts as %v after 40 s", m.jitter)
	}
	m.begin(now.Add(time.Hour))
	m.arrived(now.Add(time.Hour+20*ms), weir.BlockBytes)
	if m.jitter > 5*ms {
		t.Errorf("an hour without a request counts as a pause of %v", m.jitter)
	}
}

// TestBurstsOfTheKnown: a burst of a peer that is known for long says little of its
// rate: what waited in a router comes at once.
func TestBurstsOfTheKnown(t *testing.T) {
	m := newMeter(ms)
	now := m.train(time.Unix(1000, 0), 2e6, 1000)
	for range 40 { // as much as before, in bursts of 16 blocks
		for range 16 {
			now = now.Add(time.Millisecond / 2)
			m.arrived(now, weir.BlockBytes)
		}
		if m.rate < 1.6e6 || m.rate > 2.6e6 {
			t.Fatalf("measured %.0f B/s of bursts with 2,000,000 between them", m.rate)
		}
		now = now.Add(time.Duration(16*weir.BlockBytes/2e6*float64(time.Second)) - 8*ms)
	}
}
