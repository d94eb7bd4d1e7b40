package fs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
)

// How long trees are kept, and how many. A tree takes about 40 bytes for each file and
// folder, and keeps the torrent's metadata in memory, which takes several times that.
const (
	treeIdle    = 10 * time.Minute
	treeEvery   = time.Minute     // how often idle ones are looked for
	treeEntries = 1 << 20         // bound on the files and folders of all trees
	treeInUse   = 3 * time.Second // a request may still use a tree for so long
)

// trees builds the trees of torrents when they are needed, and lists those in memory.
type trees struct {
	root         *root
	notifier     *kernel.Notifier
	housekeeping *housekeeping
	deadline     func() time.Duration // of a read
	background   sync.WaitGroup       // trees being built

	mu      sync.Mutex
	entries map[*torrent]int
	total   int
}

// build is one building of a torrent's tree.
type build struct {
	done chan struct{} // closed when tree or err is set
	tree *torrentTree  // nil also without an error: the metadata is not known
	err  error
}

// entry returns the entry that a node is; ok is false if its tree is not in memory.
// ESTALE means that the torrent was removed: the kernel only asks for ids that it was
// given.
func (ts *trees) entry(id node.ID) (at entry, ok bool, err error) {
	t, n := ts.root.torrentOf(id)
	if t == nil {
		return entry{}, false, syscall.ESTALE
	}
	g := t.heldTree()
	if g == nil {
		return entry{}, false, nil
	}
	if n >= uint32(g.Len()) {
		return entry{}, false, syscall.ESTALE
	}
	return entry{t, g, n}, true, nil
}

// waitEntry is entry for those who can wait for the tree.
func (ts *trees) waitEntry(ctx context.Context, id node.ID) (entry, error) {
	t, n := ts.root.torrentOf(id)
	if t == nil {
		return entry{}, syscall.ESTALE
	}
	g, err := ts.wait(ctx, t)
	if err != nil {
		return entry{}, err
	}
	if n >= uint32(g.Len()) {
		return entry{}, syscall.ESTALE
	}
	return entry{t, g, n}, nil
}

// inTree calls do with the entry that a node is: at once if its tree is in memory,
// otherwise in the wait that it returns.
func inTree[A any](ts *trees, id node.ID, do func(at entry) (A, error)) (a A, wait node.Wait[A], err error) {
	at, ok, err := ts.entry(id)
	switch {
	case err != nil:
		return a, nil, err
	case ok:
		a, err = do(at)
		return a, nil, err
	}
	return a, func(ctx context.Context) (A, error) {
		at, err := ts.waitEntry(ctx, id)
		if err != nil {
			var none A
			return none, err
		}
		return do(at)
	}, nil
}

// wait returns the torrent's tree. It waits for a magnet's metadata and for the
// tree to be built, until ctx is done.
func (ts *trees) wait(ctx context.Context, t *torrent) (*torrentTree, error) {
	if g := t.heldTree(); g != nil {
		return g, nil
	}
	// Remove first marks the torrent and then ends its waits. This wait is listed already,
	// so either it sees the mark or Remove sees it.
	if t.removed.Load() {
		return nil, weir.ErrRemoved
	}
	var info *weir.TorrentInfo
	for {
		b := ts.build(t, info)
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if b.tree != nil || b.err != nil {
			return b.tree, b.err
		}
		var err error
		if info, err = ts.waitInfo(ctx, t); err != nil {
			return nil, err
		}
	}
}

// build builds the tree on a goroutine of its own, so that an interrupted program need not
// wait for it. Without info it takes the torrent's.
func (ts *trees) build(t *torrent, info *weir.TorrentInfo) *build {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.building != nil {
		return t.building
	}
	b := &build{done: make(chan struct{})}
	t.building = b
	ts.background.Go(func() {
		if info == nil {
			info = t.src.Info()
		}
		if info != nil {
			b.tree, b.err = newTorrentTree(info)
		}
		t.mu.Lock()
		if b.tree != nil {
			t.used.Store(time.Now().Unix())
			t.tree.Store(b.tree)
		} else if b.err == nil {
			t.building = nil // to be tried again
		}
		t.mu.Unlock()
		if b.tree != nil {
			ts.built(t, b.tree)
		}
		close(b.done)
	})
	return b
}

