package fs

import (
	"context"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// run tells to, until ctx is done. there reports whether a name is there again.
func (n *notifier) run(ctx context.Context, to invalidator, there func(goneName) bool) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.running = false
		n.gone, n.changed, n.grown, n.dropped, n.removed, n.shown = nil, nil, nil, nil, nil, nil
		clear(n.held)
	}()
	// A reply that was on its way while the kernel was told to forget a name may
	// be taken in after that, so names are told twice, at least heldEvery apart.
	var told, again []goneName
	timer := time.NewTimer(heldEvery)
	defer timer.Stop()
	for armed := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.soon:
			told = append(told, n.tellTree(to, there)...)
		case <-n.calm:
		case <-timer.C:
			armed = false
			n.tellHeld(to)
			tellGone(to, again, there)
			again, told = told, nil
			if len(again) == 0 {
				continue // nothing to do until something changes
			}
		}
		if !armed {
			timer.Reset(heldEvery)
			armed = true
		}
	}
}

// tellGone makes the kernel forget names. One that is there again is left alone: a
// program that works in that folder would lose its path. Errors say that the
// kernel does not know the name, or that the mount is gone.
func tellGone(to invalidator, names []goneName, there func(goneName) bool) {
	var in []fuse.NodeID
	for _, g := range names {
		if !there(g) {
			_ = to.InvalidateEntry(g.parent, g.name)
		}
		in = append(in, g.parent)
	}
	tellFolders(to, in)
}

// tellFolders makes the kernel ask again for the listings and attributes of
// folders, each once.
func tellFolders(to invalidator, dirs []fuse.NodeID) {
	told := make(map[fuse.NodeID]bool)
	for _, id := range dirs {
		if !told[id] {
			told[id] = true
			_ = to.InvalidateNode(id, 0, 0)
		}
	}
}

// tellTree tells of everything but held bytes, and returns the names that are
// gone.
func (n *notifier) tellTree(to invalidator, there func(goneName) bool) []goneName {
	n.mu.Lock()
	gone, changed, grown, dropped, removed, shown := n.gone, n.changed, n.grown, n.dropped, n.removed, n.shown
	n.gone, n.changed, n.grown, n.dropped, n.removed, n.shown = nil, nil, nil, nil, nil, nil
	n.mu.Unlock()
	tellGone(to, gone, there)
	tellFolders(to, changed)
	for _, t := range grown {
		if t.seen.Swap(false) {
			_ = to.InvalidateNode(makeNode(t.prefix, 0), -1, 0)
		}
	}
	for _, d := range dropped {
		tellEntries(to, d.t, d.g, -1)
	}
	for _, r := range removed {
		for _, e := range r.open { // the pages of files that can still be read
			_ = to.InvalidateNode(makeNode(r.t.prefix, e), 0, 0)
		}
		_ = to.InvalidateNode(makeNode(r.t.prefix, 0), 0, 0)
		if g := r.t.grown.Load(); g != nil {
			tellEntries(to, r.t, g, 0)
		}
	}
	for _, s := range shown {
		var dirs []fuse.NodeID
		for _, dir := range s.entries {
			dirs = append(dirs, makeNode(s.t.prefix, dir))
		}
		tellFolders(to, dirs)
	}
	return gone
}

// tellEntries makes the kernel forget what it was given of all entries of a tree:
// the attributes, and unless off is negative the pages from there on.
func tellEntries(to invalidator, t *torrent, g *torrentTree, off int64) {
	for e := uint32(1); e < uint32(g.Len()); e++ {
		if g.takeSeen(e) {
			_ = to.InvalidateNode(makeNode(t.prefix, e), off, 0)
		}
	}
}

// tellHeld makes the kernel ask again for the attributes of the files whose held
// bytes changed, if it has them.
func (n *notifier) tellHeld(to invalidator) {
	n.mu.Lock()
	held := n.held
	n.held = make(map[*torrent][]weir.Range)
	n.mu.Unlock()
	for t, ranges := range held {
		g := t.grown.Load()
		if g == nil {
			continue // forgotten meanwhile, of which the kernel is told
		}
		for _, r := range ranges {
			first, end := g.Info().FilesIn(r)
			for file := first; file < end; file++ {
				if e := g.EntryOf(file); e != 0 && g.takeSeen(e) {
					_ = to.InvalidateNode(makeNode(t.prefix, e), -1, 0) // attributes only
				}
			}
		}
	}
}
