package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/fs"
)

// content fetches, pins, unpins and evicts what is named by paths.
type content struct {
	torrents   *torrents
	cache      *cache.Cache
	fs         *fs.FS
	background *background
	log        *slog.Logger

	// pinning is held by whoever pins or unpins. It is taken before the catalogue's.
	pinning token
}

// fetchTick is how often the progress of a fetch is reported.
const fetchTick = 200 * time.Millisecond

// Fetch implements control.Mount.
func (c *content) Fetch(ctx context.Context, p string, progress func(api.Progress)) error {
	targets, err := c.resolve(ctx, p, func(e *entry) {
		progress(api.Progress{Wait: fmt.Sprintf("waiting for the metadata of %s", e.path())})
	})
	if err != nil {
		return err
	}
	var total, held int64
	for _, t := range targets {
		total += t.bytes
		held += t.held()
	}
	s := c.cache.Stat()
	if room := s.LimitBytes - s.PinnedBytes; total-held > room {
		return weir.Errorf(weir.ErrNoSpace, "%s are missing, and the cache may hold %s besides what is pinned: mount with a larger --cache-size",
			humanize.IBytes(uint64(total-held)), humanize.IBytes(uint64(max(room, 0))))
	}
	for _, t := range targets {
		if t.held() == t.bytes {
			continue
		}
		w := t.NewBackgroundWant()
		defer w.Close()
		w.Set(t.ranges)
	}
	return c.follow(ctx, targets, progress)
}

// follow reports progress until all is held.
func (c *content) follow(ctx context.Context, targets []*target, progress func(api.Progress)) error {
	tick := time.NewTicker(fetchTick)
	defer tick.Stop()
	began := time.Now()
	var first, total int64
	for _, t := range targets {
		first += t.held()
		total += t.bytes
	}
	var rate meanRate
	for {
		p := api.Progress{TotalBytes: total}
		for _, t := range targets {
			if c.torrents.byHash(t.InfoHash()) != t.entry {
				return fmt.Errorf("%s: %w", t.path(), weir.ErrRemoved)
			}
			held := t.held()
			p.HaveBytes += held
			if held == t.bytes {
				continue
			}
			s := t.Stats()
			p.Peers += s.Peers
			if why := s.Why; why != "" {
				p.Wait = why
			} else if s.Peers == 0 && time.Since(began) > 5*time.Second {
				p.Wait = "no peer is connected"
			}
		}
		p.Rate = rate.add(time.Now(), p.HaveBytes-first)
		progress(p)
		if p.HaveBytes == p.TotalBytes {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.background.ctx.Done():
			return context.Cause(c.background.ctx)
		}
	}
}

// meanRate is a rate over the last seconds.
type meanRate struct {
	at    time.Time
	bytes int64
	rate  float64
}

func (m *meanRate) add(now time.Time, bytes int64) int64 {
	if passed := now.Sub(m.at).Seconds(); !m.at.IsZero() && passed > 0 {
		share := min(passed/2, 1) // an average over about two seconds
		m.rate += (float64(bytes-m.bytes)/passed - m.rate) * share
	}
	m.at, m.bytes = now, bytes
	return int64(max(m.rate, 0))
}

// Evict implements control.Mount. It never waits.
func (c *content) Evict(_ context.Context, p string) (int64, error) {
	targets, _, _, err := c.resolveKnown(p, c.locate) // nothing is held of the others
	if err != nil {
		return 0, err
	}
	freed := int64(0)
	for _, t := range targets {
		before := t.held()
		var pieces []int
		runs := t.runs()
		for _, number := range c.cache.Numbers(t.InfoHash()) {
			piece, _, single := t.info.BlockOf(number)
			if !single {
				piece = number
			}
			if slices.ContainsFunc(runs, func(run [2]int) bool { return run[0] <= piece && piece < run[1] }) {
				pieces = append(pieces, number)
			}
		}
		if err := c.cache.Evict(t.InfoHash(), pieces); err != nil {
			return freed, err
		}
		freed += before - t.held()
	}
	return freed, nil
}

