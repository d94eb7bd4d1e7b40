package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/link"
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

// reporter measures what Stats tells of a warm torrent. It belongs to the owner, but for
// the report and what is atomic.
type reporter struct {
	s      *swarm
	report atomic.Pointer[Stats]
	asked  atomic.Bool // for the report, since the last one
	paused atomic.Bool // not all is held, and nothing is wanted (BEP 21)

	at        time.Time // of the last report
	down, up  int64     // totals then
	hedged    int64     // of the picker, counted already; so reclaimed
	reclaimed int64
	copiesAt  time.Time // when the availability was counted
	stuck     bool      // it was logged
	lastBlock time.Time // when nothing was wanted, or a block came
}

const (
	reportEvery = time.Second
	// availabilityEvery is how often copies are counted while somebody looks: it
	// takes a step for each piece and peer.
	availabilityEvery = 5 * time.Second
)

// update makes a new report once a second, and logs when a read makes
// no progress, and when it does again.
func (g *reporter) update(now time.Time) {
	s := g.s
	passed := now.Sub(g.at)
	if passed < reportEvery {
		return
	}
	r := Stats{SwarmSeeds: -1, SwarmLeeches: -1}
	if last := g.report.Load(); last != nil {
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
	g.count()
	arrived := down > g.down
	g.at, g.down, g.up = now, down, up

	r.Peers, r.Known = len(s.peers), s.conns.Known()
	r.Seeds, r.Serving = 0, 0
	for _, p := range s.peers {
		if p.claims.All || p.pk != nil && p.pk.HasEverything() {
			r.Seeds++
		}
		if p.unchoked {
			r.Serving++
		}
	}
	if s.pick != nil && g.asked.Swap(false) && now.Sub(g.copiesAt) >= availabilityEvery {
		g.copiesAt = now
		r.Availability = s.pick.DistributedCopies()
	}
	r.SwarmSeeds, r.SwarmLeeches, r.Trackers = g.trackers()
	r.WebSeeds = s.web.report(now)
	f := g.facts(now, arrived, r.WebSeeds)
	r.State, r.Waiting, r.Waited = f.state(), f.waiting, f.waited
	r.Why = ""
	if r.State == StateStuck || r.State == StateMetadata {
		r.Why = f.why()
	}
	g.report.Store(&r)

	switch {
	case r.Why != "" && (f.waiting > 0 && f.waited > stuckAfter || f.silent > stuckAfter) && !g.stuck:
		g.stuck = true
		s.log.Warn("no progress", "why", r.Why)
	case g.stuck && (r.Why == "" || f.waiting == 0 && !f.wanted):
		g.stuck = false
		if f.waiting > 0 || f.wanted {
			s.log.Info("progress again")
		}
	}
}

// count adds what the picker has counted to the torrent's totals.
func (g *reporter) count() {
	s := g.s
	if s.pick == nil {
		return
	}
	st := s.pick.Stats()
	s.t.counts.hedged.Add(st.Hedged - g.hedged)
	s.t.counts.reclaimed.Add(st.Reclaimed - g.reclaimed)
	g.hedged, g.reclaimed = st.Hedged, st.Reclaimed
}

// stuckAfter is how long a read may wait, or what is wanted may not come, before the
// log says so.
const stuckAfter = 10 * time.Second

// facts gathers what there is to say about progress.
func (g *reporter) facts(now time.Time, arrived bool, web []WebSeed) progress {
	s := g.s
	f := progress{
		metadata: s.t.meta.InMemory() != nil, arrived: arrived, peers: len(s.peers), known: s.conns.Known(),
		dialing: s.conns.Dialing(), lastDial: s.conns.LastDial(), piece: -1,
	}
	if s.pick == nil {
		f.waiting = s.inbox.Uses()
		f.waited = now.Sub(s.born)
	} else {
		f.wanted = s.pick.Busy()
	}
	if arrived || !f.wanted || g.lastBlock.IsZero() {
		g.lastBlock = now
	} else {
		f.silent = now.Sub(g.lastBlock)
	}
	if n, waited, piece := s.reads.longest(now); n > 0 {
		f.waiting, f.waited, f.piece = f.waiting+n, waited, piece
	}
	for _, p := range s.peers {
		if s.metadata.claimed(p) {
			f.withMetadata++
		}
		if p.pk != nil && (f.piece >= 0 && p.pk.HasPiece(f.piece) || f.piece < 0 && p.interested) {
			f.having++
			if p.unchoked {
				f.serving++
			}
		}
	}
	f.tooLarge, f.maxMetadata = s.metadata.tooLarge(), s.eng.opts.MaxMetadata
	for _, d := range web {
		if d.Why != "" {
			f.webSeeds = append(f.webSeeds, d.Why)
		}
	}
	_, _, f.trackers = g.trackers()
	return f
}

// trackers returns the swarm's size by the trackers, -1 when not told, and a
// line for each tracker.
func (g *reporter) trackers() (seeds, leeches int, lines []string) {
	return trackerLines(g.s.t.announce.Presence(g.s.t.ih).Status())
}

func trackerLines(trackers []discover.TrackerStatus) (seeds, leeches int, lines []string) {
	seeds, leeches = -1, -1
	for _, st := range trackers {
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
func (g *reporter) missed() {
	now := time.Now()
	f := g.facts(now, false, g.s.web.report(now))
	g.s.t.counts.missed.Store(&Missed{At: now, Why: f.why()})
}

// progress is what there is to know about why reads wait. What follows from it is
// pure.
type progress struct {
	metadata bool          // it is known
	wanted   bool          // something is
	silent   time.Duration // since something is wanted and the last block came

	waiting int           // reads
	waited  time.Duration // the longest
	piece   int           // that this one lacks; -1 when none waits
	arrived bool          // blocks came since the last report

	peers        int // connected
	withMetadata int // of these, who offer the metadata
	tooLarge     int // what they say that it has, in bytes, if that is more than the bound
	maxMetadata  int64
	having       int // of these, who have the piece, or something that is wanted
	serving      int // of these, who serve us
	known        int // addresses
	dialing      int // of these, being dialed
	lastDial     error
	trackers     []string // a line for each
	webSeeds     []string // what went wrong with each
}

func (f *progress) state() State {
	switch {
	case !f.metadata:
		return StateMetadata
	case f.waiting > 0 && !f.arrived && f.waited > reportEvery, f.wanted && f.silent > stuckAfter:
		return StateStuck
	case f.waiting > 0:
		return StateReading
	case f.wanted:
		return StateFetching
	}
	return StateIdle
}

// why returns a sentence that says what is missing, for a torrent that makes no
// progress.
func (f *progress) why() string {
	if len(f.webSeeds) == 0 {
		return f.whyPeers()
	}
	return f.whyPeers() + "; web seeds: " + strings.Join(f.webSeeds, "; ")
}

// whyPeers is why, as far as peers go.
func (f *progress) whyPeers() string {
	what := "what is wanted"
	if f.piece >= 0 {
		what = fmt.Sprintf("piece %d", f.piece)
	}
	switch {
	case f.peers == 0 && f.known == 0:
		if len(f.trackers) > 0 {
			return "no peer is known; " + strings.Join(f.trackers, "; ")
		}
		return "no peer is known, and there is no tracker to ask"
	case f.peers == 0 && f.dialing > 0 && f.lastDial == nil:
		return fmt.Sprintf("connecting to %s", count(f.known))
	case f.peers == 0:
		s := fmt.Sprintf("%s known, none connected", count(f.known))
		if f.lastDial != nil {
			s += ": the last one " + dialTrouble(f.lastDial)
		}
		return s
	case !f.metadata && f.withMetadata == 0 && f.tooLarge > 0:
		return fmt.Sprintf("peers say that the metadata has %.1f MiB, and --max-metadata allows %.1f MiB",
			float64(f.tooLarge)/(1<<20), float64(f.maxMetadata)/(1<<20))
	case !f.metadata && f.withMetadata == 0:
		return fmt.Sprintf("%s connected, none has the metadata", count(f.peers))
	case !f.metadata:
		return fmt.Sprintf("the metadata is on its way from %s", count(f.withMetadata))
	case f.having == 0:
		return fmt.Sprintf("%s connected, none has %s", count(f.peers), what)
	case f.serving == 0:
		return fmt.Sprintf("%s with %s connected, waiting for a turn (choked)", count(f.having), what)
	}
	return fmt.Sprintf("%s with %s connected, none has sent anything lately", count(f.serving), what)
}

// dialTrouble says in words what came of dialing a peer.
func dialTrouble(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "can't be reached (no route)"
	case errors.Is(err, link.ErrHungUp):
		return "hung up in the handshake"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "did not answer"
	}
	return "failed: " + weir.ErrorText(err)
}

// count returns "no peers", "1 peer", "2 peers".
func count(n int) string {
	switch n {
	case 0:
		return "no peers"
	case 1:
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}