// built adds the tree to the list. The kernel may have older attributes of the folder, with
// another link count, and must forget them.
func (ts *trees) built(t *torrent, g *torrentTree) {
	subdirs, entries := int32(g.Children(0).Subdirs), int32(g.Len()-1)
	first := t.entries.Swap(entries) != entries
	if t.subdirs.Swap(subdirs) != subdirs || first {
		ts.notifier.Changed(t.staleFolder())
	}
	ts.add(t, g.Len())
	ts.housekeeping.wake()
}

func (ts *trees) add(t *torrent, entries int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.entries == nil {
		ts.entries = make(map[*torrent]int)
	}
	ts.total += entries - ts.entries[t]
	ts.entries[t] = entries
}

// due returns the torrents whose trees are to be dropped: those idle for treeIdle, those
// that were removed, and while there are more than limit entries the least recently used.
// A tree used within treeInUse is never among them, since a request may be using it. next
// is when to look again; 0: never.
func (ts *trees) due(now time.Time, limit int) (idle []*torrent, next time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.entries) == 0 {
		return nil, 0
	}
	type use struct {
		t    *torrent
		last int64
	}
	var all []use
	for t := range ts.entries {
		all = append(all, use{t, t.used.Load()})
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Compare(a.last, b.last) })
	idleSince, inUse := now.Add(-treeIdle).Unix(), now.Add(-treeInUse).Unix()
	next = treeEvery
	for i, u := range all {
		over := ts.total > limit && i < len(all)-1
		switch {
		case u.t.removed.Load() || u.last < idleSince || over && u.last < inUse:
			ts.total -= ts.entries[u.t]
			delete(ts.entries, u.t)
			idle = append(idle, u.t)
		case over:
			next = treeInUse
		}
	}
	if len(ts.entries) == 0 {
		next = 0
	}
	return idle, next
}

// dropIdle drops the trees that are due. Without a tree, HeldChanged can't find the files
// of a range, so the kernel must forget the attributes of all of them.
func (ts *trees) dropIdle(now time.Time) (next time.Duration) {
	idle, next := ts.due(now, treeEntries)
	for _, t := range idle {
		if t.removed.Load() {
			continue // the notifier still needs it, and nobody else has it
		}
		if g := t.dropTree(); g != nil {
			ts.notifier.Changed(t.staleTree(g, kernel.Attributes))
		}
	}
	return next
}

// Listing the folder of a magnet waits for its metadata. Programs that walk a mount (du,
// find, indexers) list every folder, so they must not wait long for metadata that no peer
// has, and not each time.
const (
	// waitShare is the fraction of a read's deadline that a wait for metadata may take: a
	// third.
	waitShare = 3
	// failFor is how long further waits fail at once after one that timed out.
	failFor = time.Minute
)

// waitInfo waits for a magnet's metadata, for a share of the deadline.
func (ts *trees) waitInfo(ctx context.Context, t *torrent) (*weir.TorrentInfo, error) {
	if t.failed.again(t.peers, time.Now()) {
		return nil, context.DeadlineExceeded
	}
	look, cancel := context.WithTimeout(ctx, ts.deadline()/waitShare)
	defer cancel()
	info, err := t.src.WaitInfo(look)
	if errors.Is(look.Err(), context.DeadlineExceeded) {
		t.failed.set(t.peers(), time.Now())
		if err != nil && ctx.Err() == nil {
			err = context.DeadlineExceeded
		}
	}
	return info, err
}

// failedWait remembers the last wait for a torrent's metadata that timed out.
type failedWait struct {
	mu    sync.Mutex
	until time.Time // further waits fail at once
	peers int       // connected then, or the fewest since
}

// set records that a wait timed out.
func (l *failedWait) set(peers int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.peers = now.Add(failFor), peers
}

// again reports whether another wait would time out too: the last one did a short time ago,
// and no peer has connected since.
func (l *failedWait) again(peers func() int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.until) {
		return false
	}
	n := peers()
	if n > l.peers {
		l.until = time.Time{}
		return false
	}
	l.peers = n
	return true
}
