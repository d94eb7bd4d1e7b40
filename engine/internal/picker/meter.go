package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// Meter measures what one peer delivers: its rate and its smallest round trip.
// From these follow how much to keep asked of it and when a block should come.
// It keeps what it learned while the peer idles, so that a read after a pause
// starts at full speed.
type meter struct {
	rtt  time.Duration // the smallest seen
	rate float64       // bytes per second; a guess until measured
	sure bool          // rate was measured over a busy interval

	busySince time.Time     // when requests went to an idle peer; zero while idle
	last      time.Time     // latest arrival
	jitter    time.Duration // the longest pause between arrivals while busy; what is longer ago counts less
	pauses    pauses
	mark      time.Time // begin of the running sample
	bytes     int64     // since mark
	total     int64     // since busySince
	ever      int64     // since the peer joined
	blocks    int       // that came, of these
	block     float64   // their mean length lately; a whole block's until there is another
	sampled   bool      // a sample was complete since busySince
	short     bool      // the peer had fewer requests than its window during the sample
}

const (
	guessRate  = 4 << 20 // bytes per second, of a peer that was never measured
	coldBlocks = 16      // asked at first of a peer that was never measured; doubles with each round trip, as TCP's slow start does
	minBlocks  = 2       // asked of the slowest: one on the way and one queued
	// A sample takes so long at least; the longer one counts once the peer has
	// delivered youngBytes, because then a burst (what waited in a router, or for
	// us) is a larger mistake than a slow ramp.
	sampleTime     = 50 * time.Millisecond
	longSampleTime = 200 * time.Millisecond
	youngBytes     = 8 << 20
	// After a pause TCP starts slowly again: samples below the known rate count
	// only when the peer has been busy for so long.
	settleTime = 300 * time.Millisecond
	// Over so many blocks their mean length is taken. Of files that are much smaller than
	// a block, each with a piece of its own, a window in bytes would be no window at all:
	// a peer that delivers 1.6 KB a round trip would be asked for one such block.
	meanBlocks = 16
	// A pause counts for so long.
	jitterTime = 5 * time.Second
	// Pulses are looked for over so long, and believed to be no longer than so much:
	// Transmission sends each 500 ms.
	pulseTime = time.Second
	mostPulse = 600 * time.Millisecond
	// What is added to the round trip before silence means something, at least and
	// at most.
	minSilence = 50 * time.Millisecond
	maxSilence = 150 * time.Millisecond
	// The same when a read waits for this peer alone.
	hastySilence = 75 * time.Millisecond
)

func newMeter(rtt time.Duration) meter {
	if rtt <= 0 {
		rtt = 100 * time.Millisecond
	}
	return meter{rtt: rtt, rate: guessRate, block: weir.BlockBytes}
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
func (p *pauses) pulse() time.Duration { return min(p.this, p.was, mostPulse) }

// begin says that a request goes to a peer that has answered all before.
func (m *meter) begin(now time.Time) {
	// Requests that were answered before a sample was complete were too few to show the
	// peer's rate: it is that high at least.
	if d := m.last.Sub(m.busySince); m.sure && !m.sampled && m.total > 0 && d >= sampleTime {
		m.rate = max(m.rate, float64(m.total)/d.Seconds())
	}
	m.sampled = false
	m.busySince, m.mark, m.bytes, m.total, m.short = now, time.Time{}, 0, 0, false
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
	m.ever += n
	m.blocks++
	m.block += (float64(n) - m.block) / meanBlocks
	if m.mark.IsZero() {
		// The first arrival after a pause opens the sample: the round trip
		// before it says nothing about the rate.
		m.mark = now
		return
	}
	m.bytes += n
	d := now.Sub(m.mark)
	least, gain := sampleTime, 0.5
	if m.ever > youngBytes {
		least, gain = longSampleTime, 0.25
	}
	if d < max(least, m.rtt/2) || float64(m.bytes) < 4*m.block && d < time.Second {
		return
	}
	sample := float64(m.bytes) / d.Seconds()
	m.sampled = true
	switch {
	case !m.sure && (m.ever >= 1<<20 || now.Sub(m.busySince) > max(settleTime, 8*m.rtt)):
		m.rate, m.sure = sample, true
	case !m.sure:
	case sample > m.rate:
		m.rate += (sample - m.rate) * gain
	case !m.short && now.Sub(m.busySince) > max(settleTime, 4*m.rtt):
		m.rate += (sample - m.rate) / 4
	}
	m.mark, m.bytes, m.short = now, 0, false
}

// outrun says that others delivered what the peer was asked for: it had enough to
// do all the time, so it is no faster than what it has delivered since.
func (m *meter) outrun(now time.Time) {
	busy := now.Sub(m.busySince) - m.rtt
	if busy < sampleTime {
		return
	}
	if most := float64(m.total+weir.BlockBytes) / busy.Seconds(); most < m.rate {
		m.rate, m.sure = most, true
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
	if !m.sure {
		return coldBlocks + m.blocks
	}
	return max(minBlocks, int(m.rate*(m.rtt+m.pauses.pulse()*3/2+queue).Seconds()/m.block))
}

// eta returns how long a block asked for now takes behind queued bytes.
func (m *meter) eta(queued int64) time.Duration {
	return m.rtt + time.Duration((float64(queued)+m.block)/m.rate*float64(time.Second))
}

// patience returns for how long the peer may be silent, while asked, before an
// urgent block is asked of somebody else as well: a round trip and the time of some
// blocks, by its own rate, and half as much again as the longest pause that it has made lately.
func (m *meter) patience() time.Duration { return m.patient(m.jitter*3/2, maxSilence) }

// haste is patience with a peer for which alone a read waits, everybody else having
// delivered: little is asked twice then, and all the time is the reader's.
func (m *meter) haste() time.Duration { return m.patient(m.jitter, hastySilence) }

func (m *meter) patient(pause, most time.Duration) time.Duration {
	d := m.rtt + m.pauses.pulse() + time.Duration(16*m.block/m.rate*float64(time.Second))
	if !m.sure {
		return min(d+650*time.Millisecond, mostPatience)
	}
	return min(d+min(max(pause, minSilence), most), mostPatience)
}

const mostPatience = 4 * time.Second
