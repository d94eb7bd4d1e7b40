package fs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
)

func treeT(tb testing.TB, info *weir.TorrentInfo) *torrentTree {
	tb.Helper()
	g, err := newTorrentTree(info)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func TestTreeSeen(t *testing.T) {
	g := treeT(t, FakeMany("t", 5, 20, 1))
	g.markSeen(33)
	g.markSeen(33)
	if g.takeSeen(32) || !g.takeSeen(33) || g.takeSeen(33) {
		t.Error("marks are mixed up")
	}
}

// TestTreeMarks: a mark belongs to one entry, and is taken once.
func TestTreeMarks(t *testing.T) {
	g := treeT(t, FakeMany("t", 9, 30, 1))
	r := rand.New(rand.NewPCG(1, 3))
	marked := map[uint32]bool{}
	for range 20_000 {
		n := uint32(r.IntN(g.Len()))
		if r.IntN(2) == 0 {
			g.markSeen(n)
			marked[n] = true
		} else if got := g.takeSeen(n); got != marked[n] {
			t.Fatalf("entry %d is marked: %v", n, got)
		} else {
			delete(marked, n)
		}
	}
}

// TestTreesDue: which trees are dropped, and when to check again.
func TestTreesDue(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		ago     []time.Duration // since each was used, of 10 entries
		removed int             // one that is, -1 for none
		limit   int
		gone    []int
		next    time.Duration
	}{
		"None":         {nil, -1, 100, nil, 0},
		"InUse":        {[]time.Duration{0, time.Second}, -1, 100, nil, time.Minute},
		"Idle":         {[]time.Duration{treeIdle, treeIdle + time.Second, 0}, -1, 100, []int{1}, time.Minute},
		"AllIdle":      {[]time.Duration{time.Hour, 2 * time.Hour}, -1, 100, []int{1, 0}, 0},
		"Removed":      {[]time.Duration{0, 0}, 1, 100, []int{1}, time.Minute},
		"AtTheLimit":   {[]time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}, -1, 30, nil, time.Minute},
		"OverTheLimit": {[]time.Duration{time.Minute, 3 * time.Minute, 2 * time.Minute}, -1, 29, []int{1}, time.Minute},
		"FarOver":      {[]time.Duration{time.Minute, 3 * time.Minute, 2 * time.Minute}, -1, 5, []int{1, 2}, time.Minute},
		"OverInUse":    {[]time.Duration{0, time.Second, treeInUse, treeInUse + time.Second}, -1, 5, []int{3}, treeInUse},
		"OneTooLarge":  {[]time.Duration{time.Minute}, -1, 5, nil, time.Minute},
	} {
		var ts trees
		var all []*torrent
		for i, d := range c.ago {
			tor := &torrent{}
			tor.used.Store(now.Add(-d).Unix())
			tor.removed.Store(i == c.removed)
			all = append(all, tor)
			ts.add(tor, 7)
			ts.add(tor, 10) // built again: that counts once
		}
		idle, next := ts.due(now, c.limit)
		var gone []int
		for _, tor := range idle {
			gone = append(gone, slices.Index(all, tor))
		}
		if !slices.Equal(gone, c.gone) || next != c.next {
			t.Errorf("%s: %v go, look again in %v; want %v, %v", name, gone, next, c.gone, c.next)
		}
		if left := len(c.ago) - len(c.gone); ts.total != 10*left || len(ts.entries) != left {
			t.Errorf("%s: %d entries of %d trees are left", name, ts.total, len(ts.entries))
		}
	}
}

// TestLooksInVain: after a look that timed out others fail at once for a minute, unless more
// peers are there than at any time since.
func TestLooksInVain(t *testing.T) {
	now := time.Unix(1000, 0)
	var asked atomic.Int32
	peers := func(n int) func() int { return func() int { asked.Add(1); return n } }
	var l failedWait
	if l.again(peers(0), now) || asked.Load() != 0 {
		t.Error("the first look fails at once")
	}
	l.set(2, now)
	for _, step := range []struct {
		after time.Duration
		peers int
		want  bool
	}{{0, 2, true}, {time.Second, 1, true}, {time.Minute - 1, 1, true}, {time.Minute - 1, 2, false}, {time.Minute - 1, 0, false}} {
		if got := l.again(peers(step.peers), now.Add(step.after)); got != step.want {
			t.Errorf("after %v, with %d peers: %v", step.after, step.peers, got)
		}
	}
	l.set(2, now)
	if l.again(peers(0), now.Add(time.Minute)) {
		t.Error("looks fail at once for more than a minute")
	}
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
	if len(rs) > maxChangedRanges || rs[len(rs)-1].End != 999001 {
		t.Errorf("%d ranges, the last %v", len(rs), rs[len(rs)-1])
	}
}

// TestStale: the kernel is told of what it was given, and of nothing else.
func TestStale(t *testing.T) {
	g := treeT(t, FakeInfo("t", FakeFile{Path: "a", Length: 10}, FakeFile{Path: "b", Length: 10}, FakeFile{Path: "c", Length: 10}))
	tor := &torrent{prefix: 5}
	tor.tree.Store(g)
	expect := func(what string, stale kernel.Stale, want ...string) {
		t.Helper()
		var got []string
		for id, part := range stale {
			prefix, n := id.Split()
			got = append(got, fmt.Sprintf("%d:%d %v", prefix, n, part == kernel.Everything))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	g.markSeen(1)
	g.markSeen(2)
	tor.held.add(weir.Range{Off: 5, End: 8})
	tor.held.add(weir.Range{Off: 5, End: 15})
	expect("held", tor.Stale(), "5:1 false", "5:2 false")
	tor.held.add(weir.Range{End: 30})
	expect("when the kernel did not ask again", tor.Stale())
	tor.seen.Store(true)
	expect("metadata", tor.staleFolder(), "5:0 false")
	expect("metadata of a folder that nobody saw", tor.staleFolder())
	g.markSeen(3)
	expect("removed", tor.staleAll([]uint32{2}), "5:2 true", "5:0 true", "5:3 true")
	g.markSeen(2)
	expect("a tree that was dropped", tor.staleTree(g, kernel.Attributes), "5:2 false")
	tor.tree.Store(nil)
	tor.held.add(weir.Range{End: 30})
	expect("held of what was dropped", tor.Stale())
}
