package cache

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

const (
	// A segment takes 1/segmentShare of the budget, within these bounds: small
	// enough that dropping one frees little more than is needed, large enough that
	// they stay few.
	segmentShare    = 32
	minSegmentBytes = 2 << 20
	maxSegmentBytes = 1 << 30

	// maxSegments is where small ones (many short runs leave many) are merged.
	maxSegments = 8 * segmentShare

	// fullAgain is for how long the disk must have had room before the log is told
	// again that it is full: while something else fills it, room comes and goes.
	fullAgain = time.Minute
)

// room returns the newest segment of a class, with room for a piece of n bytes;
// with evict it may drop others for that.
func (w *writer) room(to policy.Class, n int64, evict bool) (*volume, error) {
	for try := 0; ; try++ {
		v, err := w.tryRoom(to, n, evict)
		if err == nil {
			return v, nil
		}
		// The budget had room and the disk has not: live within what we have.
		if !errors.Is(err, weir.ErrNoSpace) || !evict || try > 0 || !w.dropOne(hotHalf, true) {
			return nil, w.reportFull(err)
		}
		wait(&w.removal)
	}
}

// reportFull passes an error on, and logs once that the disk is full if it says so.
func (w *writer) reportFull(err error) error {
	if disk.IsFull(err) {
		if time.Since(w.full) > fullAgain {
			w.log.Warn("the disk is full: the cache stops growing", "dir", w.folder.dir, "err", err)
		}
		w.full = time.Now()
	}
	return err
}

func (w *writer) tryRoom(to policy.Class, n int64, evict bool) (*volume, error) {
	v := w.active[to]
	if v != nil && v.Fits(n, 0) {
		return v, nil
	}
	if v != nil {
		w.retire(to)
	}
	// Where the disk is short of room, segments are as small as with such a budget.
	avail, _, err := disk.Free(w.folder.dir)
	if err != nil {
		return nil, err
	}
	bytes := max(minSegmentBytes, min(w.segmentBytes(), (avail-w.keepFree())/4))
	capacity := segment.Capacity(bytes, n)
	if limit := w.held.limit.Load(); capacity > limit {
		return nil, weir.Errorf(weir.ErrNoSpace, "a piece of %d bytes needs more than the cache may hold, %d bytes", n, limit)
	}
	if evict {
		w.merge()
		if err := w.makeRoom(capacity); err != nil {
			return nil, err
		}
		if w.active[to] != nil { // pieces that stay moved and started it
			return w.tryRoom(to, n, evict)
		}
	}
	if err := w.folder.look(); err != nil { // nothing is made in the folder of another
		return nil, err
	}
	s, err := segment.Create(w.root, w.nextSeq, to, capacity)
	w.nextSeq++
	if err != nil {
		return nil, err
	}
	v = &volume{Segment: s, disk: s.Size()}
	w.active[to] = v
	w.held.add(v)
	return v, nil
}

func (w *writer) segmentBytes() int64 {
	return max(minSegmentBytes, min(maxSegmentBytes, w.held.limit.Load()/segmentShare))
}

// retire ends writing to the newest segment of a class; the next piece of it
// starts another. Sealing, which waits for the disk, goes on in the background, one
// at a time: a writer that is faster than the disk waits here.
func (w *writer) retire(which policy.Class) {
	v := w.active[which]
	if v == nil {
		return
	}
	w.active[which] = nil
	w.sealing.Lock()
	go func() {
		defer w.sealing.Unlock()
		w.seal(v)
	}()
}

// retireAll retires the newest of all classes, and returns when they are sealed.
func (w *writer) retireAll() {
	for _, which := range policy.Classes {
		w.retire(which)
	}
	wait(&w.sealing)
}

// seal closes a segment. The caller holds sealing.
func (w *writer) seal(v *volume) {
	prints := v.prints.Sorted() // nothing is added any more
	if err := v.Seal(w.held.namesIn(v), prints); err != nil {
		w.log.Warn("segment not sealed in good order", "err", err)
	}
	n := v.Size()
	w.held.mu.Lock()
	v.disk, v.sealed, v.prints = n, true, prints
	w.held.mu.Unlock()
}

// syncOpened syncs, in the background, what Open sealed because weir had been killed.
func (w *writer) syncOpened() {
	opened := slices.DeleteFunc(slices.Clone(w.held.volumes), func(v *volume) bool { return v.Synced.Load() > 0 })
	w.sealing.Lock()
	go func() {
		defer w.sealing.Unlock()
		for _, v := range opened {
			if err := v.Sync(math.MaxInt64); err != nil && !errors.Is(err, os.ErrNotExist) { // dropped meanwhile
				w.log.Warn("segment not synced", "err", err)
			}
		}
	}()
}

// wait waits for what goes on in the background: sealing, or the removal of what was
// dropped, but for what readers are in.
func wait(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

// makeRoom drops segments until delta more bytes fit into the budget and leave
// the disk its minimum. The error wraps weir.ErrNoSpace.
func (w *writer) makeRoom(delta int64) error {
	round, keepFree := w.round(), w.keepFree()
	for i := range 2 * (maxSegments + len(policy.Classes)) {
		avail, _, err := disk.Free(w.folder.dir)
		if err != nil {
			return err
		}
		if avail-delta < keepFree {
			wait(&w.removal)
			avail, _, _ = disk.Free(w.folder.dir)
		}
		low := avail-delta < keepFree
		if w.usedBytes()+delta <= w.held.limit.Load() && (!low || w.credit >= delta) {
			// On a disk below its minimum, what was dropped may be filled again: the
			// cache neither grows nor wears away.
			w.credit -= delta
			if !low {
				w.credit = 0
			}
			return nil
		}
		if !w.dropOne(hotHalf, i < round) {
			err := weir.Errorf(weir.ErrNoSpace, "%d bytes more than the %d in use, of %d, with %d free on the disk",
				delta, w.usedBytes(), w.held.limit.Load(), avail)
			if low {
				err = fmt.Errorf("%w: %w", err, syscall.ENOSPC)
			}
			return err
		}
	}
	return weir.Errorf(weir.ErrNoSpace, "no room for %d bytes: everything is in use", delta)
}

// keepFree is what the disk keeps: what the user says, or what the next start needs
// to open the database, without its ballast.
func (w *writer) keepFree() int64 {
	return max(w.minFree, index.ReserveBytes-ballastOf(w.held.limit.Load()))
}

func ballastOf(limit int64) int64 { return min(index.ReserveBytes, limit/ballastShare) }

// round is after how many drops every segment was asked for what is protected: that
// is all there is to evict then, and no longer spared.
func (w *writer) round() int {
	w.held.mu.RLock()
	defer w.held.mu.RUnlock()
	return len(w.held.volumes) + len(policy.Classes)
}

// usedBytes is what counts against the budget: all on disk but the ballast, which
// is of fixed size and has room in what the folder may take beyond the budget.
func (w *writer) usedBytes() int64 {
	sum := w.names.Bytes()
	w.held.mu.RLock()
	defer w.held.mu.RUnlock()
	for _, v := range w.held.volumes {
		sum += v.disk
	}
	return sum
}
