package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

const testLimit = 1<<24 - 1

// testFile describes a file of a torrent.
type testFile struct {
	Path    string // with '/'
	Length  int64
	Padding bool
	Link    string // the target, from the torrent's folder on
}

// infoOf makes the metadata of a torrent of these files.
func infoOf(name string, files ...testFile) *weir.TorrentInfo {
	info := &weir.TorrentInfo{Name: name, PieceLength: 256 << 10}
	for _, f := range files {
		info.Files = append(info.Files, weir.FileInfo{Path: strings.Split(f.Path, "/"), Offset: info.Length, Length: f.Length, Padding: f.Padding, Link: f.Link})
		info.Length += f.Length
	}
	return info
}

// manyFiles makes the metadata of folders × files small files, in order.
func manyFiles(name string, folders, files int, length int64) *weir.TorrentInfo {
	info := &weir.TorrentInfo{Name: name, PieceLength: 256 << 10}
	for d := range folders {
		dir := fmt.Sprintf("folder-%04d", d)
		for i := range files {
			info.Files = append(info.Files, weir.FileInfo{Path: []string{dir, fmt.Sprintf("file-%06d.bin", i)}, Offset: info.Length, Length: length})
			info.Length += length
		}
	}
	return info
}

// pathOf returns where entry e of a tree is, with '/'.
func pathOf(g *Tree, e uint32) string {
	p := ""
	for ; e != 0; e = g.Parent(e) {
		p = path.Join(g.Name(e), p)
	}
	return p
}

func buildTest(tb testing.TB, info *weir.TorrentInfo) *Tree {
	tb.Helper()
	g, err := Build(info, testLimit)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// pathsOf returns all entries but the first, in entry order; folders end in '/'.
func pathsOf(g *Tree) []string {
	var all []string
	for e := uint32(1); e < uint32(g.Len()); e++ {
		p := pathOf(g, e)
		if g.IsDir(e) {
			p += "/"
		}
		all = append(all, p)
	}
	return all
}

func TestTree(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []testFile
		want  []string
	}{
		{"Empty", nil, nil},
		{"Single", []testFile{{Path: "a.iso", Length: 5}}, []string{"a.iso"}},
		{"Sorted", []testFile{{Path: "b"}, {Path: "a/z"}, {Path: "c/d/e"}, {Path: "a/y"}}, []string{"a/", "b", "c/", "a/y", "a/z", "c/d/", "c/d/e"}},
		{"PaddingHidden", []testFile{{Path: "a"}, {Path: ".pad/1", Padding: true}, {Path: "b/p", Padding: true}, {Path: "b/c"}}, []string{"a", "b/", "b/c"}},
		{"OnlyPadding", []testFile{{Path: ".pad/1", Padding: true}}, nil},
		{"Unsafe", []testFile{{Path: "../../x"}, {Path: "."}}, []string{"%2E", "%2E%2E/", "%2E%2E/%2E%2E/", "%2E%2E/%2E%2E/x"}},
		{"Duplicates", []testFile{{Path: "a.txt", Length: 1}, {Path: "a.txt", Length: 2}, {Path: "a~2.txt", Length: 3}}, []string{"a.txt", "a~2.txt", "a~3.txt"}},
		{"FileAndFolder", []testFile{{Path: "a"}, {Path: "a/b"}, {Path: "a/c"}}, []string{"a/", "a~2", "a/b", "a/c"}},
		{"Interleaved", []testFile{{Path: "a/1"}, {Path: "b/1"}, {Path: "a/2"}, {Path: "a/b/1"}, {Path: "b/2"}},
			[]string{"a/", "b/", "a/1", "a/2", "a/b/", "b/1", "b/2", "a/b/1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := buildTest(t, infoOf("t", tt.files...))
			if got := pathsOf(g); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			checkTree(t, g)
		})
	}
}

