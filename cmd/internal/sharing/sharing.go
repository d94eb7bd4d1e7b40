// Package sharing decides for each torrent of a mount whether it is given to whoever asks
// while nothing here uses it, by the mount's policy and the torrent's own settings, and
// counts over all runs what each gave and got. How a torrent is announced is the engine's.
package sharing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/catalogue"
)

const (
	lookEvery = time.Minute     // at ratios and times
	keepEvery = 5 * time.Minute // the totals
)

// Torrent is one torrent of the mount. Its methods wait for nothing.
type Torrent interface {
	InfoHash() weir.InfoHash
	// Exchanged returns the bytes of blocks that it gave and got in this run.
	Exchanged() (uploaded, downloaded int64)
	// Share tells what a policy looks at, Totals apart, and the torrent's own settings.
	Share() (f Facts, own *catalogue.Sharing)
	// Offer says whether it is given to whoever asks.
	Offer(on bool)
}

// Totals keep the totals from one run to the next.
type Totals interface {
	Totals(log *slog.Logger) (map[weir.InfoHash]catalogue.Totals, error)
	PutTotals(all map[weir.InfoHash]catalogue.Totals, changed []weir.InfoHash) error
}

var _ Totals = (*catalogue.Catalogue)(nil)

// Sharing is that of one mount. It is safe for concurrent use.
type Sharing struct {
	policy Policy
	keep   Totals
	log    *slog.Logger

	mu     sync.Mutex
	shared map[weir.InfoHash]*shared
	gone   []weir.InfoHash                    // removed, and perhaps still kept
	former map[weir.InfoHash]catalogue.Totals // of former runs, of torrents that were not added yet
}

// shared is a torrent that is added.
type shared struct {
	t       Torrent
	former  catalogue.Totals // before this run
	seeded  time.Duration    // in this one
	looked  time.Time
	seeding bool             // since it was looked at last
	kept    catalogue.Totals // as they are kept
}

func (s *shared) totals() catalogue.Totals {
	up, down := s.t.Exchanged()
	return s.former.Add(catalogue.Totals{Uploaded: up, Downloaded: down, Seeded: s.seeded})
}

// Open reads the totals of former runs.
func Open(p Policy, keep Totals, log *slog.Logger) (*Sharing, error) {
	former, err := keep.Totals(log)
	if err != nil {
		return nil, err
	}
	return &Sharing{policy: p, keep: keep, log: log, shared: map[weir.InfoHash]*shared{}, former: former}, nil
}

// Add adds a torrent, and says whether it is given to whoever asks.
func (s *Sharing) Add(t Torrent) {
	s.mu.Lock()
	former := s.former[t.InfoHash()]
	delete(s.former, t.InfoHash())
	s.shared[t.InfoHash()] = &shared{t: t, former: former, kept: former}
	s.mu.Unlock()
	s.Look(t, time.Now())
}

// Remove forgets a torrent and its totals.
func (s *Sharing) Remove(ih weir.InfoHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shared, ih)
	s.gone = append(s.gone, ih)
}

// Of returns what a torrent gave and got in all runs.
func (s *Sharing) Of(ih weir.InfoHash) catalogue.Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.shared[ih]; one != nil {
		return one.totals()
	}
	return catalogue.Totals{}
}

// Policy returns the policy for a torrent with settings of its own.
func (s *Sharing) Policy(own *catalogue.Sharing) Policy { return s.policy.With(own) }

// Look decides again whether a torrent is given to whoever asks: something changed.
func (s *Sharing) Look(t Torrent, now time.Time) {
	f, own := t.Share()
	s.mu.Lock()
	one := s.shared[t.InfoHash()]
	if one == nil || one.t != t {
		s.mu.Unlock()
		return
	}
	if one.seeding {
		one.seeded += now.Sub(one.looked)
	}
	f.Totals = one.totals()
	offers := s.policy.With(own).Offers(f)
	one.looked, one.seeding = now, offers && f.Complete
	s.mu.Unlock()
	t.Offer(offers)
}

// Run looks at all torrents and keeps their totals, now and then, until ctx ends.
func (s *Sharing) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	kept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.lookAtAll(time.Now())
		if now := time.Now(); now.Sub(kept) >= keepEvery {
			kept = now
			s.Keep()
		}
	}
}

func (s *Sharing) lookAtAll(now time.Time) {
	s.mu.Lock()
	list := make([]Torrent, 0, len(s.shared))
	for _, one := range s.shared {
		list = append(list, one.t)
	}
	s.mu.Unlock()
	for _, t := range list {
		s.Look(t, now)
	}
}

// Keep keeps the totals for the next run. Seeded time alone is kept when an hour has come
// together, or something else is.
func (s *Sharing) Keep() { s.write(time.Hour) }

// Close keeps all, once no torrent gives or gets anything any more.
func (s *Sharing) Close() {
	s.lookAtAll(time.Now())
	s.write(time.Second)
}

func (s *Sharing) write(worth time.Duration) {
	s.mu.Lock()
	all := make(map[weir.InfoHash]catalogue.Totals, len(s.shared))
	changed := s.gone
	s.gone = nil
	for ih, one := range s.shared {
		t := one.totals()
		all[ih] = t
		if t.Uploaded != one.kept.Uploaded || t.Downloaded != one.kept.Downloaded || t.Seeded-one.kept.Seeded >= worth {
			changed = append(changed, ih)
			one.kept = t
		}
	}
	for ih, t := range s.former { // not added yet
		all[ih] = t
	}
	s.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	if err := s.keep.PutTotals(all, changed); err != nil {
		s.log.Warn("what torrents gave and got is not kept in the cache", "err", err)
	}
}
