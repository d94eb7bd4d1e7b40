package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// scheduler decides what is asked of whom.
type scheduler struct {
	opts  Options
	delay time.Duration // for which we keep the peers' blocks waiting ourselves

	pieces   *pieces
	wants    *wants
	peers    *peers
	requests *requests

	queueTime         time.Duration // Options.QueueTime, or shortQueueTime
	nextWindow        int           // whose window goes first at the next run
	lastUnplannedRead time.Time     // the last read of what no window had
	lastHedge         time.Time
	fellows           bool // there are any
	runs              bool // there are peers that are asked for runs
	crowd             crowdFacts
}

// run decides what to do now.
func (s *scheduler) run(now time.Time) {
	s.queueTime = s.opts.QueueTime
	short := now.Sub(s.lastUnplannedRead) < shortQueueFor && !s.lastUnplannedRead.IsZero()
	if short {
		s.queueTime = min(s.queueTime, shortQueueTime)
	}
	s.fellows = slices.ContainsFunc(s.peers.list, (*Peer).fellow)
	s.findRuns()
	s.checkSilence(now)
	s.blocked(now)
	if now.Sub(s.lastHedge) >= hedgeEvery {
		s.lastHedge = now
		s.hedge(now)
	}
	s.reclaim(now)
	s.windows(now)
	s.background(now)
	for _, p := range s.peers.list {
		if short || p.room(s.queueTime) > 0 {
			p.meter.idled = true
		}
	}
}

// findRuns finds the peers that are asked for runs, and which of them are beside others.
func (s *scheduler) findRuns() {
	s.runs = slices.ContainsFunc(s.peers.list, func(p *Peer) bool { return p.runs })
	if !s.runs {
		return
	}
	var sum float64
	for _, p := range s.peers.list {
		if !p.choking && !p.silence.silent() {
			sum += p.meter.rate
		}
	}
	for _, p := range s.peers.list {
		p.beside = p.runs && sum-p.meter.rate >= besideOthers*p.meter.rate
	}
}

// blocked asks for what reads wait for, the longest waiting first.
func (s *scheduler) blocked(now time.Time) {
	summed := false
	for _, w := range s.wants.byPriority[weir.Blocked] {
		s.wants.unfinished(w, func(p *piece) bool {
			if !s.fits(p) && s.fetchingForReads() {
				return false
			}
			if !summed {
				summed = true
				s.sumReclaimable(now)
			}
			if !p.started() && p.wanted[weir.Window] == 0 && len(s.wants.byPriority[weir.Window]) > 0 {
				s.lastUnplannedRead = now
			}
			s.assign(now, p, weir.Blocked, p.count)
			return true
		})
	}
}

// fetchingForReads reports whether somebody is asked for a piece that a read waits for.
func (s *scheduler) fetchingForReads() bool {
	requested := false
	for _, w := range s.wants.byPriority[weir.Blocked] {
		w.each(func(index int) bool {
			p := s.pieces.open[index]
			requested = requested || p != nil && p.requested()
			return !requested
		})
	}
	return requested
}

// fits reports whether memory allows to go on with a piece, or to begin it.
func (s *scheduler) fits(p *piece) bool {
	if p.started() && (!p.sparse || !p.wantedWhole()) {
		return true
	}
	more := p.bytes - p.memory()
	if !p.wantedWhole() {
		more = int64(len(p.single)) * weir.BlockBytes
	}
	return s.pieces.begun+more <= s.opts.MemoryBytes
}

// windows asks for read-ahead, taking turns between the windows.
func (s *scheduler) windows(now time.Time) {
	wants := s.wants.byPriority[weir.Window]
	if len(wants) == 0 {
		return
	}
	s.nextWindow++
	for progress := true; progress && s.anyRoom(); {
		progress = false
		for i := range wants {
			left := blocksPerTurn
			s.wants.unfinished(wants[(s.nextWindow+i)%len(wants)], func(p *piece) bool {
				if !s.fits(p) {
					return false
				}
				left -= s.assign(now, p, weir.Window, left)
				return left > 0 && s.anyRoom()
			})
			progress = progress || left < blocksPerTurn
		}
	}
}

// background asks for pieces that nobody waits for: one peer a piece, so that
// few are suspects when it fails.
func (s *scheduler) background(now time.Time) {
	if now.Before(s.wants.backgroundRetryAt) || !s.anyRoom() {
		return
	}
	full := false // no memory or no room left, rather than nobody to ask
	asked := 0
	for _, w := range s.wants.byPriority[weir.Background] {
		s.wants.unfinished(w, func(p *piece) bool {
			if full = !s.fits(p); full {
				return false
			}
			asked += s.assign(now, p, weir.Background, p.count)
			full = !s.anyRoom()
			return !full
		})
	}
	if asked == 0 && !full {
		s.wants.backgroundRetryAt = now.Add(backgroundRetry)
	}
}

func (s *scheduler) anyRoom() bool {
	for _, p := range s.peers.list {
		if !p.choking && p.room(s.queueTime) > 0 {
			return true
		}
	}
	return false
}
