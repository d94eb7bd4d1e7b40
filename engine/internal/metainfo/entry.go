package metainfo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/source"
)

// Entry is the metadata of one torrent, wherever it is: with peers, in memory or in the
// records. It is safe for concurrent use.
type Entry struct {
	l    *Loader
	ih   weir.InfoHash
	spec *source.Spec    // as the user named it, without metadata
	done context.Context // ends with the torrent: then nothing is written any more

	meta        atomic.Pointer[Metainfo] // nil while unknown, or left in the records
	names       atomic.Pointer[source.Names]
	stored      atomic.Bool // the records have it
	maybeStored atomic.Bool // the records, which were not ready, may have it
	used        atomic.Bool // somebody asked for it since the last look
	loading     sync.Mutex  // one reads it from the records

	mu      sync.Mutex
	known   bool          // the metadata is
	knownCh chan struct{} // closed when it is
	inUse   bool          // by a swarm: it stays in memory
}

// NewEntry returns the entry of a torrent of which no metadata is known. spec is as the
// user named it, without metadata.
func (l *Loader) NewEntry(done context.Context, spec *source.Spec) *Entry {
	e := &Entry{l: l, ih: spec.InfoHash, spec: spec, done: done, knownCh: make(chan struct{})}
	n := spec.Names()
	e.names.Store(&n)
	return e
}

// Names returns the info hashes that the torrent goes by, as far as they are known.
func (e *Entry) Names() source.Names { return *e.names.Load() }

// Known returns a channel that is closed when the metadata is known.
func (e *Entry) Known() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.knownCh
}

// InMemory returns the metadata if it is in memory, and nil otherwise.
func (e *Entry) InMemory() *Metainfo { return e.meta.Load() }

// Load returns the metadata, from the records if the torrent left it there; nil if it is
// not known. It reads the disk at most, never the network.
func (e *Entry) Load() *Metainfo {
	if m := e.meta.Load(); m != nil {
		e.used.Store(true)
		return m
	}
	if !e.loadable() {
		return nil
	}
	e.loading.Lock()
	defer e.loading.Unlock()
	if m := e.meta.Load(); m != nil || !e.loadable() {
		return m
	}
	m := e.read()
	if m == nil {
		e.forget()
		return nil
	}
	e.used.Store(true)
	m = e.setLoaded(m)
	e.l.add(e, m.size())
	return m
}

// loadable reports whether the records have the metadata, or may have it, and can be
// asked.
func (e *Entry) loadable() bool {
	return (e.stored.Load() || e.maybeStored.Load()) && e.l.Ready()
}

// read reads the metadata that was left in the records, nil if there is none that is
// right.
func (e *Entry) read() *Metainfo {
	b, err := readDictionary(e.l.Store, e.ih)
	if err != nil {
		if !errors.Is(err, weir.ErrNotFound) {
			e.l.Log.Warn("metadata not read from the cache", "torrent", e.ih, "err", err)
		}
		return nil
	}
	m, err := e.Parse(b)
	if err != nil {
		e.l.Log.Warn("metadata in the cache ignored", "torrent", e.ih, "err", err)
		return nil
	}
	e.loadLayers(m)
	m.dict.leave()
	return m
}

// loadLayers takes from the records the layers that a former run left there.
func (e *Entry) loadLayers(m *Metainfo) {
	if err := loadLayers(e.l.Store, e.ih, m); err != nil {
		e.l.Log.Warn("hashes in the cache ignored", "torrent", e.ih, "err", err)
	}
}

// Parse verifies an info dictionary. The error wraps weir.ErrCorrupt if somebody may
// have a better one.
func (e *Entry) Parse(b []byte) (*Metainfo, error) {
	spec, err := e.spec.WithInfo(b)
	if err != nil {
		return nil, err
	}
	return New(spec)
}

// Learn takes the metadata of a spec that the user named, if it has any.
func (e *Entry) Learn(spec *source.Spec) error {
	if spec.Info == nil || e.meta.Load() != nil {
		return nil
	}
	m, err := New(spec)
	if err != nil {
		return err
	}
	if e.l.Ready() {
		e.loadLayers(m)
	} else {
		m.layersDue.Store(true)
	}
	e.Set(m)
	return nil
}

// Expect loads the metadata if a former run left it in the records. If the caller
// knows that it did (stored), the metadata is loaded only when somebody asks for it.
func (e *Entry) Expect(stored bool) {
	if e.meta.Load() != nil {
		return
	}
	if !e.l.Ready() {
		e.maybeStored.Store(true) // whoever asks for it when the records answer, looks
		return
	}
	var m *Metainfo
	if !stored {
		if m = e.read(); m == nil {
			return
		}
	}
	e.stored.Store(true)
	e.Set(m)
}

// LoadDue loads what could not be read because the records were not ready.
func (e *Entry) LoadDue() {
	if m := e.Load(); m != nil && m.layersDue.Swap(false) {
		e.loadLayers(m)
	}
}

