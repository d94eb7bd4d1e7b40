package kernel

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/weirfs/weir/fs/internal/node"
)

// laterEvery is how often the kernel is told of what can wait, as block counts can.
const laterEvery = 500 * time.Millisecond

// Part is what the kernel must forget of a node.
type Part bool

const (
	Attributes Part = false
	Everything Part = true // the pages of a file or the listing of a folder, too
)

// Stale are the nodes that a change concerns. It is asked for when the kernel is told.
type Stale = iter.Seq2[node.ID, Part]

// Source is what changes all the time. It collects its changes itself, and Stale
// takes them.
type Source interface{ Stale() Stale }

// invalidator tells the kernel to forget. Errors say that it does not know what it
// shall forget, or that the mount is gone.
type invalidator interface {
	InvalidateNode(id node.ID, off, size int64) error
	InvalidateEntry(parent node.ID, name string) error
}

// Notifier tells the kernel what it must forget. It does so on a goroutine of its
// own, since the kernel may make the teller wait for requests that are under way.
// Changes are kept until they are told; before the mount is there, they are dropped,
// since the kernel knows nothing yet.
type Notifier struct {
	mu      sync.Mutex
	running bool
	gone    []goneName
	folders []node.ID // whose listing and attributes changed
	stale   []Stale
	sources map[Source]struct{}
	now     chan struct{} // capacity 1: one of the above but sources has something
	later   chan struct{} // capacity 1: sources has something
}

// goneName is a name that is not in its folder any more.
type goneName struct {
	parent node.ID
	name   string
}

func newNotifier() *Notifier {
	return &Notifier{sources: make(map[Source]struct{}), now: make(chan struct{}, 1), later: make(chan struct{}, 1)}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// add keeps a change by fn, unless nobody will be told of it.
func (n *Notifier) add(fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		fn()
		wake(n.now)
	}
}

// NameGone says that a name is not in a folder any more.
func (n *Notifier) NameGone(parent node.ID, name string) {
	n.add(func() { n.gone = append(n.gone, goneName{parent, name}) })
}

// FoldersChanged says that something came to folders, or went.
func (n *Notifier) FoldersChanged(ids ...node.ID) {
	if len(ids) > 0 {
		n.add(func() { n.folders = append(n.folders, ids...) })
	}
}

// Changed says that nodes changed.
func (n *Notifier) Changed(s Stale) { n.add(func() { n.stale = append(n.stale, s) }) }

// ChangesLater says that s has changes, which can wait for a moment.
func (n *Notifier) ChangesLater(s Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		n.sources[s] = struct{}{}
		wake(n.later)
	}
}

// Forget drops what s would say later.
func (n *Notifier) Forget(s Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sources, s)
}

// start makes the notifier keep what changes.
func (n *Notifier) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = true
}

// run tells to, until ctx is done. there reports whether a name is there again.
func (n *Notifier) run(ctx context.Context, to invalidator, there func(parent node.ID, name string) bool) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.running = false
		n.gone, n.folders, n.stale = nil, nil, nil
		clear(n.sources)
	}()
	// A reply that was on its way while the kernel was told to forget a name may
	// be taken in after that, so names are told twice, at least laterEvery apart.
	var told, again []goneName
	timer := time.NewTimer(laterEvery)
	defer timer.Stop()
	for armed := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.now:
			told = append(told, n.tellNow(to, there)...)
		case <-n.later:
		case <-timer.C:
			armed = false
			n.tellSources(to)
			tellGone(to, again, there)
			again, told = told, nil
			if len(again) == 0 {
				continue // nothing to do until something changes
			}
		}
		if !armed {
			timer.Reset(laterEvery)
			armed = true
		}
	}
}

// tellNow tells of everything but the sources, and returns the names that are gone.
func (n *Notifier) tellNow(to invalidator, there func(parent node.ID, name string) bool) []goneName {
	n.mu.Lock()
	gone, folders, stale := n.gone, n.folders, n.stale
	n.gone, n.folders, n.stale = nil, nil, nil
	n.mu.Unlock()
	tellGone(to, gone, there)
	tellFolders(to, folders)
	for _, s := range stale {
		tell(to, s)
	}
	return gone
}

// tellSources tells what the sources have collected.
func (n *Notifier) tellSources(to invalidator) {
	n.mu.Lock()
	sources := n.sources
	n.sources = make(map[Source]struct{})
	n.mu.Unlock()
	for s := range sources {
		tell(to, s.Stale())
	}
}

func tell(to invalidator, s Stale) {
	for id, part := range s {
		off := int64(-1) // attributes only
		if part == Everything {
			off = 0
		}
		_ = to.InvalidateNode(id, off, 0)
	}
}

// tellGone makes the kernel forget names. One that is there again is left alone: a
// program that works in that folder would lose its path.
func tellGone(to invalidator, names []goneName, there func(parent node.ID, name string) bool) {
	var in []node.ID
	for _, g := range names {
		if !there(g.parent, g.name) {
			_ = to.InvalidateEntry(g.parent, g.name)
		}
		in = append(in, g.parent)
	}
	tellFolders(to, in)
}

// tellFolders makes the kernel ask again for the listings and attributes of
// folders, each once.
func tellFolders(to invalidator, ids []node.ID) {
	told := make(map[node.ID]bool)
	for _, id := range ids {
		if !told[id] {
			told[id] = true
			_ = to.InvalidateNode(id, 0, 0)
		}
	}
}
