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

// How long and how many trees are kept. A tree costs about 40 bytes for each file
// and folder, and keeps the torrent's metadata in memory, which costs several
// times that.
const (
	treeIdle    = 10 * time.Minute
	treeEvery   = time.Minute // how often idle ones are looked for
	treeEntries = 1 << 20     // files and folders in all trees, above which those that were not used lately go
	treeInUse   = 3 * time.Second
)

// trees builds the trees of torrents when somebody looks inside, and lists those that
// are in memory.
type trees struct {
	root         *root
	notifier     *kernel.Notifier
	housekeeping *housekeeping
	deadline     func() time.Duration // of a read
	behind       sync.WaitGroup       // trees that are being built

	mu      sync.Mutex
	entries map[*torrent]int
	total   int
}

// build is the building of a torrent's tree.
type build struct {
	done chan struct{} // closed when tree or err is there
	tree *torrentTree  // nil also without an error: the metadata is not known
	err  error
}

// entry returns the entry that a node is; ok is false if its tree is not in memory.
// ESTALE: the torrent was removed, for the kernel does not ask for what it was never
// given.
func (ts *trees) entry(id node.ID) (at entry, ok bool, err error) {
	t, n := ts.root.of(id)
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
	t, n := ts.root.of(id)
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

// inTree does something with the entry that a node is: at once if its tree is in
// memory, else when it is.
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
	// Remove marks the torrent first and ends its waits then, of which this is one
	// already: one of the two sees the other.
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

// build has the tree built, on a goroutine of its own, since a reader who loses
// patience needn't wait for the rest of it. Without info it takes the torrent's.
func (ts *trees) build(t *torrent, info *weir.TorrentInfo) *build {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.building != nil {
		return t.building
	}
	b := &build{done: make(chan struct{})}
	t.building = b
	ts.behind.Go(func() {
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

// built says so to whom it concerns. The folder's own attributes may have been given
// out before, with other figures.
func (ts *trees) built(t *torrent, g *torrentTree) {
	subdirs, entries := int32(g.Children(0).Subdirs), int32(g.Len()-1)
	first := t.entries.Swap(entries) != entries
	if t.subdirs.Swap(subdirs) != subdirs || first {
		ts.notifier.Changed(t.staleFolder())
	}
	ts.add(t, g.Len())
	ts.housekeeping.poke()
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

// due returns the torrents whose trees should go: those that nobody has used for
// treeIdle, those that were removed, and as long as there are too many entries the
// ones that were used least recently. Requests that are under way may hold a tree,
// so one that was used just now is never among them. next is when to look again;
// 0: never.
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

// dropIdle drops the trees that are due. Who changes what is held of a torrent can't
// be told any more which files that concerns, so the kernel has to ask for all of them.
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

// A look into the folder of a magnet waits for its metadata. Programs that walk
// through a mount (du, find, indexers) look into every folder, so they must not wait
// long for one that nobody has, and not each time.
const (
	// lookShare is which part of a read's deadline a look may wait.
	lookShare = 3
	// failedLookFor is how long looks fail at once after one that waited in vain.
	failedLookFor = time.Minute
)

// waitInfo waits for a magnet's metadata, no longer than a look may.
func (ts *trees) waitInfo(ctx context.Context, t *torrent) (*weir.TorrentInfo, error) {
	if t.failed.again(t.peers, time.Now()) {
		return nil, context.DeadlineExceeded
	}
	look, cancel := context.WithTimeout(ctx, ts.deadline()/lookShare)
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

// failedLook remembers the last look into a torrent that waited in vain.
type failedLook struct {
	mu    sync.Mutex
	until time.Time // looks fail at once
	peers int       // that were connected then, or fewer since
}

// set says that a look waited in vain.
func (l *failedLook) set(peers int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.peers = now.Add(failedLookFor), peers
}

// again reports whether another look would wait in vain: the last one did just now,
// and no peer has come since.
func (l *failedLook) again(peers func() int, now time.Time) bool {
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
