package fs

import (
	"cmp"
	"slices"
	"sync"
	"time"
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

// trees lists the torrents whose trees are in memory.
type trees struct {
	mu      sync.Mutex
	entries map[*torrent]int
	total   int
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
	type kept struct {
		t    *torrent
		used int64
	}
	var all []kept
	for t := range ts.entries {
		all = append(all, kept{t, t.used.Load()})
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.used, b.used) })
	idleSince, inUse := now.Add(-treeIdle).Unix(), now.Add(-treeInUse).Unix()
	next = treeEvery
	for i, k := range all {
		over := ts.total > limit && i < len(all)-1
		switch {
		case k.t.removed.Load() || k.used < idleSince || over && k.used < inUse:
			ts.total -= ts.entries[k.t]
			delete(ts.entries, k.t)
			idle = append(idle, k.t)
		case over:
			next = treeInUse
		}
	}
	if len(ts.entries) == 0 {
		next = 0
	}
	return idle, next
}

// forgetTrees drops what is due.
func (f *FS) forgetTrees(now time.Time) (next time.Duration) {
	idle, next := f.trees.due(now, treeEntries)
	for _, t := range idle {
		if t.removed.Load() {
			continue // the notifier still needs it, and nobody else has it
		}
		if g := t.forget(); g != nil {
			f.notifier.treeForgotten(t, g)
		}
	}
	return next
}
