package fs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir/fs/internal/tree"
)

// rm -r removes a folder's files before the folder, and tries the folder only if
// that worked for all of them. So removing inside of a torrent works, and what is
// removed is hidden. If the torrent's folder goes too, so does the torrent. If it
// does not within hideFor of the last such request, all of it is shown again:
// whoever removes a single file, or thinks better of it, never loses a torrent.
const hideFor = 10 * time.Second

// hidden is what is hidden of one torrent.
type hidden struct {
	any atomic.Bool // set has something

	mu  sync.Mutex
	set map[uint32]uint32 // entries, and the folder of each
	due time.Time         // when they are shown again
}

func (h *hidden) has(e uint32) bool {
	if !h.any.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.set[e]
	return ok
}

// hasAll reports whether everything in a folder is hidden.
func (h *hidden) hasAll(s tree.Span) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := s.First; e < s.First+s.Count; e++ {
		if _, ok := h.set[e]; !ok {
			return false
		}
	}
	return true
}

func (h *hidden) hide(e, dir uint32, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set == nil {
		h.set = make(map[uint32]uint32)
	}
	h.set[e] = dir
	h.due = until
	h.any.Store(true)
}

// showDue ends hiding if it is time, and returns what was hidden and where; left is when to
// look again, 0 if nothing is hidden any more.
func (h *hidden) showDue(now time.Time) (shown map[uint32]uint32, left time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if left = h.due.Sub(now); left > 0 {
		return nil, left
	}
	shown, h.set = h.set, nil
	h.any.Store(false)
	return shown, 0
}

// unlinkIn hides entry name of a torrent. ENOTEMPTY: it is a folder in which
// something is left to be seen.
func (f *FS) unlinkIn(ctx context.Context, parent fuse.NodeID, name string, rmdir bool) error {
	t, g, dir, err := f.entry(ctx, parent)
	if err != nil {
		return err
	}
	if !g.IsDir(dir) {
		return syscall.ENOTDIR
	}
	e, ok := g.Find(dir, name)
	switch {
	case !ok || t.hidden.has(e):
		return syscall.ENOENT
	case rmdir && !g.IsDir(e):
		return syscall.ENOTDIR
	case !rmdir && g.IsDir(e):
		return syscall.EISDIR
	case rmdir && !t.hidden.hasAll(g.Children(e)):
		return syscall.ENOTEMPTY
	}
	t.hidden.hide(e, dir, time.Now().Add(hideFor))
	f.hiding.add(t)
	f.chores.poke()
	return nil
}

// hiding lists the torrents of which something is hidden.
type hiding struct {
	mu       sync.Mutex
	torrents map[*torrent]bool
}

func (hs *hiding) add(t *torrent) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.torrents == nil {
		hs.torrents = make(map[*torrent]bool)
	}
	hs.torrents[t] = true
}

func (hs *hiding) all() []*torrent {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	all := make([]*torrent, 0, len(hs.torrents))
	for t := range hs.torrents {
		all = append(all, t)
	}
	return all
}

func (hs *hiding) drop(t *torrent) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.torrents, t)
}

// showHidden shows again what was hidden for long enough.
func (f *FS) showHidden(now time.Time) (next time.Duration) {
	for _, t := range f.hiding.all() {
		if t.removed.Load() {
			f.hiding.drop(t)
			continue
		}
		// Out of the list first: whoever hides something now puts it in again.
		f.hiding.drop(t)
		shown, left := t.hidden.showDue(now)
		if left > 0 {
			f.hiding.add(t)
			next = sooner(next, left)
			continue
		}
		if len(shown) == 0 {
			continue
		}
		f.log.Warn("files of a torrent can't be removed one by one: they are shown again; remove the torrent's folder to remove the torrent",
			"torrent", t.ih, "name", f.root.where(t), "files", len(shown))
		f.notifier.torrentShown(t, shown)
	}
	return next
}
