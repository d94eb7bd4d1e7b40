package fs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// torrent is one torrent's folder. Its tree is in memory only while it is used: see trees.
type torrent struct {
	src     Torrent
	ih      weir.InfoHash
	number  uint64 // in the order of adding
	prefix  uint64 // of its node ids
	removed atomic.Bool
	seen    atomic.Bool // the kernel was given the folder's attributes

	raw  string // name it was added under; guarded by root.mu
	slot *slot  // where it is; guarded by root.mu

	fixedTime atomic.Pointer[time.Time]   // see time
	tree      atomic.Pointer[torrentTree] // nil until it is needed
	subdirs   atomic.Int32                // folders directly in it, known once it has a tree
	entries   atomic.Int32                // files and folders in it, likewise
	used      atomic.Int64                // when the tree was used last, seconds since 1970
	removing  pendingRemoval
	failed    failedWait
	held      heldChanges

	mu       sync.Mutex
	building *build // nil before the first build, or when the tree was dropped
}

// torrentTree is a torrent's tree, and the entries whose attributes the kernel has.
type torrentTree struct {
	*tree.Tree
	seen []atomic.Uint32 // a bit per entry
}

func newTorrentTree(info *weir.TorrentInfo) (*torrentTree, error) {
	t, err := tree.Build(info, node.MaxEntries)
	if err != nil {
		return nil, err
	}
	return &torrentTree{t, make([]atomic.Uint32, (t.Len()+31)/32)}, nil
}

// markSeen records that the kernel gets the attributes of entry n.
func (t *torrentTree) markSeen(n uint32) {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// takeSeen reports whether entry n was marked, and clears the mark.
func (t *torrentTree) takeSeen(n uint32) bool {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	return word.Load()&bit != 0 && word.And(^bit)&bit != 0
}

// entry is an entry of a torrent.
type entry struct {
	t    *torrent
	tree *torrentTree
	n    uint32
}

// heldTree returns the tree if it is in memory.
func (t *torrent) heldTree() *torrentTree {
	g := t.tree.Load()
	if g != nil {
		if now := time.Now().Unix(); t.used.Load() != now {
			t.used.Store(now)
		}
	}
	return g
}

// dropTree drops the tree and returns it, or nil. It is built again when it is needed.
func (t *torrent) dropTree() *torrentTree {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.tree.Load()
	if g != nil {
		t.tree.Store(nil)
		t.building = nil
	}
	return g
}

// peers returns how many peers of the torrent are connected.
func (t *torrent) peers() int { return t.src.Status(weir.Range{}).Peers }

// What the kernel must forget of a torrent.

// staleFolder returns the attributes of its folder, if the kernel has them.
func (t *torrent) staleFolder() kernel.Stale {
	return func(yield func(node.ID, kernel.Part) bool) {
		if t.seen.Swap(false) {
			yield(node.Make(t.prefix, 0), kernel.Attributes)
		}
	}
}

// staleTree returns what the kernel has of the entries of a tree.
func (t *torrent) staleTree(g *torrentTree, part kernel.Part) kernel.Stale {
	return func(yield func(node.ID, kernel.Part) bool) {
		for n := uint32(1); n < uint32(g.Len()); n++ {
			if g.takeSeen(n) && !yield(node.Make(t.prefix, n), part) {
				return
			}
		}
	}
}

// staleAll returns what the kernel has of a removed torrent, first the pages of the entries
// that are open, since they can still be read.
func (t *torrent) staleAll(open []uint32) kernel.Stale {
	return func(yield func(node.ID, kernel.Part) bool) {
		for _, n := range append(open, 0) {
			if !yield(node.Make(t.prefix, n), kernel.Everything) {
				return
			}
		}
		if g := t.tree.Load(); g != nil {
			t.staleTree(g, kernel.Everything)(yield)
		}
	}
}

// maxChangedRanges bounds the changed ranges of a torrent that wait for the notifier.
// Further ones widen the last, so that more files are checked than need be.
const maxChangedRanges = 64

// heldChanges are the ranges in which held bytes changed.
type heldChanges struct {
	mu     sync.Mutex
	ranges []weir.Range
}

func (h *heldChanges) add(r weir.Range) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ranges = addRange(h.ranges, r)
}

func (h *heldChanges) take() []weir.Range {
	h.mu.Lock()
	defer h.mu.Unlock()
	ranges := h.ranges
	h.ranges = nil
	return ranges
}

var _ kernel.Source = (*torrent)(nil)

// Stale implements kernel.Source: the attributes of files whose held bytes changed, if
// the kernel has them.
func (t *torrent) Stale() kernel.Stale {
	return func(yield func(node.ID, kernel.Part) bool) {
		ranges := t.held.take()
		g := t.tree.Load()
		if g == nil {
			return // dropped meanwhile, which told the kernel
		}
		for _, r := range ranges {
			first, end := g.Info().FilesIn(r)
			for file := first; file < end; file++ {
				if n := g.EntryOf(file); n != 0 && g.takeSeen(n) && !yield(node.Make(t.prefix, n), kernel.Attributes) {
					return
				}
			}
		}
	}
}

// addRange adds r to rs: it grows one that it touches, or is appended.
func addRange(rs []weir.Range, r weir.Range) []weir.Range {
	for i := range rs {
		if r.Off <= rs[i].End && rs[i].Off <= r.End {
			rs[i] = weir.Range{Off: min(r.Off, rs[i].Off), End: max(r.End, rs[i].End)}
			return rs
		}
	}
	if len(rs) < maxChangedRanges {
		return append(rs, r)
	}
	last := &rs[len(rs)-1]
	*last = weir.Range{Off: min(r.Off, last.Off), End: max(r.End, last.End)}
	return rs
}
