package picker

import "time"

// silence says how a peer answers.
type silence uint8

const (
	answering silence = iota // within its patience
	slow                     // silent for longer: asked for one block at a time
	snubbed                  // silent for three times as long: everything was taken back
	probed                   // snubbed, and asked for one block since, or for none, but not silent again yet
)

// after returns what follows when the peer is silent beyond its patience, or is not.
func (s silence) after(silent bool) silence {
	switch {
	case s.isSnubbed() && silent:
		return snubbed
	case s.isSnubbed():
		return probed // until it speaks
	case silent:
		return slow
	}
	return answering
}

// silent reports whether the peer is silent beyond its patience.
func (s silence) silent() bool { return s == slow || s == snubbed }

// isSnubbed reports whether everything was taken back, and the peer has not spoken since.
func (s silence) isSnubbed() bool { return s == snubbed || s == probed }

// earlySnubs counts how often a peer was snubbed too early: it answered after all. A peer
// that sends once in a fixed time, and drops without a word what is cancelled
// (Transmission 3.00), would otherwise be snubbed each time just before it answers.
type earlySnubs struct {
	times int
	since time.Time // of the last one, or of the last that was forgotten
}

// spokeAgain says that a peer which was snubbed has answered.
func (f *earlySnubs) spokeAgain(now time.Time) {
	f.times, f.since = min(f.times+1, maxEarlySnubs), now
}

// giveUpAfter returns how long a peer may be silent before everything is taken back.
func (f *earlySnubs) giveUpAfter(now time.Time, patience time.Duration) time.Duration {
	if f.times > 0 && now.Sub(f.since) >= earlySnubTime {
		f.times, f.since = f.times-1, now
	}
	usual := 3 * patience
	return max(usual, min(usual<<f.times, maxGiveUp))
}

// silentFor returns for how long the peer has owed us an answer.
func (p *Peer) silentFor(now time.Time) time.Duration {
	if p.inFlight == 0 && !p.behindHedge {
		return 0
	}
	since := p.meter.busySince
	if p.meter.last.After(since) {
		since = p.meter.last
	}
	return now.Sub(since)
}

// checkSilence takes everything back from peers that fell silent; they are asked for
// one block at a time until they speak again. From a peer that speaks it takes
// back what it seems to have forgotten.
func (s *scheduler) checkSilence(now time.Time) {
	for _, p := range s.peers.list {
		silent, patience := p.silentFor(now), p.meter.patience()+s.delay
		p.silence = p.silence.after(silent > patience)
		if p.inFlight == 0 {
			continue
		}
		if p.askedEarly && p.choking {
			s.takeBackEarly(now, p)
			continue
		}
		if silent >= p.giveUpAfter(now, patience) {
			p.silence = snubbed
			for p.oldest != nil {
				b := Block{p.oldest.copy.index, p.oldest.index}
				if s.requests.giveUp(p.oldest); p.fast {
					p.notBefore(now.Add(askAgainAfter), b)
				}
			}
			p.meter.busySince = now
			s.wants.rewind()
			continue
		}
		for p.oldest != nil && now.Sub(p.oldest.due) > forgottenAfter+s.delay {
			s.requests.giveUp(p.oldest)
			s.wants.rewind()
		}
	}
}
