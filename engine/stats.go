package engine

import (
	"time"

	"github.com/weirfs/weir"
)

// Stats describe a torrent at a moment. Bytes are payload, rates are bytes per
// second over the last seconds. Of a cold torrent only the totals are set.
type Stats struct {
	State State

	Peers   int // connected
	Seeds   int // of these, how many have everything
	Serving int // of these, how many give us blocks
	Known   int // addresses of peers, connected or not

	// SwarmSeeds and SwarmLeeches are the counts that trackers tell, -1 when none
	// does.
	SwarmSeeds, SwarmLeeches int

	// Availability is how many whole copies the connected peers have between them;
	// the fraction is the share of pieces of which there is one copy more.
	Availability float64

	DownRate, UpRate float64

	Downloaded int64 // blocks received, of use or not
	FromWeb    int64 // of these, bytes that web servers gave
	Uploaded   int64
	Wasted     int64 // blocks received twice, too late, or never asked for
	Unasked    int64 // of these, blocks never asked for
	Hedged     int64 // blocks asked of two peers
	Reclaimed  int64 // requests of read-ahead that gave way to a read
	Verified   int64 // pieces that were right
	Failed     int64 // pieces that were wrong

	Waiting int           // reads that wait for pieces
	Waited  time.Duration // the longest of them
	// Why says in a sentence what keeps the reads, or what is wanted, waiting; empty
	// when nothing is, or when blocks arrive.
	Why string
	// Missed is the last read that was given up at its deadline, nil when there was
	// none since the start.
	Missed *Missed
	// WebSeeds are the web servers that the torrent names, while it is warm and its
	// metadata is known.
	WebSeeds []WebSeed
	// Trackers have one line each: their name and what they said last.
	Trackers []string
}

// WebSeed is a web server of a torrent (BEP 19).
type WebSeed struct {
	URL      string // without user and password
	State    WebSeedState
	Rate     float64 // bytes per second lately
	Received int64   // bytes of blocks
	Why      string  // what went wrong last, in words; "" if nothing did
	Stale    []int   // files of which it has another version than the torrent
	Newer    string  // where a newer torrent is likely to be, when files are stale; "" if unknown
}

// WebSeedState is what a web seed does.
type WebSeedState string

// The states of a web seed.
const (
	WebSeedUntried WebSeedState = "untried" // others are asked
	WebSeedReady   WebSeedState = "ready"
	WebSeedBusy    WebSeedState = "busy" // blocks are asked of it
	WebSeedPaused  WebSeedState = "paused"
	WebSeedRefused WebSeedState = "refused" // it may not be asked: see Why
)

// Missed is a read, or a look for metadata, that ended at its deadline.
type Missed struct {
	At  time.Time
	Why string // a sentence
}

// State is what a torrent does.
type State string

// The states.
const (
	StateCold     State = "cold"     // nothing runs
	StateMetadata State = "metadata" // looks for the metadata
	StateIdle     State = "idle"     // warm, and nothing is wanted
	StateFetching State = "fetching" // something is wanted, nobody waits for it
	StateReading  State = "reading"  // reads wait, and blocks arrive
	StateStuck    State = "stuck"    // reads wait or something is wanted, and nothing arrives: see Why
	StateRefused  State = "refused"  // the metadata came and can't be used: see Why
)

// Stats never waits for the network. It is a second old at most while the
// torrent is warm.
func (t *Torrent) Stats() Stats {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	s := Stats{State: StateCold, SwarmSeeds: -1, SwarmLeeches: -1}
	if sw != nil {
		sw.asked.Store(true)
		if r := sw.report.Load(); r != nil {
			s = *r
		}
		s.Peers = int(sw.connected.Load())
	}
	s.Downloaded = t.counts.downloaded.Load()
	s.FromWeb = t.counts.web.Load()
	s.Uploaded = t.counts.uploaded.Load()
	s.Wasted = t.counts.wasted.Load()
	s.Unasked = t.counts.unasked.Load()
	s.Hedged = t.counts.hedged.Load()
	s.Reclaimed = t.counts.reclaimed.Load()
	s.Verified = t.counts.verified.Load()
	s.Failed = t.counts.failed.Load()
	s.Missed = t.missed.Load()
	if err := t.refused(); err != nil {
		s.State, s.Why = StateRefused, "its metadata can't be used: "+weir.ErrorText(err)
	}
	return s
}

// gauge measures what Stats tells of a warm torrent. It belongs to the owner.
type gauge struct {
	at        time.Time // of the last report
	down, up  int64     // totals then
	hedged    int64     // of the picker, counted already; so reclaimed
	reclaimed int64
	share     time.Time // when the availability was counted
	stuck     bool      // the log was told
	heard     time.Time // when nothing was wanted, or a block came
}

const (
	reportEvery = time.Second
	// availabilityEvery is how often copies are counted while somebody looks: it
	// takes a step for each piece and peer.
	availabilityEvery = 5 * time.Second
)

