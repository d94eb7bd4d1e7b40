package fs

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
)

// inlineFiles is up to how many files a tree is built at once by whoever looks
// inside first; it takes a few milliseconds. Larger ones get a goroutine.
const inlineFiles = 4096

// torrent is one folder in the root.
type torrent struct {
	src     Torrent
	ih      weir.InfoHash
	shown   string // name of its folder
	place   uint64 // in the listing of the root
	prefix  uint64 // of its node ids
	removed atomic.Bool
	seen    atomic.Bool // the kernel was given the folder's attributes

	grown atomic.Pointer[tree] // nil until somebody looked inside

	mu       sync.Mutex
	growing  chan struct{} // closed when the tree is there or can't be; nil when nobody began
	growsErr error         // why it can't be
}

// errMustWait is what an operation returns, instead of waiting, to a caller whose
// context is noWait.
type errMustWait struct{}

func (errMustWait) Error() string { return "would have to wait" }

// noWait is the context of operations that run on a goroutine that answers the
// kernel: they must not wait, not even shortly, and fail with errMustWait.
var noWait context.Context = noWaitContext{context.Background()}

type noWaitContext struct{ context.Context }

// tree returns the torrent's tree. It waits for a magnet's metadata and for the
// tree to be built, until ctx is done. The kernel hears of it through n.
func (t *torrent) tree(ctx context.Context, n *notifier) (*tree, error) {
	if g := t.grown.Load(); g != nil {
		return g, nil
	}
	info := t.src.Info()
	if ctx == noWait && (info == nil || len(info.Files) > inlineFiles) {
		return nil, errMustWait{}
	}
	if info == nil {
		var err error
		if info, err = t.src.WaitInfo(ctx); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	done, first := t.growing, t.growing == nil
	if first {
		done = make(chan struct{})
		t.growing = done
	}
	t.mu.Unlock()
	if first {
		grow := func() {
			g, err := newTree(info)
			if err == nil {
				t.grown.Store(g)
			}
			t.growsErr = err // published by closing done
			close(done)
			n.torrentGrown(t)
		}
		if len(info.Files) > inlineFiles {
			go grow() // a reader who loses patience needn't wait for the rest of it
		} else {
			grow()
		}
	}
	select {
	case <-done:
		return t.grown.Load(), t.growsErr
	default:
	}
	if ctx == noWait {
		return nil, errMustWait{}
	}
	select {
	case <-done:
		return t.grown.Load(), t.growsErr
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