// Set makes the metadata known, once; nil if it is in the records only.
func (e *Entry) Set(m *Metainfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known {
		return
	}
	if m != nil {
		e.names.Store(&m.names)
	}
	e.meta.Store(m)
	e.known = true
	close(e.knownCh)
}

// setLoaded makes metadata known that was read from the records, unless a peer's
// came first, and returns what is.
func (e *Entry) setLoaded(m *Metainfo) *Metainfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stored.Store(true)
	e.maybeStored.Store(false)
	if first := e.meta.Load(); first != nil {
		return first
	}
	e.names.Store(&m.names)
	e.meta.Store(m)
	if !e.known {
		e.known = true
		close(e.knownCh)
	}
	return m
}

// forget says that the records don't have the metadata, or have lost it.
func (e *Entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.maybeStored.Store(false)
	if e.meta.Load() != nil {
		return // a peer's came meanwhile
	}
	e.stored.Store(false)
	if e.known {
		e.known, e.knownCh = false, make(chan struct{})
	}
}

// Use has the metadata stay in memory until Release, for a swarm. It reports false if
// the metadata has to be loaded first.
func (e *Entry) Use() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.meta.Load() == nil && e.loadable() {
		return false
	}
	e.inUse = true
	return true
}

// Release ends Use.
func (e *Entry) Release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inUse = false
}

// Drop lets go of the metadata of a cold torrent, once the records have it.
func (e *Entry) Drop() {
	if e.done.Err() != nil {
		return // removed, or the engine closes
	}
	if err := e.Save(); err != nil {
		e.l.Log.Warn("metadata stays in memory", "torrent", e.ih, "err", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.inUse && e.stored.Load() {
		e.meta.Store(nil)
	}
}

// Save puts the metadata into the records. It does nothing while the metadata is
// unknown, stored already, or the records are not ready.
func (e *Entry) Save() error {
	m := e.meta.Load()
	if m == nil || e.stored.Load() || !e.l.Ready() {
		return nil
	}
	b := m.dict.held()
	if b == nil {
		return nil // it is in the records only
	}
	if err := e.saveLayers(m, b); err != nil {
		return fmt.Errorf("store hashes of %s: %w", e.ih, err)
	}
	b, err := packDictionary(b)
	if err == nil {
		err = e.l.Store.PutRecord(MetadataBucket, e.ih[:], b)
	}
	if err != nil {
		return fmt.Errorf("store metadata of %s: %w", e.ih, err)
	}
	e.stored.Store(true)
	m.dict.leave()
	return nil
}

// saveLayers puts the piece layers of a v2 torrent, or of the v2 half of a hybrid one,
// into the records.
func (e *Entry) saveLayers(m *Metainfo, dict []byte) error {
	if n := e.Names(); !m.Info.V2 && m.layers != nil && n.Hybrid() {
		spec, err := (&source.Spec{InfoHash: n.V2}).WithInfo(dict)
		if err != nil {
			return nil // only the v1 half is of use
		}
		spec.PieceHashes = m.layers
		if m, err = New(spec); err != nil {
			return nil
		}
	}
	for f := range m.Info.Files {
		if layer := m.Hashes.Layer(f); layer != nil {
			if err := e.SaveLayer(f, layer); err != nil {
				return err
			}
		}
	}
	return nil
}

// SaveLayer puts the hashes of all pieces of a file into the records.
func (e *Entry) SaveLayer(file int, layer []byte) error {
	return e.l.Store.PutRecord(LayersBucket, layerKey(e.ih, file), layer)
}

// Dictionary returns the info dictionary, read from the records if it was left there;
// nil if it is not known, or can't be read.
func (e *Entry) Dictionary() []byte {
	m := e.meta.Load()
	if m == nil {
		return nil
	}
	return m.dict.read(e.readDictionary)
}

// V2Hashes returns the hash trees of a torrent that has some, nil otherwise. It may read
// the records.
func (e *Entry) V2Hashes() *verify.Hashes {
	m := e.meta.Load()
	switch {
	case m == nil:
		return nil
	case m.Info.V2:
		return m.Hashes
	case !e.l.Ready():
		return nil
	}
	m.v2.once.Do(func() {
		n := e.Names()
		if !n.Hybrid() {
			return
		}
		spec, err := (&source.Spec{InfoHash: n.V2}).WithInfo(m.dict.read(e.readDictionary))
		if err != nil {
			e.l.Log.Warn("the v2 half of a hybrid torrent can't be used", "torrent", e.ih, "err", err)
			return
		}
		if spec.PieceHashes == nil {
			spec.PieceHashes = m.layers
		}
		v2, err := New(spec)
		if err == nil && spec.PieceHashes == nil {
			err = loadLayers(e.l.Store, e.ih, v2)
		}
		if err != nil {
			e.l.Log.Warn("hashes of a hybrid torrent can't be told", "torrent", e.ih, "err", err)
		}
		if v2 != nil {
			m.v2.hashes = v2.Hashes
		}
	})
	return m.v2.hashes
}
