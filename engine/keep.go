package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// A cold torrent leaves its metadata in the Store: of ten thousand torrents a
// handful are in use, and an info dictionary with its hashes is 50 KB for a film
// and 50 MB for a big dataset. It is read again when somebody asks.

// recalledBytes bounds the metadata of cold torrents that is in memory because
// somebody looked at it; recalledFor is how long it stays after the last look.
const (
	recalledBytes = 32 << 20
	recalledFor   = time.Minute
)

// AddKept makes a torrent known whose metadata a former run left in the Store
// (see Torrent.Keep), without reading it: spec needs only the info hash and what
// finds peers. It is otherwise as Add. If the Store lacks the metadata after all,
// it comes from peers, as a magnet's does.
func (e *Engine) AddKept(spec *source.Spec) (*Torrent, error) { return e.add(spec, true) }

// Keep sees to it that the metadata is in the Store, so that AddKept can be used
// by a later run. It does nothing while there is none or the Store is not ready;
// whatever comes from peers later is kept by itself.
func (t *Torrent) Keep() error {
	m := t.meta.Load()
	if m == nil || t.kept.Load() || !t.eng.storeReady() {
		return nil
	}
	b := m.dict.held()
	if b == nil {
		return nil // only what is in the Store is left there
	}
	for f := range m.info.Files {
		if layer := m.hashes.Layer(f); layer != nil {
			if err := t.eng.opts.Store.PutRecord(LayersBucket, layerKey(t.ih, f), layer); err != nil {
				return fmt.Errorf("keep hashes of %s: %w", t.ih, err)
			}
		}
	}
	if err := t.keepLayers(m, b); err != nil {
		return fmt.Errorf("keep hashes of %s: %w", t.ih, err)
	}
	b, err := packDictionary(b)
	if err == nil {
		err = t.eng.opts.Store.PutRecord(MetadataBucket, t.ih[:], b)
	}
	if err != nil {
		return fmt.Errorf("keep metadata of %s: %w", t.ih, err)
	}
	t.kept.Store(true)
	m.dict.leave()
	return nil
}

// metainfo returns the metadata, from the Store if the torrent left it there; nil
// if it is not known. It reads the disk at most, never the network.
func (t *Torrent) metainfo() *metainfo {
	if m := t.meta.Load(); m != nil {
		t.looked.Store(true)
		return m
	}
	if !t.recallable() {
		return nil
	}
	t.recalling.Lock()
	defer t.recalling.Unlock()
	if m := t.meta.Load(); m != nil || !t.recallable() {
		return m
	}
	m := t.recall()
	if m == nil {
		t.unlearn()
		return nil
	}
	t.looked.Store(true)
	m = t.recalledMeta(m)
	t.eng.recalled.add(t, m.size())
	return m
}

// recallable reports whether the Store has the metadata, or may have it, and can be
// asked.
func (t *Torrent) recallable() bool {
	return (t.kept.Load() || t.perhaps.Load()) && t.eng.storeReady()
}

// recall reads the metadata that was left in the Store, nil if there is none
// that is right.
func (t *Torrent) recall() *metainfo {
	b, err := readDictionary(t.eng.opts.Store, t.ih)
	if err != nil {
		if !errors.Is(err, weir.ErrNotFound) {
			t.eng.log.Warn("metadata not read from the cache", "torrent", t.ih, "err", err)
		}
		return nil
	}
	m, err := t.withInfo(b)
	if err != nil {
		t.eng.log.Warn("metadata in the cache ignored", "torrent", t.ih, "err", err)
		return nil
	}
	t.loadLayers(m)
	m.dict.leave()
	return m
}

// expect takes the metadata from the Store if a former run left it there; later,
// when the caller knows that it did.
func (t *Torrent) expect(kept bool) {
	if t.meta.Load() != nil {
		return
	}
	if !t.eng.storeReady() {
		t.perhaps.Store(true) // whoever asks for it when the Store is, looks
		return
	}
	var m *metainfo
	if !kept {
		if m = t.recall(); m == nil {
			return
		}
	}
	t.kept.Store(true)
	t.setMeta(m)
}

