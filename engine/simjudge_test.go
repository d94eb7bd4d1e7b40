package engine_test

import (
	"slices"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

func (w *simSwarm) want(r weir.Range) {
	first, end := w.c.Info().Pieces(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := first; i < end; i++ {
		w.wanted[i] = true
	}
}

// countMissing counts the pieces of a range that were missing when its read or window ended:
// what had come of them may be dropped, and fetched again for the next one.
func (m *simulation) countMissing(w *simSwarm, r weir.Range) {
	first, end := w.c.Info().Pieces(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := first; i < end; i++ {
		if !m.store.memStore.Has(weir.PieceID{Torrent: w.c.InfoHash(), Index: i}) {
			w.interrupted[i]++
		}
	}
}

// excuse returns why reads of a torrent may fail, "" if nothing excuses them.
func (m *simulation) excuse(w *simSwarm) string {
	honest := slices.ContainsFunc(w.Seeders, func(s simSeeder) bool { return s.Honest })
	switch {
	case !honest:
		return "no honest seeder"
	case !w.Peers && (w.NoTrack || w.Tracker != swarmtest.TrackerOK):
		return "no way to find the honest seeders"
	case m.script.Options.DownloadLimit > 0 && m.script.Options.DownloadLimit < 100_000, len(m.script.Limits) > 0:
		return "a rate limit"
	case m.script.Store.RecordFails > 0, m.script.Store.ReadFails > 0:
		return "the disk fails"
	}
	return ""
}

// allowedTime returns how long a read that must succeed may take in this script.
func (m *simulation) allowedTime(w *simSwarm) time.Duration {
	var slowest int64 // of the links of honest seeders, and of ours
	for _, s := range w.Seeders {
		if s.Honest && (slowest == 0 || s.Link.BytesPerSec < slowest) {
			slowest = s.Link.BytesPerSec
		}
	}
	if limit := m.script.Options.DownloadLimit; limit > 0 {
		slowest = min(slowest, limit)
	}
	var content int64 // it may stand behind all else that is wanted
	for _, o := range m.torrents {
		content += o.c.Info().Length
	}
	return simPeerDelay + m.store.longestDelay() + 2*time.Duration(float64(content)/float64(slowest)*float64(time.Second))
}

// simPeerDelay is how much peers that don't answer, lie or are slow may delay a read: a few
// dials and silences of seconds each.
const simPeerDelay = 20 * time.Second

// check looks at what is left, and at what was fetched.
func (m *simulation) check() {
	if left := m.e.Accounts(); left != (engine.Accounts{}) {
		m.t.Errorf("after the end: %+v", left)
	}
	if len(m.store.wrong) > 0 {
		m.t.Errorf("the Store was given what is wrong: %v", m.store.wrong)
	}
	m.t.Logf("reads: %v", m.outcomes)
	for _, w := range m.torrents {
		for i, s := range w.seeders {
			for _, v := range s.Violations() {
				// Of who has a part, what goes with the handshake may be guessed wrong.
				if w.Seeders[i].PartPerMille == 1000 || !strings.Contains(v, "never had") {
					m.t.Errorf("%s: violation of the protocol: %s", w.Content.Name, v)
				}
			}
		}
		for i := range w.asked {
			if !w.wanted[i] {
				m.t.Errorf("%s: piece %d was asked for, which nobody wanted", w.Content.Name, i)
			}
		}
		m.checkBytes(w)
	}
}

// checkBytes tells whether as much came as the script explains: each piece once, and
// again when the Store lost it, when what wanted it ended before it had come, when it
// was wrong, and a block that was asked of two peers.
func (m *simulation) checkBytes(w *simSwarm) {
	var s engine.Stats // of all the lives of the torrent
	for _, tor := range w.all {
		one := tor.Stats()
		s.Downloaded += one.Downloaded
		s.Unasked += one.Unasked
		s.Failed += one.Failed
		s.Hedged += one.Hedged
	}
	var asked, cut int64
	for i := range w.asked {
		asked += w.c.Info().PieceRange(i).Len()
		cut += w.interrupted[i] * w.c.Info().PieceRange(i).Len()
	}
	came, blocks := s.Downloaded, asked/weir.BlockBytes
	liars, again, pushers := len(w.Attacks), false, len(w.Attacks) > 0
	for _, p := range w.Seeders {
		if p.Faults.Corrupt != nil {
			liars++
		}
		again = again || p.Faults.NoFast || p.Link.BytesPerSec < simSlowRate
		pushers = pushers || p.Faults.Unasked
	}
	switch {
	case pushers:
		came -= s.Unasked
	case !again && s.Unasked > 0:
		m.t.Errorf("%s: %d bytes came that nobody was asked for", w.Content.Name, s.Unasked)
	}
	// A piece is wrong once with blocks of several peers, and once more for each liar
	// that gives all of it.
	if most := int64((liars + min(liars, 1)) * len(w.asked)); s.Failed > most {
		m.t.Errorf("%s: %d pieces were wrong, %d liars explain %d", w.Content.Name, s.Failed, liars, most)
	}
	lives := int64(len(w.all) + w.reads) // a swarm may end after each read
	if most := lives*64 + (blocks+cut/weir.BlockBytes)/50; s.Hedged > most {
		m.t.Errorf("%s: %d blocks were asked of two peers, at most %d may be", w.Content.Name, s.Hedged, most)
	}
	most := asked + cut + m.store.lostBytes(w.c.InfoHash()) + s.Failed*w.Content.PieceLength + s.Hedged*weir.BlockBytes
	if again {
		most *= 2
	}
	m.t.Logf("%s: %d bytes of pieces asked for, %d came, %d explained", w.Content.Name, asked, came, most)
	if came > most {
		m.t.Errorf("%s: %d bytes came, the script explains %d: %d of pieces asked for, %d cut short, %d lost, %d pieces wrong, %d blocks hedged",
			w.Content.Name, came, most, asked, cut, m.store.lostBytes(w.c.InfoHash()), s.Failed, s.Hedged)
	}
}

// simSlowRate is the rate, in bytes per second, below which a peer may be asked again for
// what is on its line: a window of blocks takes a minute. So may one without BEP 6.
const simSlowRate = 6000
