package fs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestTreeIsTheFiles: a tree of random files has each path and nothing else, and
// leads from each to what it is and what lies beneath it.
func TestTreeIsTheFiles(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		var files []FakeFile
		fileAt := map[string]int{}
		folders := map[string]bool{"": true}
		for range r.IntN(120) {
			parts := make([]string, 1+r.IntN(4))
			for i := range parts {
				parts[i] = fmt.Sprintf("%c%d", 'a'+rune(len(parts)-1-i), r.IntN(4)) // files are a…, folders others
			}
			path := strings.Join(parts, "/")
			if _, ok := fileAt[path]; ok {
				continue
			}
			padding := r.IntN(8) == 0
			files = append(files, FakeFile{Path: path, Length: 1, Padding: padding})
			if padding {
				continue
			}
			fileAt[path] = len(files) - 1
			for i := 1; i < len(parts); i++ {
				folders[strings.Join(parts[:i], "/")] = true
			}
		}
		g := growT(t, FakeInfo("t", files...))
		if g.len() != len(fileAt)+len(folders) {
			t.Fatalf("seed %d: %d entries of %d files and %d folders", seed, g.len(), len(fileAt), len(folders))
		}
		under := func(n uint32) (all []int) {
			g.filesUnder(n, func(i int) bool { all = append(all, i); return true })
			slices.Sort(all)
			return all
		}
		for path, i := range fileAt {
			n, ok := g.walk(path)
			if !ok || g.isDir(n) || g.path(n) != path || g.file(n) != &g.info.Files[i] || !slices.Equal(g.rawPath(n), g.info.Files[i].Path) || !slices.Equal(under(n), []int{i}) {
				t.Fatalf("seed %d: %s is entry %d, %v, %s", seed, path, n, ok, g.path(n))
			}
			if _, ok := g.walk(path + "/x"); ok {
				t.Fatalf("seed %d: there is something in the file %s", seed, path)
			}
		}
		for path := range folders {
			n, ok := g.walk("/" + path + "/")
			var want []int
			for p, i := range fileAt {
				if path == "" || strings.HasPrefix(p, path+"/") {
					want = append(want, i)
				}
			}
			slices.Sort(want)
			if !ok || !g.isDir(n) || !slices.Equal(under(n), want) {
				t.Fatalf("seed %d: folder %q is entry %d, %v, with %v beneath, want %v", seed, path, n, ok, under(n), want)
			}
			if path != "" && (g.path(n) != path || strings.Join(g.infoPath(n), "/") != path || strings.Join(g.rawPath(n), "/") != path) {
				t.Fatalf("seed %d: folder %q says it is %q", seed, path, g.path(n))
			}
		}
		// Stopped after any number of files, nothing more is told.
		for most := range 5 {
			for n := range uint32(g.len()) {
				told := 0
				g.filesUnder(n, func(int) bool { told++; return told < most })
				if want := min(max(1, most), len(under(n))); told != want {
					t.Fatalf("seed %d: told of %d files of entry %d, want %d", seed, told, n, want)
				}
			}
		}
	}
}

// TestTreeMarks: a mark is one entry's, and taken once.
func TestTreeMarks(t *testing.T) {
	g := growT(t, FakeMany("t", 9, 30, 1))
	r := rand.New(rand.NewPCG(1, 3))
	marked := map[uint32]bool{}
	for range 20_000 {
		n := uint32(r.IntN(g.len()))
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

// TestTreeLinks: links are followed as far as the kernel does.
func TestTreeLinks(t *testing.T) {
	files := []FakeFile{{Path: "end/file", Length: 1}}
	for i := range 50 {
		to := fmt.Sprintf("link%02d", i-1)
		if i == 0 {
			to = "end"
		}
		files = append(files, FakeFile{Path: fmt.Sprintf("link%02d", i), Link: to})
	}
	g := growT(t, FakeInfo("t", files...))
	for i := range 50 {
		path := fmt.Sprintf("link%02d/file", i)
		n, ok := g.walk(path)
		if want := i+1 <= 40; ok != want || ok && g.path(n) != "end/file" {
			t.Errorf("%s, over %d links: %v", path, i+1, ok)
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
