package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// fetchTick is how often the progress of a fetch is looked at.
const fetchTick = 200 * time.Millisecond

// Fetch implements control.Mount.
func (d *Daemon) Fetch(ctx context.Context, p string, progress func(api.Progress)) error {
	targets, err := d.resolve(ctx, p, func(e *entry) {
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
	s := d.cache.Stat()
	if room := s.LimitBytes - s.PinnedBytes; total-held > room {
		return fmt.Errorf("%s are missing, and the cache may hold %s besides what is pinned: mount with a larger --cache-size: %w",
			humanize.IBytes(uint64(total-held)), humanize.IBytes(uint64(max(room, 0))), weir.ErrNoSpace)
	}
	for _, t := range targets {
		if t.held() == t.bytes {
			continue
		}
		w := t.NewBackgroundWant()
		defer w.Close()
		w.Set(t.ranges)
	}
	return d.follow(ctx, targets, progress)
}

// follow tells progress until all is held.
func (d *Daemon) follow(ctx context.Context, targets []*target, progress func(api.Progress)) error {
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
			if d.byHash(t.InfoHash()) != t.entry {
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
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
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
		share := min(passed/2, 1) // two seconds count most
		m.rate += (float64(bytes-m.bytes)/passed - m.rate) * share
	}
	m.at, m.bytes = now, bytes
	return int64(max(m.rate, 0))
}

// Pin implements control.Mount. It never waits: what is missing is fetched behind, and
// what is unknown without metadata pinned when that has come.
func (d *Daemon) Pin(ctx context.Context, p string) (api.Kept, error) {
	if err := d.pinTurn.take(ctx); err != nil {
		return api.Kept{}, err
	}
	defer d.pinTurn.give()
	targets, unknown, inside, err := d.resolveKnown(p, d.locateSelected)
	if err != nil {
		return api.Kept{}, err
	}
	bytes, err := d.pin(targets)
	if err != nil {
		return api.Kept{}, err
	}
	for _, e := range unknown {
		if err := d.pinLater(e, inside); err != nil {
			return api.Kept{}, err
		}
	}
	return api.Kept{Bytes: bytes, Pending: len(unknown)}, nil
}

// pin pins all or nothing, and returns how many bytes more that are. The caller has
// the turn to pin.
func (d *Daemon) pin(targets []*target) (int64, error) {
	before := d.cache.Stat().PinnedBytes
	type pinned struct {
		t   *target
		run [2]int
	}
	var done []pinned
	for _, t := range targets {
		had := d.cache.Pinned(t.InfoHash())
		for _, run := range t.runs() {
			if err := d.cache.Pin(t.info, run[0], run[1]); err != nil {
				// All or nothing; what was pinned before stays so.
				for _, u := range done {
					err = errors.Join(err, d.cache.Unpin(u.t.InfoHash(), u.run[0], u.run[1]))
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
	d.lookAtPins()
	return d.cache.Stat().PinnedBytes - before, nil
}

// outside returns what of a run none of the others, which are in order, has.
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
func (d *Daemon) Unpin(ctx context.Context, p string) (int64, error) {
	if err := d.pinTurn.take(ctx); err != nil {
		return 0, err
	}
	defer d.pinTurn.give()
	targets, unknown, inside, err := d.resolveKnown(p, d.locate)
	if err != nil {
		return 0, err
	}
	for _, e := range unknown {
		if err := d.unpinLater(e, inside); err != nil {
			return 0, err
		}
	}
	before := d.cache.Stat().PinnedBytes
	for _, t := range targets {
		for _, run := range t.runs() {
			if err := d.cache.Unpin(t.InfoHash(), run[0], run[1]); err != nil {
				return 0, err
			}
		}
		t.pinsChanged.Store(true)
	}
	d.lookAtPins()
	return before - d.cache.Stat().PinnedBytes, nil
}

// Evict implements control.Mount. It never waits.
func (d *Daemon) Evict(_ context.Context, p string) (int64, error) {
	targets, _, _, err := d.resolveKnown(p, d.locate) // nothing is held of the others
	if err != nil {
		return 0, err
	}
	freed := int64(0)
	for _, t := range targets {
		before := t.held()
		var pieces []int
		for _, run := range t.runs() {
			for i := run[0]; i < run[1]; i++ {
				pieces = append(pieces, i)
			}
		}
		if err := d.cache.Evict(t.InfoHash(), pieces); err != nil {
			return freed, err
		}
		freed += before - t.held()
	}
	return freed, nil
}

// lookAtPins has what is pinned and missing fetched, where that has changed.
func (d *Daemon) lookAtPins() {
	for _, e := range d.list() {
		if e.pinsChanged.Swap(false) {
			d.wantPins(e)
		}
	}
}

// wantPins sets what is wanted for the sake of a torrent's pins. One at a time, so
// that what is wanted in the end follows from what is pinned in the end.
func (d *Daemon) wantPins(e *entry) {
	e.pinning.Lock()
	defer e.pinning.Unlock()
	runs := d.cache.Pinned(e.InfoHash())
	var missing []weir.Range
	if len(runs) > 0 {
		if info := e.Info(); info != nil {
			held := d.cache.Held(e.InfoHash(), info.NumPieces())
			for _, run := range runs {
				for i := run[0]; i < min(run[1], len(held)); i++ {
					if r := info.PieceRange(i); !held[i] && !r.Empty() {
						missing = append(missing, r)
					}
				}
			}
		}
	}
	d.mu.Lock()
	w := e.pins
	if w == nil && len(missing) > 0 {
		w = e.NewBackgroundWant()
		e.pins = w
	}
	if len(missing) == 0 {
		e.pins = nil
	}
	d.mu.Unlock()
	switch {
	case w == nil:
	case len(missing) == 0:
		w.Close()
	default:
		w.Set(missing)
	}
}
