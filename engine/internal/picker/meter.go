package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// meter measures what one peer delivers: its rate and its smallest round trip.
// From these follow how much to keep asked of it and when a block should come.
// It keeps what it learned while the peer idles, so that a read after a pause
// starts at full speed.
type meter struct {
	rtt      time.Duration // the smallest seen
	rate     float64       // bytes per second; assumedRate until measured
	measured bool          // rate was measured over a busy interval
	start    int           // requests before it was

	busySince   time.Time     // when requests went to an idle peer; zero while idle
	last        time.Time     // latest arrival
	jitter      time.Duration // the longest pause between arrivals while busy; what is longer ago counts less
	pauses      pauses
	sampleStart time.Time // begin of the running sample
	sampleBytes int64     // since mark
	total       int64     // since busySince
	received    int64     // since the peer joined
	blocks      int       // that came, of these
	meanBlock   float64   // their mean length lately; a whole block's until there is another
	sampled     bool      // a sample was complete since busySince
	idled       bool      // the peer had fewer requests than its window during the sample
}

func newMeter(rtt time.Duration) meter {
	if rtt <= 0 {
		rtt = 100 * time.Millisecond
	}
	return meter{rtt: rtt, rate: assumedRate, start: startBlocks, meanBlock: weir.BlockBytes}
}

// pauses finds peers that send at the turns of a clock only: these pause in every
// stretch of pulseTime, while a pause that has another cause (a lost packet, a busy
// machine) comes once.
type pauses struct {
	since     time.Time // begin of this stretch
	this, was time.Duration
}

// saw says that the peer had something to do and sent nothing for d.
func (p *pauses) saw(now time.Time, d time.Duration) {
	switch age := now.Sub(p.since); {
	case age < pulseTime:
	case age < 2*pulseTime:
		p.since, p.was, p.this = now, p.this, 0
	default:
		p.since, p.was, p.this = now, 0, 0
	}
	p.this = max(p.this, d)
}

// pulse returns for how long the peer keeps silent again and again.
func (p *pauses) pulse() time.Duration { return min(p.this, p.was, maxPulse) }

// begin says that a request goes to a peer that has answered all before.
func (m *meter) begin(now time.Time) {
	// Requests that were answered before a sample was complete were too few to show the
	// peer's rate: it is that high at least.
	if d := m.last.Sub(m.busySince); m.measured && !m.sampled && m.total > 0 && d >= sampleTime {
		m.rate = max(m.rate, float64(m.total)/d.Seconds())
	}
	m.sampled = false
	m.busySince, m.sampleStart, m.sampleBytes, m.total, m.idled = now, time.Time{}, 0, 0, false
}

// arrived says that a block of n bytes came.
func (m *meter) arrived(now time.Time, n int64) {
	if m.last.After(m.busySince) && m.total > 0 {
		gap := now.Sub(m.last)
		m.jitter -= time.Duration(float64(m.jitter) * min(1, gap.Seconds()/jitterTime.Seconds()))
		m.jitter = max(m.jitter, gap)
		m.pauses.saw(now, gap)
	}
	m.last = now
	m.total += n
	m.received += n
	m.blocks++
	m.meanBlock += (float64(n) - m.meanBlock) / blocksInMean
	if m.sampleStart.IsZero() {
		// The first arrival after a pause opens the sample: the round trip
		// before it says nothing about the rate.
		m.sampleStart = now
		return
	}
	m.sampleBytes += n
	d := now.Sub(m.sampleStart)
	least, gain := sampleTime, 0.5
	if m.received > youngBytes {
		least, gain = longSampleTime, 0.25
	}
	if d < max(least, m.rtt/2) || float64(m.sampleBytes) < 4*m.meanBlock && d < time.Second {
		return
	}
	sample := float64(m.sampleBytes) / d.Seconds()
	m.sampled = true
	switch {
	case !m.measured && (m.received >= 1<<20 || now.Sub(m.busySince) > max(settleTime, 8*m.rtt)):
		m.rate, m.measured = sample, true
	case !m.measured:
	case sample > m.rate:
		m.rate += (sample - m.rate) * gain
	case !m.idled && now.Sub(m.busySince) > max(settleTime, 4*m.rtt):
		m.rate += (sample - m.rate) / 4
	}
	m.sampleStart, m.sampleBytes, m.idled = now, 0, false
}

// lostHedge says that others delivered what the peer was asked for: it had enough to
// do all the time, so it is no faster than what it has delivered since.
func (m *meter) lostHedge(now time.Time) {
	busy := now.Sub(m.busySince) - m.rtt
	if busy < sampleTime {
		return
	}
	if most := float64(m.total+weir.BlockBytes) / busy.Seconds(); most < m.rate {
		m.rate, m.measured = most, true
	}
}

// answered offers a round trip seen by a request which found the peer idle.
func (m *meter) answered(now time.Time, d time.Duration) {
	if d > 0 && d < m.rtt {
		m.rtt = d
	}
	m.pauses.saw(now, d-m.rtt)
}

// window returns how many blocks to keep asked of the peer.
func (m *meter) window(queue time.Duration) int {
	if !m.measured {
		return m.start + m.blocks
	}
	return max(minBlocks, int(m.rate*(m.rtt+max(queue, m.pauses.pulse()*3/2)).Seconds()/m.meanBlock))
}

// eta returns how long a block asked for now takes behind queued bytes.
func (m *meter) eta(queued int64) time.Duration {
	return m.rtt + time.Duration((float64(queued)+m.meanBlock)/m.rate*float64(time.Second))
}

// patience returns for how long the peer may be silent, while asked, before an
// urgent block is asked of somebody else as well: a round trip and the time of some
// blocks, by its own rate, and half as much again as the longest pause that it has made lately.
func (m *meter) patience() time.Duration { return m.patient(m.jitter*3/2, maxSilence) }

// shortPatience is patience with the only peer that a read still waits for, everybody else having
// delivered: little is asked twice then, and all the time is the reader's.
func (m *meter) shortPatience() time.Duration { return m.patient(m.jitter, shortSilence) }

func (m *meter) patient(pause, most time.Duration) time.Duration {
	d := m.rtt + m.pauses.pulse() + time.Duration(16*m.meanBlock/m.rate*float64(time.Second))
	if !m.measured {
		return min(d+650*time.Millisecond, maxPatience)
	}
	return min(d+min(max(pause, minSilence), most), maxPatience)
}
