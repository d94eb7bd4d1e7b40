package fs

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// rm -r removes the files of a folder first, and then the folder only if that worked. So
// removing inside a torrent must work: what is removed is hidden. If the torrent's folder is
// removed too, so is the torrent. If not within removeWithin of the last removal, everything
// is shown again: removing a single file, or interrupting rm, never removes a torrent.
const removeWithin = 10 * time.Second

// pendingRemoval is what was removed of one torrent.
type pendingRemoval struct {
	any atomic.Bool // set is not empty

	mu  sync.Mutex
	set map[uint32]uint32 // entry to its folder
	due time.Time         // when they are shown again
}

func (p *pendingRemoval) has(n uint32) bool {
	if !p.any.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.set[n]
	return ok
}

// hasAll reports whether everything in a folder was removed.
func (p *pendingRemoval) hasAll(s tree.Span) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := s.First; n < s.First+s.Count; n++ {
		if _, ok := p.set[n]; !ok {
			return false
		}
	}
	return true
}

func (p *pendingRemoval) add(n, dir uint32, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == nil {
		p.set = make(map[uint32]uint32)
	}
	p.set[n] = dir
	p.due = until
	p.any.Store(true)
}

// restore undoes the removal if it is due, and returns what was removed; left is when to call
// it again, 0 if nothing is pending.
func (p *pendingRemoval) restore(now time.Time) (restored map[uint32]uint32, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left = p.due.Sub(now); left > 0 {
		return nil, left
	}
	restored, p.set = p.set, nil
	p.any.Store(false)
	return restored, 0
}

// removals are the torrents in which something was removed.
type removals struct {
	root         *root
	notifier     *kernel.Notifier
	housekeeping *housekeeping
	log          *slog.Logger

	mu       sync.Mutex
	torrents map[*torrent]bool
}

// remove hides a name in a folder of a torrent. ENOTEMPTY: it is a folder in which something
// is still shown.
func (rs *removals) remove(dir entry, name string, rmdir bool) error {
	t, g := dir.t, dir.tree
	if !g.IsDir(dir.n) {
		return syscall.ENOTDIR
	}
	n, ok := g.Find(dir.n, name)
	switch {
	case !ok || t.removing.has(n):
		return syscall.ENOENT
	case rmdir && !g.IsDir(n):
		return syscall.ENOTDIR
	case !rmdir && g.IsDir(n):
		return syscall.EISDIR
	case rmdir && !t.removing.hasAll(g.Children(n)):
		return syscall.ENOTEMPTY
	}
	t.removing.add(n, dir.n, time.Now().Add(removeWithin))
	rs.add(t)
	rs.housekeeping.wake()
	return nil
}

func (rs *removals) add(t *torrent) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.torrents == nil {
		rs.torrents = make(map[*torrent]bool)
	}
	rs.torrents[t] = true
}

// takeAll empties the list and returns what was in it.
func (rs *removals) takeAll() []*torrent {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := make([]*torrent, 0, len(rs.torrents))
	for t := range rs.torrents {
		all = append(all, t)
	}
	clear(rs.torrents)
	return all
}

// restoreDue shows again what was removed removeWithin ago.
func (rs *removals) restoreDue(now time.Time) (next time.Duration) {
	// Empty the list first: a removal from now on adds its torrent again.
	for _, t := range rs.takeAll() {
		if t.removed.Load() {
			continue
		}
		restored, left := t.removing.restore(now)
		if left > 0 {
			rs.add(t)
			next = sooner(next, left)
			continue
		}
		if len(restored) == 0 {
			continue
		}
		rs.log.Warn("files of a torrent can't be removed one by one: they are shown again; remove the torrent's folder to remove the torrent",
			"torrent", t.ih, "name", rs.root.torrentPath(t), "files", len(restored))
		var folders []node.ID
		for _, dir := range restored {
			folders = append(folders, node.Make(t.prefix, dir))
		}
		rs.notifier.FoldersChanged(folders...)
	}
	return next
}
