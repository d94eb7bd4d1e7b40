package kernel

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/weirfs/weir/fs/internal/node"
)

// laterEvery is how often the kernel is notified of changes that can wait, such as block
// counts.
const laterEvery = 500 * time.Millisecond

// Part is what the kernel must forget of a node.
type Part bool

const (
	Attributes Part = false
	Everything Part = true // the pages of a file or the listing of a folder, too
)

// Stale are the nodes that the kernel must forget. It runs when the kernel is notified.
type Stale = iter.Seq2[node.ID, Part]

// Source is something that changes often. It collects its changes until Stale takes them.
type Source interface{ Stale() Stale }

// invalidator makes the kernel forget. An error means that the kernel does not know the node
// or name, or that the mount is gone.
type invalidator interface {
	InvalidateNode(id node.ID, off, size int64) error
	InvalidateEntry(parent node.ID, name string) error
}

// Notifier tells the kernel what to forget, on a goroutine of its own, since a notification
// may have to wait for requests under way. Changes are queued until then. Before the mount
// exists they are dropped, since the kernel knows nothing yet.
type Notifier struct {
	mu      sync.Mutex
	running bool
	gone    []goneName
	folders []node.ID // whose listing and attributes changed
	stale   []Stale
	sources map[Source]struct{}
	now     chan struct{} // capacity 1: gone, folders or stale is not empty
	later   chan struct{} // capacity 1: sources is not empty
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

// add queues a change by fn, if the notifier is running.
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

// FoldersChanged says that something was added to folders or removed.
func (n *Notifier) FoldersChanged(ids ...node.ID) {
	if len(ids) > 0 {
		n.add(func() { n.folders = append(n.folders, ids...) })
	}
}

// Changed says that nodes changed.
func (n *Notifier) Changed(s Stale) { n.add(func() { n.stale = append(n.stale, s) }) }

// ChangesLater says that s has changes, which can wait for laterEvery.
func (n *Notifier) ChangesLater(s Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		n.sources[s] = struct{}{}
		wake(n.later)
	}
}

// Forget drops the changes of s.
func (n *Notifier) Forget(s Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sources, s)
}

// start makes the notifier queue changes.
func (n *Notifier) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = true
}

// run notifies the kernel until ctx is done. exists reports whether a name exists again.
func (n *Notifier) run(ctx context.Context, to invalidator, exists func(parent node.ID, name string) bool) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.running = false
		n.gone, n.folders, n.stale = nil, nil, nil
		clear(n.sources)
	}()
	// The kernel may process a reply that was on its way after it was told to forget the
	// name, so it is told twice, at least laterEvery apart.
	var told, again []goneName
	timer := time.NewTimer(laterEvery)
	defer timer.Stop()
	for armed := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.now:
			told = append(told, n.notifyNow(to, exists)...)
		case <-n.later:
		case <-timer.C:
			armed = false
			n.notifySources(to)
			notifyGone(to, again, exists)
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

// notifyNow notifies of everything but the sources, and returns the names that are gone.
func (n *Notifier) notifyNow(to invalidator, exists func(parent node.ID, name string) bool) []goneName {
	n.mu.Lock()
	gone, folders, stale := n.gone, n.folders, n.stale
	n.gone, n.folders, n.stale = nil, nil, nil
	n.mu.Unlock()
	notifyGone(to, gone, exists)
	notifyFolders(to, folders)
	for _, s := range stale {
		notify(to, s)
	}
	return gone
}

// notifySources notifies of what the sources have collected.
func (n *Notifier) notifySources(to invalidator) {
	n.mu.Lock()
	sources := n.sources
	n.sources = make(map[Source]struct{})
	n.mu.Unlock()
	for s := range sources {
		notify(to, s.Stale())
	}
}

func notify(to invalidator, s Stale) {
	for id, part := range s {
		off := int64(-1) // attributes only
		if part == Everything {
			off = 0
		}
		_ = to.InvalidateNode(id, off, 0)
	}
}

// notifyGone makes the kernel forget names. One that exists again is left alone: a program
// that works in that folder would lose its path.
func notifyGone(to invalidator, names []goneName, exists func(parent node.ID, name string) bool) {
	var in []node.ID
	for _, g := range names {
		if !exists(g.parent, g.name) {
			_ = to.InvalidateEntry(g.parent, g.name)
		}
		in = append(in, g.parent)
	}
	notifyFolders(to, in)
}

// notifyFolders makes the kernel forget the listings and attributes of folders, each once.
func notifyFolders(to invalidator, ids []node.ID) {
	told := make(map[node.ID]bool)
	for _, id := range ids {
		if !told[id] {
			told[id] = true
			_ = to.InvalidateNode(id, 0, 0)
		}
	}
}
