package webseed

import (
	"slices"
	"time"
)

const (
	// maxActive is how many web seeds of a torrent are asked at a time.
	maxActive = 3
	// trialTime is for how long a web seed is busy before it is compared with others.
	trialTime = 5 * time.Second
	// maxTrials bounds how many are tried for their rate, of the hundreds that some
	// torrents name.
	maxTrials = 9
)

// Choice says which of a torrent's web seeds are asked: a few, the fastest of those
// that were tried, one a host. It is pure, and for one goroutine at a time.
type Choice struct {
	all    []candidate // in the order in which they are tried
	trials int         // that became active so far
}

// candidate is one web seed.
type candidate struct {
	host   string
	active bool
	tried  bool
	busy   time.Duration // it was asked for something
	bytes  int64         // that came meanwhile
	until  time.Time     // before which it is not asked
	gone   bool          // it is not asked any more
}

// NewChoice returns a Choice among web seeds with the hosts given, which are named by
// their place in the list.
func NewChoice(hosts []string) *Choice {
	c := &Choice{all: make([]candidate, len(hosts))}
	for i, h := range hosts {
		c.all[i].host = h
	}
	return c
}

// Measured says that an active web seed was busy for d, and what came meanwhile.
func (c *Choice) Measured(i int, d time.Duration, bytes int64) {
	c.all[i].busy += d
	c.all[i].bytes += bytes
}

// Rest says that a web seed is not to be asked before at, or never again if at is
// zero. Another one takes its place.
func (c *Choice) Rest(i int, at time.Time) {
	c.all[i].until, c.all[i].gone = at, at.IsZero()
	c.all[i].active = false
}

// rate returns the bytes per second of a web seed, and false if it is too early to say.
func (d *candidate) rate() (float64, bool) {
	if d.busy < trialTime {
		return 0, false
	}
	return float64(d.bytes) / d.busy.Seconds(), true
}

// Active returns the web seeds to ask now, in order.
func (c *Choice) Active(now time.Time) []int {
	c.replaceSlowest(now)
	for c.count() < maxActive {
		i, ok := c.next(now)
		if !ok {
			break
		}
		c.activate(i)
	}
	var active []int
	for i := range c.all {
		if c.all[i].active {
			active = append(active, i)
		}
	}
	return active
}

func (c *Choice) activate(i int) {
	d := &c.all[i]
	if !d.tried {
		c.trials++
	}
	d.active, d.tried = true, true
}

// replaceSlowest lets one that was not tried take the place of the slowest, once all
// that are active were measured.
func (c *Choice) replaceSlowest(now time.Time) {
	if c.trials >= maxTrials {
		return
	}
	slowest := -1
	var least float64
	for i := range c.all {
		if !c.all[i].active {
			continue
		}
		rate, known := c.all[i].rate()
		if !known {
			return
		}
		if slowest < 0 || rate < least {
			slowest, least = i, rate
		}
	}
	if slowest < 0 || c.count() < maxActive {
		return
	}
	c.all[slowest].active = false
	for i := range c.all {
		if !c.all[i].tried && c.may(now, i) {
			c.activate(i)
			return
		}
	}
	c.all[slowest].active = true
}

func (c *Choice) count() (n int) {
	for i := range c.all {
		if c.all[i].active {
			n++
		}
	}
	return n
}

// next returns the web seed to take up: the fastest that is known, or if it is not
// known to be any good, the first that was not tried.
func (c *Choice) next(now time.Time) (int, bool) {
	best, rate := -1, 0.0
	for i := range c.all {
		if r, known := c.all[i].rate(); known && c.may(now, i) && r > rate {
			best, rate = i, r
		}
	}
	if best >= 0 && c.trials >= maxTrials {
		return best, true
	}
	for i := range c.all {
		if !c.all[i].tried && c.may(now, i) {
			return i, true
		}
	}
	if best >= 0 {
		return best, true
	}
	for i := range c.all {
		if c.may(now, i) {
			return i, true
		}
	}
	return 0, false
}

// may reports whether a web seed can become active.
func (c *Choice) may(now time.Time, i int) bool {
	d := &c.all[i]
	if d.active || d.gone || now.Before(d.until) {
		return false
	}
	return !slices.ContainsFunc(c.all, func(o candidate) bool { return o.active && o.host == d.host })
}
