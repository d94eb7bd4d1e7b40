package fs

import (
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// heldEvery is how often the kernel is told that block counts changed.
const heldEvery = 500 * time.Millisecond

// longestRanges is how many separate changed ranges of a torrent are kept until
// they are told; further ones widen the last, which costs a look at more files
// and nothing else.
const longestRanges = 64

// invalidator is the part of fuse.Conn that tells the kernel to forget.
type invalidator interface {
	InvalidateNode(id fuse.NodeID, off, size int64) error
	InvalidateEntry(parent fuse.NodeID, name string) error
}

// notifier tells the kernel what it must forget. It does so on a goroutine of its
// own, since the kernel may make the teller wait for requests that are under way.
// Changes are kept, in bounded memory per torrent, until they are told; before
// the mount is there, they are dropped, since the kernel knows nothing yet.
type notifier struct {
	mu      sync.Mutex
	running bool
	gone    []goneName
	changed []fuse.NodeID // folders whose listing and attributes changed
	grown   []*torrent
	dropped []forgotten
	removed []removal
	shown   []reshown
	held    map[*torrent][]weir.Range
	soon    chan struct{} // capacity 1: one of the above but held has something
	calm    chan struct{} // capacity 1: held has something
}

// goneName is a name that is not in a sorting folder any more.
type goneName struct {
	parent fuse.NodeID
	name   string
}

// removal is a torrent that was removed and the entries of it that are open.
type removal struct {
	t    *torrent
	open []uint32
}

// forgotten is a tree that was dropped.
type forgotten struct {
	t *torrent
	g *torrentTree
}

// reshown is what is no longer hidden of a torrent.
type reshown struct {
	t       *torrent
	entries map[uint32]uint32 // and the folder of each
}

func newNotifier() *notifier {
	return &notifier{
		held: make(map[*torrent][]weir.Range),
		soon: make(chan struct{}, 1),
		calm: make(chan struct{}, 1),
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// add keeps a change by fn, unless nobody will be told of it.
func (n *notifier) add(fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		fn()
		poke(n.soon)
	}
}

func (n *notifier) nameGone(parent fuse.NodeID, name string) {
	n.add(func() { n.gone = append(n.gone, goneName{parent, name}) })
}

func (n *notifier) folderChanged(dir fuse.NodeID) {
	n.add(func() { n.changed = append(n.changed, dir) })
}

func (n *notifier) foldersChanged(dirs []fuse.NodeID) {
	if len(dirs) > 0 {
		n.add(func() { n.changed = append(n.changed, dirs...) })
	}
}

// torrentGrown: the folder's own attributes may have been given out before its
// metadata was known.
func (n *notifier) torrentGrown(t *torrent) {
	n.add(func() { n.grown = append(n.grown, t) })
}

// treeForgotten: who changes what is held of t can't be told any more which files
// that concerns, so the kernel has to ask for all of them.
func (n *notifier) treeForgotten(t *torrent, g *torrentTree) {
	n.add(func() { n.dropped = append(n.dropped, forgotten{t, g}) })
}

func (n *notifier) torrentShown(t *torrent, entries map[uint32]uint32) {
	n.add(func() { n.shown = append(n.shown, reshown{t, entries}) })
}

func (n *notifier) torrentRemoved(t *torrent, open []uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, t)
	if n.running {
		n.removed = append(n.removed, removal{t, open})
		poke(n.soon)
	}
}

func (n *notifier) heldChanged(t *torrent, r weir.Range) {
	if t.grown.Load() == nil {
		return // nobody was told of any file of it
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running || r.Empty() {
		return
	}
	n.held[t] = addRange(n.held[t], r)
	poke(n.calm)
}

// addRange adds r to rs: it grows one that it touches, or is appended.
func addRange(rs []weir.Range, r weir.Range) []weir.Range {
	for i := range rs {
		if r.Off <= rs[i].End && rs[i].Off <= r.End {
			rs[i] = weir.Range{Off: min(r.Off, rs[i].Off), End: max(r.End, rs[i].End)}
			return rs
		}
	}
	if len(rs) < longestRanges {
		return append(rs, r)
	}
	last := &rs[len(rs)-1]
	*last = weir.Range{Off: min(r.Off, last.Off), End: max(r.End, last.End)}
	return rs
}

// start makes the notifier keep what changes.
func (n *notifier) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = true
}
