package fs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// Adding, moving and removing torrents.

// add adds a torrent to folder dir, which is made if it is missing.
func (r *root) add(dir, name string, src Torrent) (t *torrent, at *slot, changed []node.ID, err error) {
	ih := src.InfoHash()
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.byHash[ih]; old != nil {
		return nil, nil, nil, weir.Errorf(weir.ErrExists, "torrent %s is in the mount already, as %q", ih, old.slot.name)
	}
	in, changed, err := r.findOrMake(dir)
	if err != nil {
		return nil, nil, changed, fmt.Errorf("add torrent %s: %w", ih, err)
	}
	t = &torrent{src: src, ih: ih, raw: name, number: r.next}
	t.slot = &slot{in: in, name: in.freeName(name, ih), t: t}
	for n := uint32(0); ; n++ {
		t.prefix = node.Prefix(ih, n)
		if _, taken := r.byPrefix[t.prefix]; !taken {
			break
		}
	}
	r.put(t.slot)
	r.torrents = append(r.torrents, t)
	r.byPrefix[t.prefix] = owner{t: t}
	r.byHash[ih] = t
	return t, t.slot, append(changed, in.id), nil
}

// freeName returns the name for a torrent's folder: the safe form of raw, with
// as much of the info hash as it takes when something else has the same.
func (d *folder) freeName(raw string, ih weir.InfoHash) string {
	if raw == "" {
		raw = ih.String()
	}
	name := tree.SafeName(raw)
	shown := name
	for digits := 8; d.byName[shown] != nil; digits += 8 {
		if digits > 2*len(ih) { // only with names chosen to cause this
			for n := 2; d.byName[shown] != nil; n++ {
				shown = tree.NumberedName(name, n)
			}
			break
		}
		mark := " [" + ih.String()[:digits] + "]"
		shown = tree.CutBytes(name, tree.NameBytes-len(mark)) + mark
	}
	return shown
}

// move moves a torrent to another folder and name; an empty name keeps the one that it was
// added under.
func (r *root) move(ih weir.InfoHash, dir, name string) (old, now *slot, changed []node.ID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.byHash[ih]
	if t == nil {
		return nil, nil, nil, weir.Errorf(weir.ErrNotFound, "move torrent %s: it is not in the mount", ih)
	}
	in, changed, err := r.findOrMake(dir)
	if err != nil {
		return nil, nil, changed, fmt.Errorf("move torrent %s: %w", ih, err)
	}
	if name != "" {
		t.raw = name
	}
	old = t.slot
	r.drop(old)
	t.slot = &slot{in: in, name: in.freeName(t.raw, ih), t: t}
	r.put(t.slot)
	return old, t.slot, append(changed, in.id), nil
}

func (r *root) remove(ih weir.InfoHash) (*torrent, *slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.byHash[ih]
	if t == nil {
		return nil, nil, weir.Errorf(weir.ErrNotFound, "remove torrent %s: it is not in the mount", ih)
	}
	// Before its waits are ended: see trees.wait.
	t.removed.Store(true)
	delete(r.byHash, ih)
	delete(r.byPrefix, t.prefix)
	r.drop(t.slot)
	i := r.numbered(t.number)
	r.torrents = slices.Delete(r.torrents, i, i+1)
	return t, t.slot, nil
}

// numbered returns the index in torrents of the first one with at least this number.
func (r *root) numbered(number uint64) int {
	i, _ := slices.BinarySearchFunc(r.torrents, number, func(t *torrent, n uint64) int { return cmp.Compare(t.number, n) })
	return i
}

func (r *root) byInfoHash(ih weir.InfoHash) *torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byHash[ih]
}

// torrentOf returns the torrent that a node belongs to, and its entry there; nil if there is
// none or it was removed.
func (r *root) torrentOf(id node.ID) (*torrent, uint32) {
	prefix, entry := id.Split()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byPrefix[prefix].t, entry
}

// torrentPath returns the path of a torrent's folder beneath the mount.
func (r *root) torrentPath(t *torrent) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return tree.Join(r.path(t.slot.in), t.slot.name)
}

// torrentAt returns the torrent whose folder a path is, or lies in, and where that is.
func (r *root) torrentAt(path string) (ih weir.InfoHash, at string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d := r.top
	for name := range strings.SplitSeq(path, "/") {
		s := d.byName[name]
		switch {
		case s != nil && s.t != nil:
			return s.t.ih, tree.Join(r.path(d), name), true
		case s == nil || s.dir == nil:
			return ih, "", false
		}
		d = s.dir
	}
	return ih, "", false
}

// hashesBeneath returns the torrents in a folder and in those below it.
func (r *root) hashesBeneath(dir string) []weir.InfoHash {
	r.mu.RLock()
	d, err := r.find(dir)
	r.mu.RUnlock()
	if err != nil {
		return nil
	}
	var hashes []weir.InfoHash
	for _, t := range r.beneath(d) {
		hashes = append(hashes, t.ih)
	}
	return hashes
}

// all returns the torrents in the order in which they were added.
func (r *root) all() []*torrent {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.torrents)
}

// linkTarget returns where the link in by-hash to a torrent leads.
func (r *root) linkTarget(t *torrent) string { return "../" + r.torrentPath(t) }

// listLinks appends the links of by-hash from the torrent with this number on.
func (r *root) listLinks(l *node.Listing, number uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, t := range r.torrents[r.numbered(number):] {
		if !l.Add(node.Make(t.prefix, node.LinkEntry), t.number+dotEntries+1, node.Link, t.ih.String()) {
			return
		}
	}
}
