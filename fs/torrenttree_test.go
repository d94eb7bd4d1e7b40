package fs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
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

// TestTreeMarks: a mark is one entry's, and taken once.
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

// TestTreesDue: which trees go and when one looks again.
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
			ts.add(tor, 10) // it has grown: that counts once
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

// TestLooksInVain: after one look that waited in vain others fail at once for a
// minute, unless one more peer is there than at any time since.
func TestLooksInVain(t *testing.T) {
	now := time.Unix(1000, 0)
	var asked atomic.Int32
	peers := func(n int) func() int { return func() int { asked.Add(1); return n } }
	var l lateLook
	if l.again(peers(0), now) || asked.Load() != 0 {
		t.Error("the first look fails at once")
	}
	l.note(2, now)
	for _, step := range []struct {
		after time.Duration
		peers int
		want  bool
	}{{0, 2, true}, {time.Second, 1, true}, {time.Minute - 1, 1, true}, {time.Minute - 1, 2, false}, {time.Minute - 1, 0, false}} {
		if got := l.again(peers(step.peers), now.Add(step.after)); got != step.want {
			t.Errorf("after %v, with %d peers: %v", step.after, step.peers, got)
		}
	}
	l.note(2, now)
	if l.again(peers(0), now.Add(time.Minute)) {
		t.Error("looks fail at once for more than a minute")
	}
}

func TestNode(t *testing.T) {
	var ih weir.InfoHash
	for i := range ih {
		ih[i] = byte(i + 1)
	}
	if got := nodePrefix(ih, 0); got != 0x0102030405 {
		t.Errorf("prefix %#x", got)
	}
	if nodePrefix(weir.InfoHash{}, 0) == 0 {
		t.Error("prefix 0 belongs to the root")
	}
	if nodePrefix(ih, 1) == nodePrefix(ih, 2) {
		t.Error("the same candidate twice")
	}
	for _, e := range []uint32{0, 1, maxEntries - 1} {
		id := makeNode(0xfffffffffe, e)
		if p, got := splitNode(id); p != 0xfffffffffe || got != e {
			t.Errorf("%v: %#x %d", id, p, got)
		}
	}
	if got := fmt.Sprintf("%x", uint64(makeNode(0x0102030405, 7))); got != "102030405000007" {
		t.Errorf("node id %s: inodes would change with this version", got)
	}
}
