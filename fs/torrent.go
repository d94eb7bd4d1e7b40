package fs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
)

// torrent is one torrent's folder. What is in it is known while somebody uses it
// and forgotten after a while: see trees.
type torrent struct {
	src     Torrent
	ih      weir.InfoHash
	number  uint64 // in the order of adding
	prefix  uint64 // of its node ids
	removed atomic.Bool
	seen    atomic.Bool // the kernel was given the folder's attributes

	raw  string // name it was added under; guarded by root.mu
	slot *slot  // where it is; guarded by root.mu

	dated   atomic.Pointer[time.Time]   // see FS.timeOf
	grown   atomic.Pointer[torrentTree] // nil until somebody looks inside
	subdirs atomic.Int32                // folders directly in it, known once it has grown
	entries atomic.Int32                // files and folders in it, likewise
	used    atomic.Int64                // when somebody looked inside, seconds since 1970
	hidden  hidden
	late    lateLook

	mu      sync.Mutex
	growing *growth // nil when nobody began, or what had grown was forgotten
}

// growth is the making of a torrent's tree.
type growth struct {
	done chan struct{} // closed when g or err is there
	g    *torrentTree  // nil also without an error: the metadata is not known
	err  error
}

// errMustWait is what an operation returns, instead of waiting, to a caller whose
// context is noWait.
type errMustWait struct{}

func (errMustWait) Error() string { return "would have to wait" }

// noWait is the context of operations that run on a goroutine that answers the
// kernel: they must not wait, not even shortly, and fail with errMustWait.
var noWait context.Context = noWaitContext{context.Background()}

type noWaitContext struct{ context.Context }

// held returns the tree if it is there now.
func (t *torrent) held() *torrentTree {
	g := t.grown.Load()
	if g != nil {
		if now := time.Now().Unix(); t.used.Load() != now {
			t.used.Store(now)
		}
	}
	return g
}

// tree returns the torrent's tree. It waits for a magnet's metadata and for the
// tree to be built, until ctx is done.
func (f *FS) tree(ctx context.Context, t *torrent) (*torrentTree, error) {
	if g := t.held(); g != nil {
		return g, nil
	}
	if ctx == noWait {
		return nil, errMustWait{}
	}
	var info *weir.TorrentInfo
	for {
		growing := f.grow(t, info)
		select {
		case <-growing.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if growing.g != nil || growing.err != nil {
			return growing.g, growing.err
		}
		var err error
		if info, err = f.waitInfo(ctx, t); err != nil {
			return nil, err
		}
	}
}

// waitInfo waits for a magnet's metadata, no longer than a look may.
func (f *FS) waitInfo(ctx context.Context, t *torrent) (*weir.TorrentInfo, error) {
	if t.late.again(t.peers, time.Now()) {
		return nil, context.DeadlineExceeded
	}
	look, cancel := context.WithTimeout(ctx, f.deadline/lookShare)
	defer cancel()
	info, err := t.src.WaitInfo(look)
	if errors.Is(look.Err(), context.DeadlineExceeded) {
		t.late.note(t.peers(), time.Now())
		if err != nil && ctx.Err() == nil {
			err = context.DeadlineExceeded
		}
	}
	return info, err
}

// grow has the tree made, on a goroutine of its own, since a reader who loses
// patience needn't wait for the rest of it. Without info it takes the torrent's.
func (f *FS) grow(t *torrent, info *weir.TorrentInfo) *growth {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.growing != nil {
		return t.growing
	}
	growing := &growth{done: make(chan struct{})}
	t.growing = growing
	f.behind.Go(func() {
		if info == nil {
			info = t.src.Info()
		}
		if info != nil {
			growing.g, growing.err = newTorrentTree(info)
		}
		t.mu.Lock()
		if growing.g != nil {
			t.used.Store(time.Now().Unix())
			t.grown.Store(growing.g)
		} else if growing.err == nil {
			t.growing = nil // to be tried again
		}
		t.mu.Unlock()
		if growing.g != nil {
			f.hasGrown(t, growing.g)
		}
		close(growing.done)
	})
	return growing
}

// hasGrown says so to whom it concerns. The folder's own attributes may have been
// given out before, with other figures.
func (f *FS) hasGrown(t *torrent, g *torrentTree) {
	subdirs, entries := int32(g.Children(0).Subdirs), int32(g.Len()-1)
	first := t.entries.Swap(entries) != entries
	if t.subdirs.Swap(subdirs) != subdirs || first {
		f.notifier.torrentGrown(t)
	}
	f.trees.add(t, g.Len())
	f.chores.poke()
}

// forget drops the tree, to be made again when somebody looks inside, and returns
// it, nil if there was none.
func (t *torrent) forget() *torrentTree {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.grown.Load()
	if g != nil {
		t.grown.Store(nil)
		t.growing = nil
	}
	return g
}
