package tree

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTreeIsTheFiles: a tree of random files has each path and nothing else, and
// leads from each to what it is and what lies beneath it.
func TestTreeIsTheFiles(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		var files []testFile
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
			files = append(files, testFile{Path: path, Length: 1, Padding: padding})
			if padding {
				continue
			}
			fileAt[path] = len(files) - 1
			for i := 1; i < len(parts); i++ {
				folders[strings.Join(parts[:i], "/")] = true
			}
		}
		g := buildTest(t, infoOf("t", files...))
		if g.Len() != len(fileAt)+len(folders) {
			t.Fatalf("seed %d: %d entries of %d files and %d folders", seed, g.Len(), len(fileAt), len(folders))
		}
		under := func(n uint32) (all []int) {
			g.FilesUnder(n, func(i int) bool { all = append(all, i); return true })
			slices.Sort(all)
			return all
		}
		for path, i := range fileAt {
			n, ok := g.Walk(path)
			if !ok || g.IsDir(n) || g.Path(n) != path || g.File(n) != &g.Info().Files[i] || !slices.Equal(g.RawPath(n), g.Info().Files[i].Path) || !slices.Equal(under(n), []int{i}) {
				t.Fatalf("seed %d: %s is entry %d, %v, %s", seed, path, n, ok, g.Path(n))
			}
			if _, ok := g.Walk(path + "/x"); ok {
				t.Fatalf("seed %d: there is something in the file %s", seed, path)
			}
		}
		for path := range folders {
			n, ok := g.Walk("/" + path + "/")
			var want []int
			for p, i := range fileAt {
				if path == "" || strings.HasPrefix(p, path+"/") {
					want = append(want, i)
				}
			}
			slices.Sort(want)
			if !ok || !g.IsDir(n) || !slices.Equal(under(n), want) {
				t.Fatalf("seed %d: folder %q is entry %d, %v, with %v beneath, want %v", seed, path, n, ok, under(n), want)
			}
			if path != "" && (g.Path(n) != path || strings.Join(g.InfoPath(n), "/") != path || strings.Join(g.RawPath(n), "/") != path) {
				t.Fatalf("seed %d: folder %q says it is %q", seed, path, g.Path(n))
			}
		}
		// Stopped after any number of files, nothing more is told.
		for most := range 5 {
			for n := range uint32(g.Len()) {
				told := 0
				g.FilesUnder(n, func(int) bool { told++; return told < most })
				if want := min(max(1, most), len(under(n))); told != want {
					t.Fatalf("seed %d: told of %d files of entry %d, want %d", seed, told, n, want)
				}
			}
		}
	}
}

// TestTreeLinks: links are followed as far as the kernel does.
func TestTreeLinks(t *testing.T) {
	files := []testFile{{Path: "end/file", Length: 1}}
	for i := range 50 {
		to := fmt.Sprintf("link%02d", i-1)
		if i == 0 {
			to = "end"
		}
		files = append(files, testFile{Path: fmt.Sprintf("link%02d", i), Link: to})
	}
	g := buildTest(t, infoOf("t", files...))
	for i := range 50 {
		path := fmt.Sprintf("link%02d/file", i)
		n, ok := g.Walk(path)
		if want := i+1 <= 40; ok != want || ok && g.Path(n) != "end/file" {
			t.Errorf("%s, over %d links: %v", path, i+1, ok)
		}
	}
}
