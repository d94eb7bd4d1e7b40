package fs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// fakeKernel notes what it is told.
type fakeKernel struct {
	mu   sync.Mutex
	told []string
}

func (k *fakeKernel) InvalidateNode(id fuse.NodeID, off, size int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	prefix, e := splitNode(id)
	k.told = append(k.told, fmt.Sprintf("node %d:%d %d+%d", prefix, e, off, size))
	return fuse.ErrNotCached
}

func (k *fakeKernel) InvalidateEntry(parent fuse.NodeID, name string) error {
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

func TestNotifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := treeT(t, FakeInfo("t", FakeFile{Path: "a", Length: 10}, FakeFile{Path: "b", Length: 10}, FakeFile{Path: "c", Length: 10}))
		tor := &torrent{prefix: 5}
		tor.grown.Store(g)
		n, k := newNotifier(), &fakeKernel{}
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := k.take(); !slices.Equal(got, want) {
				t.Errorf("%s: told %q, want %q", what, got, want)
			}
		}
		n.heldChanged(tor, weir.Range{End: 30}) // dropped: not mounted
		n.nameGone(fuse.RootID, "x")
		n.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var back atomic.Bool
		go n.run(ctx, k, func(g goneName) bool { return back.Load() && g.name == "back" })
		time.Sleep(time.Minute)
		expect("before the mount")

		g.markSeen(1)
		g.markSeen(2)
		n.heldChanged(tor, weir.Range{Off: 5, End: 8})
		n.heldChanged(tor, weir.Range{Off: 5, End: 15})
		expect("at once")
		time.Sleep(heldEvery)
		expect("after a moment", "node 5:1 -1+0", "node 5:2 -1+0")
		n.heldChanged(tor, weir.Range{End: 30})
		time.Sleep(heldEvery)
		expect("when the kernel did not ask again")

		n.nameGone(fuse.RootID, "old")
		expect("a name, at once", "name old", "node 0:1 0+0")
		time.Sleep(3 * heldEvery)
		expect("a name, once more", "name old", "node 0:1 0+0")
		time.Sleep(time.Minute)
		expect("a name, then")
		n.nameGone(fuse.RootID, "back")
		expect("a name that comes back", "name back", "node 0:1 0+0")
		back.Store(true)
		time.Sleep(3 * heldEvery)
		expect("a name that is back", "node 0:1 0+0")
		n.foldersChanged([]fuse.NodeID{makeNode(7, 0), fuse.RootID, makeNode(7, 0)})
		expect("listings", "node 7:0 0+0", "node 0:1 0+0")

		tor.seen.Store(true)
		n.torrentGrown(tor)
		expect("metadata", "node 5:0 -1+0")
		n.torrentGrown(tor)
		expect("metadata of a folder that nobody saw")

		g.markSeen(3)
		n.heldChanged(tor, weir.Range{End: 30})
		n.nameGone(fuse.RootID, "t")
		n.torrentRemoved(tor, []uint32{2})
		expect("removed", "name t", "node 0:1 0+0", "node 5:2 0+0", "node 5:0 0+0", "node 5:3 0+0")
		time.Sleep(time.Minute)
		k.take()

		g.markSeen(2)
		n.treeForgotten(tor, g)
		expect("forgotten", "node 5:2 -1+0")
		n.torrentShown(tor, map[uint32]uint32{2: 0, 3: 0})
		expect("shown again", "node 5:0 0+0")
		tor.grown.Store(nil)
		n.heldChanged(tor, weir.Range{End: 30})
		time.Sleep(time.Minute)
		expect("held of what is forgotten")
		cancel()
		synctest.Wait()
		n.nameGone(fuse.RootID, "late")
		if len(n.gone) != 0 {
			t.Error("keeps changes that nobody will be told of")
		}
	})
}

func TestAddRange(t *testing.T) {
	var rs []weir.Range
	rs = addRange(rs, weir.Range{Off: 10, End: 20})
	rs = addRange(rs, weir.Range{Off: 20, End: 30})
	rs = addRange(rs, weir.Range{Off: 5, End: 12})
	rs = addRange(rs, weir.Range{Off: 40, End: 50})
	if want := []weir.Range{{Off: 5, End: 30}, {Off: 40, End: 50}}; !slices.Equal(rs, want) {
		t.Errorf("got %v, want %v", rs, want)
	}
	for i := range int64(1000) {
		rs = addRange(rs, weir.Range{Off: 1000 * i, End: 1000*i + 1})
	}
	if len(rs) > longestRanges || rs[len(rs)-1].End != 999001 {
		t.Errorf("%d ranges, the last %v", len(rs), rs[len(rs)-1])
	}
}

func TestWaits(t *testing.T) {
	f := New(Options{ReadTimeout: time.Hour})
	tor := &torrent{}
	ends := make(chan error, 3)
	begin := func(id fuse.RequestID, t *torrent) error {
		return f.later(&fuse.Header{ID: id}, about{t: t}, func(ctx context.Context) {
			<-ctx.Done()
			ends <- context.Cause(ctx)
		})
	}
	if err := begin(1, tor); err != nil {
		t.Fatal(err)
	}
	if f.waits.interrupt(2) {
		t.Error("interrupted nobody")
	}
	if !f.waits.interrupt(1) || <-ends != context.Canceled {
		t.Error("not interrupted")
	}
	if err := begin(3, tor); err != nil {
		t.Fatal(err)
	}
	f.waits.cancelTorrent(&torrent{}, weir.ErrRemoved)
	f.waits.cancelTorrent(tor, weir.ErrRemoved)
	if err := <-ends; err != weir.ErrRemoved {
		t.Errorf("removed: %v", err)
	}
	tor.removed.Store(true)
	if err := begin(4, tor); err != nil || <-ends != weir.ErrRemoved {
		t.Errorf("of a removed torrent: %v", err)
	}
	if err := begin(5, nil); err != nil {
		t.Fatal(err)
	}
	f.waits.close()
	if err := <-ends; err != weir.ErrClosed {
		t.Errorf("closed: %v", err)
	}
	if err := begin(6, nil); err != weir.ErrClosed {
		t.Errorf("begun after: %v", err)
	}
}

func TestWaitDeadline(t *testing.T) {
	f := New(Options{ReadTimeout: time.Millisecond})
	end := make(chan error)
	err := f.later(&fuse.Header{ID: 1}, about{}, func(ctx context.Context) {
		<-ctx.Done()
		end <- reason(ctx, ctx.Err())
	})
	if err != nil || toErrno(<-end).Error() != "connection timed out" {
		t.Errorf("deadline: %v", err)
	}
	f.waits.close()
}
