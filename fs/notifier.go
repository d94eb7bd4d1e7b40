package fs

import (
	"context"
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
	names   []string // of the root that appeared or vanished
	grown   []*torrent
	removed []removal
	held    map[*torrent][]weir.Range
	soon    chan struct{} // capacity 1: names, grown or removed has something
	calm    chan struct{} // capacity 1: held has something
}

// removal is a torrent that was removed and the entries of it that are open.
type removal struct {
	t    *torrent
	open []uint32
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

func (n *notifier) rootChanged(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		n.names = append(n.names, name)
		poke(n.soon)
	}
}

// torrentGrown: the folder's own attributes may have been given out before its
// metadata was known.
func (n *notifier) torrentGrown(t *torrent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		n.grown = append(n.grown, t)
		poke(n.soon)
	}
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

// run tells to, until ctx is done.
func (n *notifier) run(ctx context.Context, to invalidator) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.running = false
		n.names, n.grown, n.removed = nil, nil, nil
		clear(n.held)
	}()
	// A reply that was on its way while the kernel was told to forget a name may
	// be taken in after that, so names are told twice, at least heldEvery apart.
	var told, again []string
	timer := time.NewTimer(heldEvery)
	defer timer.Stop()
	for armed := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.soon:
			told = append(told, n.tellTree(to)...)
		case <-n.calm:
		case <-timer.C:
			armed = false
			n.tellHeld(to)
			tellNames(to, again)
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

// tellNames makes the kernel forget names in the root. Errors say that it does
// not know the name, or that the mount is gone.
func tellNames(to invalidator, names []string) {
	for _, name := range names {
		_ = to.InvalidateEntry(fuse.RootID, name)
	}
	if len(names) > 0 {
		_ = to.InvalidateNode(fuse.RootID, 0, 0) // its listing and its attributes
	}
}

// tellTree tells of everything but held bytes, and returns the names among it.
func (n *notifier) tellTree(to invalidator) []string {
	n.mu.Lock()
	names, grown, removed := n.names, n.grown, n.removed
	n.names, n.grown, n.removed = nil, nil, nil
	n.mu.Unlock()
	tellNames(to, names)
	for _, t := range grown {
		if t.seen.Swap(false) {
			_ = to.InvalidateNode(makeNode(t.prefix, 0), -1, 0)
		}
	}
	for _, r := range removed {
		for _, e := range r.open { // the pages of files that can still be read
			_ = to.InvalidateNode(makeNode(r.t.prefix, e), 0, 0)
		}
		_ = to.InvalidateNode(makeNode(r.t.prefix, 0), 0, 0)
		if g := r.t.grown.Load(); g != nil {
			for e := uint32(1); e < uint32(g.len()); e++ {
				if g.takeSeen(e) {
					_ = to.InvalidateNode(makeNode(r.t.prefix, e), 0, 0)
				}
			}
		}
	}
	return names
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
		for _, r := range ranges {
			first, end := g.info.FilesIn(r)
			for file := first; file < end; file++ {
				if e := g.nodeOf[file]; e != 0 && g.takeSeen(e) {
					_ = to.InvalidateNode(makeNode(t.prefix, e), -1, 0) // attributes only
				}
			}
		}
	}
}