// size estimates the memory that the metadata takes.
func (m *metainfo) size() int64 {
	const perFile = 150
	return int64(len(m.dict.held())) + int64(m.dict.size) + int64(len(m.info.Files))*perFile
}

// setMeta makes the metadata known, once.
func (t *Torrent) setMeta(m *metainfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		if m != nil {
			t.learnNames(m.names)
		}
		t.meta.Store(m)
		t.known = true
		close(t.metaCh)
	}
}

// recalledMeta makes metadata known that was read from the Store, unless a peer's
// came first, and returns what is.
func (t *Torrent) recalledMeta(m *metainfo) *metainfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.Store(true)
	t.perhaps.Store(false)
	if first := t.meta.Load(); first != nil {
		return first
	}
	t.learnNames(m.names)
	t.meta.Store(m)
	if !t.known {
		t.known = true
		close(t.metaCh)
	}
	return m
}

// unlearn says that the Store does not have the metadata, or has lost it.
func (t *Torrent) unlearn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.perhaps.Store(false)
	if t.meta.Load() != nil {
		return // a peer's came meanwhile
	}
	t.kept.Store(false)
	if t.known {
		t.known, t.metaCh = false, make(chan struct{})
	}
}

// leaveMeta drops the metadata of a torrent that is cold, if the Store has it.
func (t *Torrent) leaveMeta() {
	if t.done.Err() != nil {
		return // removed, or the end of all
	}
	if err := t.Keep(); err != nil {
		t.eng.log.Warn("metadata stays in memory", "torrent", t.ih, "err", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sw == nil && t.kept.Load() {
		t.meta.Store(nil)
	}
}

// recalled are the cold torrents whose metadata somebody looked at, in the order
// of reading it. It is safe for concurrent use.
type recalled struct {
	mu    sync.Mutex
	list  []recollection
	bytes int64
	timer *time.Timer // drops what nobody looks at; nil while the list is empty
}

type recollection struct {
	t    *Torrent
	size int64
}

// add notes that the metadata of t was read, and drops others beyond the bound:
// those first that were not looked at for longest.
func (r *recalled) add(t *Torrent, size int64) {
	r.mu.Lock()
	r.list = append(r.list, recollection{t, size})
	r.bytes += size
	var gone []*Torrent
	for n := 2 * len(r.list); n > 0 && r.bytes > recalledBytes && len(r.list) > 1; n-- {
		first := r.list[0]
		r.list = r.list[1:]
		if first.t != t && first.t.looked.Swap(false) || first.t == t {
			r.list = append(r.list, first)
			continue
		}
		r.bytes -= first.size
		gone = append(gone, first.t)
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(recalledFor, r.expire)
	}
	r.mu.Unlock()
	for _, o := range gone {
		o.leaveMeta()
	}
}

// expire drops what nobody has looked at since it was called last.
func (r *recalled) expire() {
	r.mu.Lock()
	var gone []*Torrent
	r.list = slices.DeleteFunc(slices.Clone(r.list), func(o recollection) bool {
		if o.t.looked.Swap(false) {
			return false
		}
		gone = append(gone, o.t)
		r.bytes -= o.size
		return true
	})
	if len(r.list) == 0 {
		r.list, r.timer = nil, nil
	} else {
		r.timer.Reset(recalledFor)
	}
	r.mu.Unlock()
	for _, o := range gone {
		o.leaveMeta()
	}
}

// stop ends the timer.
func (r *recalled) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.list, r.bytes = nil, 0
}

// keeping is what a Torrent knows of its metadata.
type keeping struct {
	meta      atomic.Pointer[metainfo] // nil while unknown, or left in the Store
	kept      atomic.Bool              // the Store has it
	perhaps   atomic.Bool              // the Store, which was not ready, may have it
	looked    atomic.Bool              // somebody asked for it since it was weighed last
	recalling sync.Mutex               // one reads it from the Store
}
