package webseed

import (
	"net/url"
	"testing"

	"github.com/weirfs/weir"
)

func TestLocate(t *testing.T) {
	single := func(name string) *weir.TorrentInfo {
		return &weir.TorrentInfo{Name: name, Single: true, Files: []weir.FileInfo{{Path: []string{name}}}}
	}
	folder := func(name string, path ...string) *weir.TorrentInfo {
		return &weir.TorrentInfo{Name: name, Files: []weir.FileInfo{{Path: path}}}
	}
	for _, tt := range []struct {
		name, base string
		info       *weir.TorrentInfo
		want       string
	}{
		{"SingleAsItIs", "http://h/a.iso", single("b.iso"), "http://h/a.iso"},
		{"SingleBeneath", "http://h/mirror/", single("b.iso"), "http://h/mirror/b.iso"},
		{"SingleEscapedBefore", "http://h/a%20b%2Fc.iso", single("x"), "http://h/a%20b%2Fc.iso"},
		{"SingleRawSpace", "http://h/a b.iso", single("x"), "http://h/a%20b.iso"},
		{"SingleQuery", "http://h/get?id=5", single("x"), "http://h/get?id=5"},
		{"SingleAppendedToQuery", "http://h/get?file=", single("a&b"), "http://h/get?file=a%26b"},
		{"SingleNoPath", "http://h", single("x"), "http://h/"},
		{"SingleRoot", "http://h/", single("x y"), "http://h/x%20y"},
		{"Folder", "http://h/d/", folder("item", "a", "b.txt"), "http://h/d/item/a/b.txt"},
		{"FolderWithoutSlash", "http://h/d", folder("item", "b.txt"), "http://h/d/item/b.txt"},
		{"FolderAtRoot", "http://h", folder("item", "b.txt"), "http://h/item/b.txt"},
		{"FolderKeepsQuery", "http://h/d?token=1", folder("item", "b"), "http://h/d/item/b?token=1"},
		{"FolderInQuery", "http://h/d?path=/", folder("item", "b c"), "http://h/d?path=/item/b%20c"},
		{"Odd", "http://h/", folder("#1?", "100%", "a+b", "c&d", "é", `x\y`, "[z]"), "http://h/%231%3F/100%25/a%2Bb/c%26d/%C3%A9/x%5Cy/%5Bz%5D"},
		{"EscapedNameIsAName", "http://h/", folder("a%20b", "c"), "http://h/a%2520b/c"},
		{"BaseKeepsItsEscaping", "http://h/x%2By%2Fz/", folder("n", "c"), "http://h/x%2By%2Fz/n/c"},
		{"Fragment", "http://h/a.iso#top", single("x"), "http://h/a.iso"},
		{"User", "http://me:secret@h/", single("x"), "http://me:secret@h/x"},
		{"QueryRaw", "http://h/a?q=a b\u00e9", single("x"), "http://h/a?q=a%20b%C3%A9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, err := url.Parse(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			before := base.String()
			if got := Locate(base, tt.info, 0).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if base.String() != before {
				t.Errorf("base became %s", base)
			}
		})
	}
}

func TestLocateRawNames(t *testing.T) {
	info := &weir.TorrentInfo{Name: "é", Files: []weir.FileInfo{{Path: []string{"ü"}}},
		Raw: &weir.RawNames{Name: "\xe9", Paths: map[int][]string{0: {"\xfc"}}}}
	base, _ := url.Parse("http://h/")
	if got, want := Locate(base, info, 0).String(), "http://h/%E9/%FC"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("http://h/a", "name", "path")
	f.Add("http://h/?x=", "..", "/")
	f.Fuzz(func(t *testing.T, base, name, path string) {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" {
			return
		}
		got := Locate(u, &weir.TorrentInfo{Name: name, Files: []weir.FileInfo{{Path: []string{path}}}}, 0)
		again, err := url.Parse(got.String())
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if again.Host != u.Host {
			t.Fatalf("%s leads to %s", got, again.Host)
		}
	})
}
