package source_test

import (
	"testing"

	"github.com/weirfs/weir/engine/source"
)

// TestLinks has a link at dir/sub/link in a torrent with the files a and dir/b.
func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name   string
		target any
		want   string // "" for a hidden link
	}{
		{"File", []string{"a"}, "a"},
		{"FileInFolder", []string{"dir", "b"}, "dir/b"},
		{"Folder", []string{"dir"}, "dir"},
		{"Itself", []string{"dir", "sub", "link"}, "dir/sub/link"},
		{"Top", []string{"."}, "."},
		{"TopFromLink", []string{"..", ".."}, "."},
		{"RelativeToLink", []string{"..", "b"}, "dir/b"},
		{"OneText", []string{"dir/b"}, "dir/b"},
		{"OneTextRelative", []string{"../../a"}, "a"},
		{"Around", []string{"dir", "sub", "..", "b"}, "dir/b"},
		{"Dots", []string{".", "dir", "", "b"}, "dir/b"},
		{"Nowhere", []string{"x", "y"}, "x/y"},
		{"NowhereFromLink", []string{"..", "y"}, "dir/y"},
		{"TopBeforeLink", []string{"link"}, "dir/sub/link"}, // there is none at the top
		{"Out", []string{"..", "..", "..", "etc"}, ""},
		{"OutAndIn", []string{"..", "..", "..", "folder", "a"}, ""},
		{"Absolute", []string{"/etc/passwd"}, ""},
		{"AbsoluteInPieces", []string{"", "etc", "passwd"}, ""},
		{"AbsoluteButThere", []string{"/a"}, "a"},
		{"NUL", []string{"a\x00b"}, ""},
		{"Empty", []string{}, ""},
		{"None", nil, ""},
		{"Number", 5, ""},
		{"Text", "a", ""},
		{"NumberInside", []any{"a", 5}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := with(dict{"length": 0, "path": []string{"dir", "sub", "link"}, "attr": "lx"}, dict{"symlink path": c.target})
			leaf := with(dict{"attr": "l", "length": 0}, dict{"symlink path": c.target})
			v1 := multi(link, file(1, "a"), file(2, "dir", "b"))
			v2 := dict{
				"name": "folder", "piece length": 16384, "meta version": 2, "file tree": dict{
					"a":   dict{"": dict{"length": 1, "pieces root": hashes(2)[:32]}},
					"dir": dict{"b": dict{"": dict{"length": 2, "pieces root": hashes(2)[:32]}}, "sub": dict{"link": dict{"": leaf}}},
				},
			}
			pad := with(file(16383, ".pad", "16383"), dict{"attr": "p"})
			hybrid := with(v2, dict{"files": []dict{file(1, "a"), pad, file(2, "dir", "b"), link}, "pieces": hashes(2)})
			for kind, info := range map[string]dict{"v1": v1, "v2": v2, "hybrid": hybrid} {
				spec, err := source.ParseTorrent(encode(t, dict{"info": info}))
				if err != nil {
					t.Fatal(kind, err)
				}
				found := false
				for _, f := range spec.Info.Files {
					if f.Path[len(f.Path)-1] != "link" {
						continue
					}
					found = true
					if f.Link != c.want || f.Hidden != (c.want == "") || f.Shown() == f.Hidden || f.Padding || f.Executable || f.Length != 0 {
						t.Errorf("%s: %+v, want a link to %q", kind, f, c.want)
					}
				}
				if !found {
					t.Errorf("%s: no link in %+v", kind, spec.Info.Files)
				}
			}
		})
	}
}
