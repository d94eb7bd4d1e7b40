package peerbook

import (
	"net/netip"
	"time"
)

const (
	// A candidate that failed so often in a row, while others could be reached, is
	// out of the question for deadTime.
	maxFailures        = 6
	maxTrackerFailures = 10
	deadTime           = 30 * time.Minute

	// A peer of whose addresses so many were nonsense, and hardly one was not, is
	// not listened to for muteTime.
	muteAfter = 20
	muteShare = 10
	muteTime  = time.Hour
)

func (g *group) isMuted(now time.Time) bool {
	return !g.muted.IsZero() && now.Sub(g.muted) < muteTime
}

// Connected says that the dial of addr became a connection.
func (b *Book) Connected(addr string) {
	b.failed, b.reached = 0, true
	if k := b.known[addr]; k != nil {
		if k.dials { // a good word costs its referrer no turn
			b.pass[k.origin.Source] -= k.costSource
			k.origin.pass -= k.costReferrer
		}
		b.dialed(k)
		b.judge(k, true, time.Time{})
	}
}

// dialed ends the dial of a candidate.
func (b *Book) dialed(k *candidate) {
	if k.dials {
		k.dials = false
		b.dialing[k.origin.Source]--
	}
}

// judge takes the first dial of a candidate as a verdict on who named it.
func (b *Book) judge(k *candidate, good bool, now time.Time) {
	g := k.origin
	if !k.seen.IsZero() || !good && k.failures > 0 {
		return // the verdict was given
	}
	if good {
		g.good++
		if k.failures > 0 {
			g.bad = max(0, g.bad-1)
		}
	} else {
		g.bad++
		if g.Source == Exchange && g.bad >= muteAfter && g.good*muteShare < g.bad && !g.isMuted(now) {
			g.muted, g.good, g.bad = now, 0, 0
		}
	}
}

// Retry says that a candidate closed the connection during the handshake and may
// be dialed again at once in another mode.
func (b *Book) Retry(addr string, mode uint8) {
	if k := b.known[addr]; k != nil {
		b.dialed(k)
		k.mode, k.busy, b.fresh = mode, false, true
	}
}

// Postpone says that it was us who had no room for the connection.
func (b *Book) Postpone(addr string, now time.Time) {
	if k := b.known[addr]; k != nil {
		b.dialed(k)
		k.busy, k.ended, k.next = false, now, now.Add(hurriedBackoff)
	}
}

// Failed says that nobody could be reached at addr; mode is how to speak to it
// next time. online tells whether others can be reached: else it may be us who are
// cut off, and nobody is blamed.
func (b *Book) Failed(addr string, mode uint8, online bool, now time.Time) {
	b.failed++
	k := b.known[addr]
	if k == nil {
		return
	}
	b.dialed(k)
	if online {
		b.judge(k, false, now)
	}
	k.mode = mode
	b.fail(k, online, now)
}

// Refused says that somebody listens at addr and closed the connection in the
// handshake, in whatever mode: most are full.
func (b *Book) Refused(addr string, mode uint8, now time.Time) {
	b.failed++
	if k := b.known[addr]; k != nil {
		b.dialed(k)
		k.mode = mode
		b.fail(k, false, now)
	}
}

func (b *Book) fail(k *candidate, online bool, now time.Time) {
	k.busy, k.ended = false, now
	k.failures++
	k.next = now.Add(backoff(k.failures))
	limit := maxFailures
	if k.origin.Source == Tracker || k.delivered > 0 {
		limit = maxTrackerFailures
	}
	if online && k.origin.Source != User && k.failures >= limit {
		k.dead = now
	}
}

// backoff doubles from two seconds to five minutes.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures, 9), 5*time.Minute)
}

// Ended says that the connection with a candidate, which we had dialed, is over.
// useful tells whether anything came of it.
func (b *Book) Ended(addr string, useful bool, now time.Time) {
	k := b.known[addr]
	if k == nil {
		return
	}
	b.dialed(k)
	if !useful {
		b.fail(k, false, now)
		return
	}
	k.busy, k.failures, k.ended, k.next = false, 0, now, now.Add(backoff(0))
}

// Duplicate says that the peer at addr is connected already.
func (b *Book) Duplicate(addr string, now time.Time) {
	if k := b.known[addr]; k != nil {
		b.dialed(k)
		b.judge(k, true, now)
		b.fail(k, false, now)
		k.met, k.seen, k.misses = true, now, 0
	}
}

// Ourselves says that we are what listens at addr.
func (b *Book) Ourselves(addr string, now time.Time) {
	if k := b.known[addr]; k != nil {
		b.dialed(k)
		k.busy, k.dead = false, now
	}
}

// Expire forgets the dead whose time is over, so that they may be named again. It
// is called once in a while.
func (b *Book) Expire(now time.Time) {
	for _, k := range b.known {
		if !k.dead.IsZero() && now.Sub(k.dead) > deadTime && k.origin.Source != User {
			b.remove(k)
		}
	}
	for _, g := range b.groups {
		if !g.muted.IsZero() && !g.isMuted(now) {
			g.muted = time.Time{}
		}
	}
}

// Met says that there is or was a connection with a peer, which can be dialed at
// addr and has delivered so many bytes more. dialed is how it was called when we
// dialed it.
func (b *Book) Met(dialed string, addr netip.AddrPort, delivered int64, now time.Time) {
	k := b.known[dialed]
	if k == nil {
		name := canonical(addr.String())
		b.Add(now, Origin{Source: Incoming}, name)
		if k = b.known[name]; k == nil {
			return
		}
	}
	k.met, k.seen, k.misses = true, now, 0
	k.delivered += delivered
	b.changed, b.reached = true, true
}
