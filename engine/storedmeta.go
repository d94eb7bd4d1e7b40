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

// loadedBytes bounds the metadata of cold torrents that is in memory because
// somebody looked at it; loadedFor is how long it stays after the last look.
const (
	loadedBytes = 32 << 20
	loadedFor   = time.Minute
)

// AddStored makes a torrent known whose metadata a former run left in the Store
// (see Torrent.StoreMetadata), without reading it: spec needs only the info hash and what
// finds peers. It is otherwise as Add. If the Store lacks the metadata after all,
// it comes from peers, as a magnet's does.
func (e *Engine) AddStored(spec *source.Spec) (*Torrent, error) { return e.add(spec, true) }

// StoreMetadata puts the metadata into the Store, so that a later run can use AddStored.
// It does nothing while the metadata is unknown or the Store is not ready; metadata that
// comes from peers later is stored without a call.
func (t *Torrent) StoreMetadata() error {
	m := t.meta.Load()
	if m == nil || t.stored.Load() || !t.eng.storeReady() {
		return nil
	}
	b := m.dict.held()
	if b == nil {
		return nil // only what is in the Store is left there
	}
	for f := range m.info.Files {
		if layer := m.hashes.Layer(f); layer != nil {
			if err := t.eng.opts.Store.PutRecord(LayersBucket, layerKey(t.ih, f), layer); err != nil {
				return fmt.Errorf("store hashes of %s: %w", t.ih, err)
			}
		}
	}
	if err := t.storeLayers(m, b); err != nil {
		return fmt.Errorf("store hashes of %s: %w", t.ih, err)
	}
	b, err := packDictionary(b)
	if err == nil {
		err = t.eng.opts.Store.PutRecord(MetadataBucket, t.ih[:], b)
	}
	if err != nil {
		return fmt.Errorf("store metadata of %s: %w", t.ih, err)
	}
	t.stored.Store(true)
	m.dict.leave()
	return nil
}

// metainfo returns the metadata, from the Store if the torrent left it there; nil
// if it is not known. It reads the disk at most, never the network.
func (t *Torrent) metainfo() *metainfo {
	if m := t.meta.Load(); m != nil {
		t.used.Store(true)
		return m
	}
	if !t.loadable() {
		return nil
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	if m := t.meta.Load(); m != nil || !t.loadable() {
		return m
	}
	m := t.loadMetadata()
	if m == nil {
		t.forgetMetadata()
		return nil
	}
	t.used.Store(true)
	m = t.setLoadedMetadata(m)
	t.eng.loaded.add(t, m.size())
	return m
}

// loadable reports whether the Store has the metadata, or may have it, and can be
// asked.
func (t *Torrent) loadable() bool {
	return (t.stored.Load() || t.maybeStored.Load()) && t.eng.storeReady()
}

// loadMetadata reads the metadata that was left in the Store, nil if there is none
// that is right.
func (t *Torrent) loadMetadata() *metainfo {
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

// expectMetadata loads the metadata if a former run left it in the Store. If the caller
// knows that it did (stored), the metadata is loaded only when somebody asks for it.
func (t *Torrent) expectMetadata(stored bool) {
	if t.meta.Load() != nil {
		return
	}
	if !t.eng.storeReady() {
		t.maybeStored.Store(true) // whoever asks for it when the Store is, looks
		return
	}
	var m *metainfo
	if !stored {
		if m = t.loadMetadata(); m == nil {
			return
		}
	}
	t.stored.Store(true)
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

// setLoadedMetadata makes metadata known that was read from the Store, unless a peer's
// came first, and returns what is.
func (t *Torrent) setLoadedMetadata(m *metainfo) *metainfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stored.Store(true)
	t.maybeStored.Store(false)
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

// forgetMetadata says that the Store does not have the metadata, or has lost it.
func (t *Torrent) forgetMetadata() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.maybeStored.Store(false)
	if t.meta.Load() != nil {
		return // a peer's came meanwhile
	}
	t.stored.Store(false)
	if t.known {
		t.known, t.metaCh = false, make(chan struct{})
	}
}

// dropMetadata drops the metadata of a torrent that is cold, if the Store has it.
func (t *Torrent) dropMetadata() {
	if t.done.Err() != nil {
		return // removed, or the engine closes
	}
	if err := t.StoreMetadata(); err != nil {
		t.eng.log.Warn("metadata stays in memory", "torrent", t.ih, "err", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sw == nil && t.stored.Load() {
		t.meta.Store(nil)
	}
}

// loadedTorrents are the cold torrents whose metadata somebody looked at, in the order
// of reading it. It is safe for concurrent use.
type loadedTorrents struct {
	mu    sync.Mutex
	list  []loadedTorrent
	bytes int64
	timer *time.Timer // drops what nobody looks at; nil while the list is empty
}

type loadedTorrent struct {
	t    *Torrent
	size int64
}

// add records that the metadata of t was loaded, and drops that of others beyond the
// bound, the least recently used first.
func (r *loadedTorrents) add(t *Torrent, size int64) {
	r.mu.Lock()
	r.list = append(r.list, loadedTorrent{t, size})
	r.bytes += size
	var gone []*Torrent
	for n := 2 * len(r.list); n > 0 && r.bytes > loadedBytes && len(r.list) > 1; n-- {
		first := r.list[0]
		r.list = r.list[1:]
		if first.t != t && first.t.used.Swap(false) || first.t == t {
			r.list = append(r.list, first)
			continue
		}
		r.bytes -= first.size
		gone = append(gone, first.t)
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(loadedFor, r.expire)
	}
	r.mu.Unlock()
	for _, o := range gone {
		o.dropMetadata()
	}
}

// expire drops what nobody has looked at since it was called last.
func (r *loadedTorrents) expire() {
	r.mu.Lock()
	var gone []*Torrent
	r.list = slices.DeleteFunc(slices.Clone(r.list), func(o loadedTorrent) bool {
		if o.t.used.Swap(false) {
			return false
		}
		gone = append(gone, o.t)
		r.bytes -= o.size
		return true
	})
	if len(r.list) == 0 {
		r.list, r.timer = nil, nil
	} else {
		r.timer.Reset(loadedFor)
	}
	r.mu.Unlock()
	for _, o := range gone {
		o.dropMetadata()
	}
}

// stop ends the timer.
func (r *loadedTorrents) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.list, r.bytes = nil, 0
}

// metadataState is what a Torrent knows of its metadata.
type metadataState struct {
	meta        atomic.Pointer[metainfo] // nil while unknown, or left in the Store
	stored      atomic.Bool              // the Store has it
	maybeStored atomic.Bool              // the Store, which was not ready, may have it
	used        atomic.Bool              // somebody asked for it since the last look
	loading     sync.Mutex               // one reads it from the Store
}
