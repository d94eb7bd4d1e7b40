package fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

func growT(tb testing.TB, info *weir.TorrentInfo) *tree {
	tb.Helper()
	g, err := newTree(info)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// pathsOf returns all entries but the first, in entry order; folders end in '/'.
func pathsOf(g *tree) []string {
	var all []string
	for e := uint32(1); e < uint32(g.len()); e++ {
		p := pathOf(g, e)
		if g.isDir(e) {
			p += "/"
		}
		all = append(all, p)
	}
	return all
}

func TestTree(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []FakeFile
		want  []string
	}{
		{"Empty", nil, nil},
		{"Single", []FakeFile{{Path: "a.iso", Length: 5}}, []string{"a.iso"}},
		{"Sorted", []FakeFile{{Path: "b"}, {Path: "a/z"}, {Path: "c/d/e"}, {Path: "a/y"}}, []string{"a/", "b", "c/", "a/y", "a/z", "c/d/", "c/d/e"}},
		{"PaddingHidden", []FakeFile{{Path: "a"}, {Path: ".pad/1", Padding: true}, {Path: "b/p", Padding: true}, {Path: "b/c"}}, []string{"a", "b/", "b/c"}},
		{"OnlyPadding", []FakeFile{{Path: ".pad/1", Padding: true}}, nil},
		{"Unsafe", []FakeFile{{Path: "../../x"}, {Path: "."}}, []string{"%2E", "%2E%2E/", "%2E%2E/%2E%2E/", "%2E%2E/%2E%2E/x"}},
		{"Duplicates", []FakeFile{{Path: "a.txt", Length: 1}, {Path: "a.txt", Length: 2}, {Path: "a~2.txt", Length: 3}}, []string{"a.txt", "a~2.txt", "a~3.txt"}},
		{"FileAndFolder", []FakeFile{{Path: "a"}, {Path: "a/b"}, {Path: "a/c"}}, []string{"a/", "a~2", "a/b", "a/c"}},
		{"Interleaved", []FakeFile{{Path: "a/1"}, {Path: "b/1"}, {Path: "a/2"}, {Path: "a/b/1"}, {Path: "b/2"}},
			[]string{"a/", "b/", "a/1", "a/2", "a/b/", "b/1", "b/2", "a/b/1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := growT(t, FakeInfo("t", tt.files...))
			if got := pathsOf(g); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			checkTree(t, g)
		})
	}
}

// checkTree checks what must hold for every tree.
func checkTree(tb testing.TB, g *tree) {
	tb.Helper()
	for e := uint32(0); e < uint32(g.len()); e++ {
		if e > 0 {
			if got, ok := g.find(g.nodes[e].parent, g.name(e)); !ok || got != e {
				tb.Fatalf("entry %d %q is not found where it is: %d", e, pathOf(g, e), got)
			}
		}
		if !g.isDir(e) {
			if got := g.nodeOf[g.nodes[e].ref]; got != e {
				tb.Fatalf("file of entry %d is entry %d", e, got)
			}
			continue
		}
		s, subdirs := g.span(e), uint32(0)
		for c := s.first; c < s.first+s.count; c++ {
			if g.nodes[c].parent != e {
				tb.Fatalf("entry %d has parent %d, is in the span of %d", c, g.nodes[c].parent, e)
			}
			if c > s.first && g.name(c-1) >= g.name(c) {
				tb.Fatalf("%q stands before %q", g.name(c-1), g.name(c))
			}
			if g.isDir(c) {
				subdirs++
			}
		}
		if subdirs != s.subdirs {
			tb.Fatalf("folder %d has %d folders, says %d", e, subdirs, s.subdirs)
		}
		if _, ok := g.find(e, "no such name"); ok {
			tb.Fatal("found what is not there")
		}
	}
	for i := range g.info.Files {
		if g.info.Files[i].Padding != (g.nodeOf[i] == 0) {
			tb.Fatalf("file %d: padding %v, entry %d", i, g.info.Files[i].Padding, g.nodeOf[i])
		}
	}
}

