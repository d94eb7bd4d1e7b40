package tree

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir"
)

// TestSplitDir: a sorting folder's path is names that a host may make, and nothing that
// leads elsewhere.
func TestSplitDir(t *testing.T) {
	long, longest := strings.Repeat("n", NameBytes+1), strings.Repeat("n", NameBytes)
	four := strings.Join([]string{longest, longest, longest, longest}, "/") // 1,023 bytes
	for dir, want := range map[string][]string{
		"": {}, "a": {"a"}, "a/b/c": {"a", "b", "c"}, "ä ö": {"ä ö"}, "a.b": {"a.b"}, longest: {longest},
		four: {longest, longest, longest, longest},
	} {
		names, err := SplitDir(dir)
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("SplitDir(%.40q) = %q, %v, want %q", dir, names, err, want)
		}
		joined := ""
		for _, name := range names {
			if !FolderName(name) {
				t.Errorf("%.40q is in the path of a folder, and no name of one", name)
			}
			joined = Join(joined, name)
		}
		if joined != dir {
			t.Errorf("SplitDir(%.40q) joined again is %.40q", dir, joined)
		}
	}
	for _, dir := range []string{"/", "/a", "a/", "a//b", ".", "..", "a/../b", ".trash", "a/.b", "a\x00b", long, four + "/n", strings.Repeat("a/", PathBytes/2) + "a"} {
		if names, err := SplitDir(dir); !errors.Is(err, weir.ErrInvalid) || names != nil {
			t.Errorf("SplitDir(%.40q) = %q, %v, want an error", dir, names, err)
		}
	}
	if all := strings.Repeat("a/", PathBytes/2-1) + "aa"; len(all) != PathBytes {
		t.Errorf("%d bytes", len(all))
	} else if _, err := SplitDir(all); err != nil {
		t.Errorf("a path of %d bytes: %v", PathBytes, err)
	}
	for _, name := range []string{"", "a/b", "/"} {
		if FolderName(name) {
			t.Errorf("%q is the name of a folder", name)
		}
	}
}

// TestLinkTarget: a link's target, seen from the link's folder, is what a walk along the
// link finds, and has no detour.
func TestLinkTarget(t *testing.T) {
	g := buildTest(t, infoOf("links",
		testFile{Path: "dir/sub/file", Length: 1}, testFile{Path: "dir/other", Length: 1}, testFile{Path: "top", Length: 1}, testFile{Path: "a?:b", Length: 1},
		testFile{Path: "same", Length: 1}, testFile{Path: "dir/sub/beside", Link: "dir/sub/file"}, testFile{Path: "dir/sub/up", Link: "dir/other"},
		testFile{Path: "dir/sub/out", Link: "top"}, testFile{Path: "down", Link: "dir/sub/file"}, testFile{Path: "folder", Link: "dir/sub"},
		testFile{Path: "dir/sub/here", Link: "dir/sub"}, testFile{Path: "dir/all", Link: "."}, testFile{Path: "all", Link: "."}, testFile{Path: "dir/sub/gone", Link: "no/such"},
		testFile{Path: "dir/odd", Link: "a?:b"},
	))
	for link, want := range map[string]string{
		"dir/sub/beside": "file", "dir/sub/up": "../other", "dir/sub/out": "../../top", "down": "dir/sub/file", "folder": "dir/sub",
		"dir/sub/here": ".", "dir/all": "..", "all": ".", "dir/sub/gone": "../../no/such", "dir/odd": "../" + SafeName("a?:b"),
	} {
		dir, name, found := strings.Cut(link, "/")
		if !found {
			dir, name = "", link
		} else if i := strings.LastIndexByte(link, '/'); i >= 0 {
			dir, name = link[:i], link[i+1:]
		}
		folder, ok := g.Walk(dir)
		if !ok {
			t.Fatalf("no folder %q", dir)
		}
		e, ok := g.Find(folder, name)
		if !ok {
			t.Fatalf("no entry %q", link)
		}
		if got := g.LinkTarget(e); got != want {
			t.Errorf("%s leads to %q, want %q", link, got, want)
		}
		// The same place, by the target and by the walk.
		to := folder
		for _, step := range strings.Split(want, "/") {
			switch step {
			case ".":
			case "..":
				to = g.Parent(to)
			default:
				if to, ok = g.Find(to, step); !ok {
					to = 0
				}
			}
			if !ok {
				break
			}
		}
		if at, found := g.Walk(link); found != ok || found && at != to {
			t.Errorf("a walk to %s ends at %d, %v, its target is %d, %v", link, at, found, to, ok)
		}
	}
}

// TestEntryOfFile: files and entries are told from each other both ways; padding has no entry.
func TestEntryOfFile(t *testing.T) {
	g := buildTest(t, infoOf("n", testFile{Path: "b/x", Length: 1}, testFile{Path: ".pad/1", Length: 1, Padding: true}, testFile{Path: "a", Length: 1}))
	for index, want := range []string{"b/x", "", "a"} {
		e := g.EntryOf(index)
		if (e == 0) != (want == "") || e != 0 && (g.Path(e) != want || g.FileIndex(e) != index) {
			t.Errorf("file %d is entry %d, want %q", index, e, want)
		}
	}
}