// checkTree checks what must hold for every tree.
func checkTree(tb testing.TB, g *Tree) {
	tb.Helper()
	for e := uint32(0); e < uint32(g.Len()); e++ {
		if e > 0 {
			if got, ok := g.Find(g.nodes[e].parent, g.Name(e)); !ok || got != e {
				tb.Fatalf("entry %d %q is not found where it is: %d", e, pathOf(g, e), got)
			}
		}
		if !g.IsDir(e) {
			if got := g.nodeOf[g.nodes[e].ref]; got != e {
				tb.Fatalf("file of entry %d is entry %d", e, got)
			}
			continue
		}
		s, subdirs := g.Children(e), uint32(0)
		for c := s.First; c < s.First+s.Count; c++ {
			if g.nodes[c].parent != e {
				tb.Fatalf("entry %d has parent %d, is in the Span of %d", c, g.nodes[c].parent, e)
			}
			if c > s.First && g.Name(c-1) >= g.Name(c) {
				tb.Fatalf("%q stands before %q", g.Name(c-1), g.Name(c))
			}
			if g.IsDir(c) {
				subdirs++
			}
		}
		if subdirs != s.Subdirs {
			tb.Fatalf("folder %d has %d folders, says %d", e, subdirs, s.Subdirs)
		}
		if _, ok := g.Find(e, "no such name"); ok {
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
		var files []testFile
		for range r.IntN(400) {
			parts := make([]string, 1+r.IntN(4))
			for i := range parts {
				parts[i] = []string{"a", "b", "..", "a~2", "%2F", strings.Repeat("x", 300), ""}[r.IntN(7)]
			}
			files = append(files, testFile{Path: strings.Join(parts, "/"), Length: 1, Padding: r.IntN(9) == 0})
		}
		info := infoOf("t", files...)
		g := buildTest(t, info)
		checkTree(t, g)
		if !slices.Equal(pathsOf(g), pathsOf(buildTest(t, info))) {
			t.Fatal("not deterministic")
		}
	}
}

func TestTreeRawPath(t *testing.T) {
	g := buildTest(t, infoOf("t", testFile{Path: "a/../b"}, testFile{Path: "c"}))
	for e, want := range [][]string{nil, {"a"}, {"c"}, {"a", ".."}, {"a", "..", "b"}} {
		if got := g.RawPath(uint32(e)); !slices.Equal(got, want) {
			t.Errorf("raw path of %q: %q, want %q", pathOf(g, uint32(e)), got, want)
		}
	}
	if got := buildTest(t, infoOf("empty")).RawPath(0); got != nil {
		t.Errorf("raw path of an empty torrent: %q", got)
	}
}

func TestTreeNoPath(t *testing.T) {
	info := infoOf("t", testFile{Path: "a"})
	info.Files[0].Path = nil // refused by validation, which a tree must not need
	g := buildTest(t, info)
	if got := pathsOf(g); !slices.Equal(got, []string{"%"}) {
		t.Errorf("got %q", got)
	}
	if got := g.RawPath(1); len(got) != 0 {
		t.Errorf("raw path: %q", got)
	}
}

func TestTreeTooLarge(t *testing.T) {
	info := manyFiles("t", 10, 9, 1)
	if _, err := Build(info, 101); err != nil {
		t.Errorf("100 entries of 100: %v", err)
	}
	if _, err := Build(info, 100); !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), "more than 99") {
		t.Errorf("100 entries of 99: %v", err)
	}
}

func TestTreeFilesUnder(t *testing.T) {
	g := buildTest(t, infoOf("t", testFile{Path: "a/1"}, testFile{Path: "b"}, testFile{Path: "p", Padding: true}, testFile{Path: "a/c/2"}))
	for path, want := range map[string][]int{"": {0, 1, 3}, "a": {0, 3}, "b": {1}, "a/c": {3}} {
		e := uint32(0)
		for e < uint32(g.Len()) && pathOf(g, e) != path {
			e++
		}
		var got []int
		g.FilesUnder(e, func(file int) bool { got = append(got, file); return true })
		if !slices.Equal(got, want) {
			t.Errorf("files under %q: %v, want %v", path, got, want)
		}
		n := 0
		g.FilesUnder(e, func(int) bool { n++; return false })
		if n != 1 {
			t.Errorf("files under %q: did not stop", path)
		}
	}
}

func TestTreeMillion(t *testing.T) {
	info := manyFiles("million", 1000, 1000, 1000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	g := buildTest(t, info)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	// What is thrown away on the way counts too: the process keeps the room for it.
	if all := float64(after.TotalAlloc-before.TotalAlloc) / float64(g.Len()); all > 64 {
		t.Errorf("%.1f bytes allocated per entry", all)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perEntry := float64(after.HeapAlloc-before.HeapAlloc) / float64(g.Len())
	t.Logf("%d entries in %v, %.1f bytes each", g.Len(), took, perEntry)
	if perEntry > 48 {
		t.Errorf("%.1f bytes per entry", perEntry)
	}
	if took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	runtime.KeepAlive(info)
}

func BenchmarkTreeMillion(b *testing.B) {
	info := manyFiles("million", 1000, 1000, 1000)
	shuffled := *info
	shuffled.Files = slices.Clone(info.Files)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled.Files), func(i, j int) {
		shuffled.Files[i], shuffled.Files[j] = shuffled.Files[j], shuffled.Files[i]
	})
	flat := manyFiles("flat", 1, 1000000, 1000)
	for name, info := range map[string]*weir.TorrentInfo{"Sorted": info, "Shuffled": &shuffled, "OneFolder": flat} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buildTest(b, info)
			}
		})
	}
}