func TestTreeRandom(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var files []FakeFile
		for range r.IntN(400) {
			parts := make([]string, 1+r.IntN(4))
			for i := range parts {
				parts[i] = []string{"a", "b", "..", "a~2", "%2F", strings.Repeat("x", 300), ""}[r.IntN(7)]
			}
			files = append(files, FakeFile{Path: strings.Join(parts, "/"), Length: 1, Padding: r.IntN(9) == 0})
		}
		info := FakeInfo("t", files...)
		g := growT(t, info)
		checkTree(t, g)
		if !slices.Equal(pathsOf(g), pathsOf(growT(t, info))) {
			t.Fatal("not deterministic")
		}
	}
}

func TestTreeRawPath(t *testing.T) {
	g := growT(t, FakeInfo("t", FakeFile{Path: "a/../b"}, FakeFile{Path: "c"}))
	for e, want := range [][]string{nil, {"a"}, {"c"}, {"a", ".."}, {"a", "..", "b"}} {
		if got := g.rawPath(uint32(e)); !slices.Equal(got, want) {
			t.Errorf("raw path of %q: %q, want %q", pathOf(g, uint32(e)), got, want)
		}
	}
	if got := growT(t, FakeInfo("empty")).rawPath(0); got != nil {
		t.Errorf("raw path of an empty torrent: %q", got)
	}
}

func TestTreeNoPath(t *testing.T) {
	info := FakeInfo("t", FakeFile{Path: "a"})
	info.Files[0].Path = nil // refused by validation, which a tree must not need
	g := growT(t, info)
	if got := pathsOf(g); !slices.Equal(got, []string{"%"}) {
		t.Errorf("got %q", got)
	}
	if got := g.rawPath(1); len(got) != 0 {
		t.Errorf("raw path: %q", got)
	}
}

func TestTreeTooLarge(t *testing.T) {
	info := FakeMany("t", 10, 9, 1)
	if _, err := buildTree(info, 101); err != nil {
		t.Errorf("100 entries of 100: %v", err)
	}
	if _, err := buildTree(info, 100); !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), "more than 99") {
		t.Errorf("100 entries of 99: %v", err)
	}
}

func TestTreeFilesUnder(t *testing.T) {
	g := growT(t, FakeInfo("t", FakeFile{Path: "a/1"}, FakeFile{Path: "b"}, FakeFile{Path: "p", Padding: true}, FakeFile{Path: "a/c/2"}))
	for path, want := range map[string][]int{"": {0, 1, 3}, "a": {0, 3}, "b": {1}, "a/c": {3}} {
		e := uint32(0)
		for e < uint32(g.len()) && pathOf(g, e) != path {
			e++
		}
		var got []int
		g.filesUnder(e, func(file int) bool { got = append(got, file); return true })
		if !slices.Equal(got, want) {
			t.Errorf("files under %q: %v, want %v", path, got, want)
		}
		n := 0
		g.filesUnder(e, func(int) bool { n++; return false })
		if n != 1 {
			t.Errorf("files under %q: did not stop", path)
		}
	}
}

func TestTreeSeen(t *testing.T) {
	g := growT(t, FakeMany("t", 5, 20, 1))
	g.markSeen(33)
	g.markSeen(33)
	if g.takeSeen(32) || !g.takeSeen(33) || g.takeSeen(33) {
		t.Error("marks are mixed up")
	}
}

func TestTreeMillion(t *testing.T) {
	info := FakeMany("million", 1000, 1000, 1000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	g := growT(t, info)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	// What is thrown away on the way counts too: the process keeps the room for it.
	if all := float64(after.TotalAlloc-before.TotalAlloc) / float64(g.len()); all > 64 {
		t.Errorf("%.1f bytes allocated per entry", all)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perEntry := float64(after.HeapAlloc-before.HeapAlloc) / float64(g.len())
	t.Logf("%d entries in %v, %.1f bytes each", g.len(), took, perEntry)
	if perEntry > 48 {
		t.Errorf("%.1f bytes per entry", perEntry)
	}
	if took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	runtime.KeepAlive(info)
}

func BenchmarkTreeMillion(b *testing.B) {
	info := FakeMany("million", 1000, 1000, 1000)
	shuffled := *info
	shuffled.Files = slices.Clone(info.Files)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled.Files), func(i, j int) {
		shuffled.Files[i], shuffled.Files[j] = shuffled.Files[j], shuffled.Files[i]
	})
	flat := FakeMany("flat", 1, 1000000, 1000)
	for name, info := range map[string]*weir.TorrentInfo{"Sorted": info, "Shuffled": &shuffled, "OneFolder": flat} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				growT(b, info)
			}
		})
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
