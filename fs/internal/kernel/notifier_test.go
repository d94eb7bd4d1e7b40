package kernel

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir/fs/internal/node"
)

// fakeKernel notes what it is told.
type fakeKernel struct {
	mu   sync.Mutex
	told []string
}

func (k *fakeKernel) InvalidateNode(id node.ID, off, size int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	prefix, e := id.Split()
	k.told = append(k.told, fmt.Sprintf("node %d:%d %d+%d", prefix, e, off, size))
	return fuse.ErrNotCached
}

func (k *fakeKernel) InvalidateEntry(parent node.ID, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, fmt.Sprintf("name %s", name))
	return fuse.ErrNotCached
}

func (k *fakeKernel) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.told
	k.told = nil
	return told
}

// nodes are nodes of one torrent that changed.
func nodes(part Part, entries ...uint32) Stale {
	return func(yield func(node.ID, Part) bool) {
		for _, e := range entries {
			if !yield(node.Make(5, e), part) {
				return
			}
		}
	}
}

// source has changes once.
type source struct{ entries []uint32 }

func (s *source) Stale() iter.Seq2[node.ID, Part] {
	entries := s.entries
	s.entries = nil
	return nodes(Attributes, entries...)
}

func TestNotifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, k := newNotifier(), &fakeKernel{}
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := k.take(); !slices.Equal(got, want) {
				t.Errorf("%s: told %q, want %q", what, got, want)
			}
		}
		held := &source{[]uint32{1}}
		n.ChangesLater(held) // dropped: not mounted
		n.NameGone(node.Root, "x")
		n.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var back atomic.Bool
		go n.run(ctx, k, func(_ node.ID, name string) bool { return back.Load() && name == "back" })
		time.Sleep(time.Minute)
		expect("before the mount")

		held.entries = []uint32{1, 2}
		n.ChangesLater(held)
		n.ChangesLater(held)
		expect("at once")
		time.Sleep(laterEvery)
		expect("after a moment", "node 5:1 -1+0", "node 5:2 -1+0")
		n.ChangesLater(held)
		time.Sleep(laterEvery)
		expect("when nothing has changed")

		n.NameGone(node.Root, "old")
		expect("a name, at once", "name old", "node 0:1 0+0")
		time.Sleep(3 * laterEvery)
		expect("a name, once more", "name old", "node 0:1 0+0")
		time.Sleep(time.Minute)
		expect("a name, then")
		n.NameGone(node.Root, "back")
		expect("a name that comes back", "name back", "node 0:1 0+0")
		back.Store(true)
		time.Sleep(3 * laterEvery)
		expect("a name that is back", "node 0:1 0+0")
		n.FoldersChanged(node.Make(7, 0), node.Root, node.Make(7, 0))
		expect("listings", "node 7:0 0+0", "node 0:1 0+0")
		n.FoldersChanged()
		expect("no listing")

		held.entries = []uint32{3}
		n.ChangesLater(held)
		n.NameGone(node.Root, "t")
		n.Changed(nodes(Everything, 2, 0))
		n.Changed(nodes(Attributes, 4))
		n.Forget(held)
		expect("a name and nodes", "name t", "node 0:1 0+0", "node 5:2 0+0", "node 5:0 0+0", "node 5:4 -1+0")
		time.Sleep(time.Minute)
		expect("a name once more, and nothing of what is forgotten", "name t", "node 0:1 0+0")
		cancel()
		synctest.Wait()
		n.NameGone(node.Root, "late")
		if len(n.gone) != 0 {
			t.Error("keeps changes that nobody will be told of")
		}
	})
}
