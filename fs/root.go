package fs

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// root is the folder that holds the torrents' folders. It is listed in the order
// in which they were added: a torrent's place never changes, so a listing that is
// under way neither repeats nor loses a torrent that stays.
type root struct {
	mu       sync.RWMutex
	next     uint64    // place of the next torrent
	changed  time.Time // when a torrent came or went
	order    []*torrent
	byName   map[string]*torrent
	byPrefix map[uint64]*torrent
	byHash   map[weir.InfoHash]*torrent
}

func newRoot(now time.Time) *root {
	return &root{
		changed:  now,
		byName:   make(map[string]*torrent),
		byPrefix: make(map[uint64]*torrent),
		byHash:   make(map[weir.InfoHash]*torrent),
	}
}

func (r *root) add(name string, src Torrent) (*torrent, error) {
	ih := src.InfoHash()
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.byHash[ih]; old != nil {
		return nil, fmt.Errorf("add torrent %s, shown as %q: %w", ih, old.shown, weir.ErrExists)
	}
	t := &torrent{src: src, ih: ih, shown: r.freeName(name, ih), place: r.next}
	for n := uint32(0); ; n++ {
		t.prefix = nodePrefix(ih, n)
		if r.byPrefix[t.prefix] == nil {
			break
		}
	}
	r.next++
	r.changed = time.Now()
	r.order = append(r.order, t)
	r.byName[t.shown] = t
	r.byPrefix[t.prefix] = t
	r.byHash[ih] = t
	return t, nil
}

// freeName returns the name for a torrent's folder: the safe form of raw, with
// as much of the info hash as it takes when others have the same.
func (r *root) freeName(raw string, ih weir.InfoHash) string {
	if raw == "" {
		raw = ih.String()
	}
	name := SafeName(raw)
	shown := name
	for digits := 8; r.byName[shown] != nil; digits += 8 {
		if digits > 2*len(ih) { // only by names chosen to provoke it
			for n := 2; r.byName[shown] != nil; n++ {
				shown = numberedName(name, n)
			}
			break
		}
		mark := " [" + ih.String()[:digits] + "]"
		shown = cutBytes(name, NameBytes-len(mark)) + mark
	}
	return shown
}

func (r *root) remove(ih weir.InfoHash) (*torrent, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.byHash[ih]
	if t == nil {
		return nil, fmt.Errorf("remove torrent %s: %w", ih, weir.ErrNotFound)
	}
	// Before anybody can look for waits of it: see FS.later.
	t.removed.Store(true)
	r.changed = time.Now()
	delete(r.byHash, ih)
	delete(r.byName, t.shown)
	delete(r.byPrefix, t.prefix)
	i := r.after(t.place)
	r.order = slices.Delete(r.order, i-1, i)
	return t, nil
}

// after returns the index in order of the first torrent beyond place.
func (r *root) after(place uint64) int {
	i, _ := slices.BinarySearchFunc(r.order, place, func(t *torrent, place uint64) int {
		if t.place > place {
			return 1
		}
		return -1
	})
	return i
}

func (r *root) byInfoHash(ih weir.InfoHash) *torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byHash[ih]
}

func (r *root) named(name string) *torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// of returns the torrent that a node belongs to, nil if it was removed.
func (r *root) of(id fuse.NodeID) (*torrent, uint32) {
	prefix, entry := splitNode(id)
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byPrefix[prefix], entry
}

// state returns how many torrents there are, and since when.
func (r *root) state() (torrents int, changed time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.order), r.changed
}

// all returns the torrents in the order of the listing.
func (r *root) all() []*torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.order)
}