// Pin implements control.Mount. It never waits: missing pieces are fetched in the
// background, and paths in torrents without metadata are pinned once that arrives.
func (c *content) Pin(ctx context.Context, p string) (api.Kept, error) {
	if err := c.pinning.acquire(ctx); err != nil {
		return api.Kept{}, err
	}
	defer c.pinning.release()
	targets, unknown, inside, err := c.resolveKnown(p, c.locateSelected)
	if err != nil {
		return api.Kept{}, err
	}
	bytes, err := c.pin(targets)
	if err != nil {
		return api.Kept{}, err
	}
	for _, e := range unknown {
		if err := c.addPendingPin(e, inside); err != nil {
			return api.Kept{}, err
		}
	}
	return api.Kept{Bytes: bytes, Pending: len(unknown)}, nil
}

// pin pins all or nothing, and returns how many bytes that adds. The caller holds
// pinning.
func (c *content) pin(targets []*target) (int64, error) {
	before := c.cache.Stat().PinnedBytes
	type pinned struct {
		t   *target
		run [2]int
	}
	var done []pinned
	for _, t := range targets {
		had := c.cache.Pinned(t.InfoHash())
		for _, run := range t.runs() {
			if err := c.cache.Pin(t.info, run[0], run[1]); err != nil {
				// All or nothing; what was pinned before stays so.
				for _, u := range done {
					err = errors.Join(err, c.cache.Unpin(u.t.InfoHash(), u.run[0], u.run[1]))
				}
				if errors.Is(err, weir.ErrNoSpace) {
					err = fmt.Errorf("%w: mount with a larger --cache-size, or unpin something", err)
				}
				return 0, err
			}
			for _, gap := range outside(run, had) {
				done = append(done, pinned{t, gap})
			}
		}
		t.pinsChanged.Store(true)
	}
	c.refreshPins()
	return c.cache.Stat().PinnedBytes - before, nil
}

// outside returns the parts of a run that none of the others covers; they are sorted.
func outside(run [2]int, others [][2]int) [][2]int {
	var gaps [][2]int
	at := run[0]
	for _, o := range others {
		if o[0] > at {
			gaps = append(gaps, [2]int{at, min(o[0], run[1])})
		}
		if at = max(at, o[1]); at >= run[1] {
			return gaps
		}
	}
	return append(gaps, [2]int{at, run[1]})
}

// Unpin implements control.Mount. It never waits.
func (c *content) Unpin(ctx context.Context, p string) (int64, error) {
	if err := c.pinning.acquire(ctx); err != nil {
		return 0, err
	}
	defer c.pinning.release()
	targets, unknown, inside, err := c.resolveKnown(p, c.locate)
	if err != nil {
		return 0, err
	}
	for _, e := range unknown {
		if err := c.dropPendingPins(e, inside); err != nil {
			return 0, err
		}
	}
	before := c.cache.Stat().PinnedBytes
	for _, t := range targets {
		for _, run := range t.runs() {
			if err := c.cache.Unpin(t.InfoHash(), run[0], run[1]); err != nil {
				return 0, err
			}
		}
		t.pinsChanged.Store(true)
	}
	c.refreshPins()
	return before - c.cache.Stat().PinnedBytes, nil
}

// refreshPins updates the wants of torrents whose pins, or pinned pieces, have changed.
func (c *content) refreshPins() {
	for _, e := range c.torrents.list() {
		if e.pinsChanged.Swap(false) {
			c.wantPins(e)
		}
	}
}

// wantPins wants the missing pinned pieces of a torrent. It runs once at a time, so that
// the last want follows from the last pins.
func (c *content) wantPins(e *entry) {
	defer sharedEntry{e, c.torrents}.look()
	e.pinning.Lock()
	defer e.pinning.Unlock()
	runs := c.cache.Pinned(e.InfoHash())
	var missing []weir.Range
	if len(runs) > 0 {
		if info := e.Info(); info != nil {
			held := e.store.Held(e.InfoHash(), info.NumPieces())
			for _, run := range runs {
				for i := run[0]; i < min(run[1], len(held)); i++ {
					if r := info.PieceRange(i); !held[i] && !r.Empty() {
						missing = append(missing, r)
					}
				}
			}
		}
	}
	c.torrents.mu.Lock()
	w := e.pins
	if w == nil && len(missing) > 0 {
		w = e.NewBackgroundWant()
		e.pins = w
	}
	if len(missing) == 0 {
		e.pins = nil
	}
	c.torrents.mu.Unlock()
	switch {
	case w == nil:
	case len(missing) == 0:
		w.Close()
	default:
		w.Set(missing)
	}
}