// tellStats makes a new report once a second, and tells the log when a read makes
// no progress, and when it does again.
func (s *swarm) tellStats(now time.Time) {
	g := &s.gauge
	passed := now.Sub(g.at)
	if passed < reportEvery {
		return
	}
	r := Stats{SwarmSeeds: -1, SwarmLeeches: -1}
	if last := s.report.Load(); last != nil {
		r = *last
	}
	down, up := s.t.counts.downloaded.Load(), s.t.counts.uploaded.Load()
	if !g.at.IsZero() {
		r.DownRate += (float64(down-g.down)/passed.Seconds() - r.DownRate) / 2
		r.UpRate += (float64(up-g.up)/passed.Seconds() - r.UpRate) / 2
		if r.DownRate < 1 {
			r.DownRate = 0
		}
		if r.UpRate < 1 {
			r.UpRate = 0
		}
	}
	s.tellCounts()
	arrived := down > g.down
	g.at, g.down, g.up = now, down, up

	r.Peers, r.Known = len(s.peers), s.book.Len()
	r.Seeds, r.Serving = 0, 0
	for _, p := range s.peers {
		if p.all || p.pk != nil && p.pk.HasEverything() {
			r.Seeds++
		}
		if p.unchoked {
			r.Serving++
		}
	}
	if s.pick != nil && s.asked.Swap(false) && now.Sub(g.share) >= availabilityEvery {
		g.share = now
		r.Availability = s.pick.DistributedCopies()
	}
	if s.search != nil {
		r.SwarmSeeds, r.SwarmLeeches, r.Trackers = s.trackerReport()
	}
	r.WebSeeds = s.web.report(now)
	f := s.facts(now, arrived, r.WebSeeds)
	r.State, r.Waiting, r.Waited = f.state(), f.waiting, f.waited
	r.Why = ""
	if r.State == StateStuck || r.State == StateMetadata {
		r.Why = f.why()
	}
	s.report.Store(&r)

	switch {
	case r.Why != "" && (f.waiting > 0 && f.waited > tellAfter || f.silent > tellAfter) && !g.stuck:
		g.stuck = true
		s.log.Warn("no progress", "why", r.Why)
	case g.stuck && (r.Why == "" || f.waiting == 0 && !f.wanted):
		g.stuck = false
		if f.waiting > 0 || f.wanted {
			s.log.Info("progress again")
		}
	}
}

// tellCounts adds what the picker has counted to the torrent's totals.
func (s *swarm) tellCounts() {
	if s.pick == nil {
		return
	}
	st, g := s.pick.Stats(), &s.gauge
	s.t.counts.hedged.Add(st.Hedged - g.hedged)
	s.t.counts.reclaimed.Add(st.Reclaimed - g.reclaimed)
	g.hedged, g.reclaimed = st.Hedged, st.Reclaimed
}

// tellAfter is how long a read may wait, or what is wanted may not come, before the
// log says so.
const tellAfter = 10 * time.Second

// facts gathers what there is to say about progress.
func (s *swarm) facts(now time.Time, arrived bool, web []WebSeed) progress {
	f := progress{
		metadata: s.t.meta.InMemory() != nil, arrived: arrived, peers: len(s.peers), known: s.book.Len(),
		dialing: s.book.Dialing(), lastDial: s.lastDial, piece: -1,
	}
	if s.pick == nil {
		f.waiting = s.inbox.Uses()
		f.waited = now.Sub(s.born)
	} else {
		f.wanted = s.pick.Busy()
	}
	if g := &s.gauge; arrived || !f.wanted || g.heard.IsZero() {
		g.heard = now
	} else {
		f.silent = now.Sub(g.heard)
	}
	for index, list := range s.waiters {
		for _, w := range list {
			f.waiting++
			if d := now.Sub(w.since); f.piece < 0 || d > f.waited {
				f.waited, f.piece = d, index
			}
		}
	}
	for _, p := range s.peers {
		if s.fetch != nil && s.fetch.Claimed(p) {
			f.withMetadata++
		}
		if p.pk != nil && (f.piece >= 0 && p.pk.HasPiece(f.piece) || f.piece < 0 && p.interested) {
			f.having++
			if p.unchoked {
				f.serving++
			}
		}
	}
	if s.fetch != nil {
		f.tooLarge, f.maxMetadata = s.fetch.TooLarge(), s.eng.opts.MaxMetadata
	}
	for _, d := range web {
		if d.Why != "" {
			f.webSeeds = append(f.webSeeds, d.Why)
		}
	}
	if s.search != nil {
		_, _, lines := s.trackerReport()
		f.trackers = lines
	}
	return f
}

// trackerReport returns the swarm's size by the trackers, -1 when not told, and a
// line for each tracker.
func (s *swarm) trackerReport() (seeds, leeches int, lines []string) {
	seeds, leeches = -1, -1
	for _, st := range s.search.Status() {
		seeds, leeches = max(seeds, st.Seeds), max(leeches, st.Leeches)
		switch {
		case st.Err != "":
			lines = append(lines, st.Tracker+": "+st.Err)
		case st.Answered.IsZero():
			lines = append(lines, st.Tracker+": no answer yet")
		default:
			lines = append(lines, st.Tracker+": "+count(st.Peers))
		}
	}
	return seeds, leeches, lines
}

// missed notes that a read is given up at its deadline, and why.
func (s *swarm) missed() {
	now := time.Now()
	f := s.facts(now, false, s.web.report(now))
	s.t.missed.Store(&Missed{At: now, Why: f.why()})
}
