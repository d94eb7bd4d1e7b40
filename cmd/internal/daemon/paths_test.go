package daemon

import (
	"reflect"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

func TestOutside(t *testing.T) {
	for _, c := range []struct {
		run    [2]int
		others [][2]int
		want   [][2]int
	}{
		{[2]int{2, 5}, nil, [][2]int{{2, 5}}},
		{[2]int{2, 5}, [][2]int{{0, 9}}, nil},
		{[2]int{2, 5}, [][2]int{{0, 2}, {5, 9}}, [][2]int{{2, 5}}},
		{[2]int{2, 9}, [][2]int{{3, 4}, {6, 7}}, [][2]int{{2, 3}, {4, 6}, {7, 9}}},
		{[2]int{2, 5}, [][2]int{{7, 8}}, [][2]int{{2, 5}}},
		{[2]int{2, 5}, [][2]int{{0, 3}, {4, 5}}, [][2]int{{3, 4}}},
	} {
		if got := outside(c.run, c.others); !reflect.DeepEqual(got, c.want) {
			t.Errorf("outside(%v, %v) = %v, want %v", c.run, c.others, got, c.want)
		}
	}
}

// TestHideLinks: links that lead out of the torrent are told of, beneath the folder
// that is asked about, and not all of a million.
func TestHideLinks(t *testing.T) {
	info := &weir.TorrentInfo{Files: []weir.FileInfo{
		{Path: []string{"a"}, Length: 1}, {Path: []string{"d", "out"}, Hidden: true}, {Path: []string{"in"}, Link: "a"}, {Path: []string{"out"}, Hidden: true},
	}}
	for inside, want := range map[string][]string{"": {"d/out", "out"}, "d": {"d/out"}, "a": nil} {
		var out api.PathStatus
		if hideLinks(&out, info, strings.FieldsFunc(inside, func(r rune) bool { return r == '/' })); !reflect.DeepEqual(out.HiddenLinks, want) || out.HiddenLinkCount != len(want) {
			t.Errorf("%q: %q, %d", inside, out.HiddenLinks, out.HiddenLinkCount)
		}
	}
	for range 100 {
		info.Files = append(info.Files, weir.FileInfo{Path: []string{"more"}, Hidden: true})
	}
	var out api.PathStatus
	if hideLinks(&out, info, nil); len(out.HiddenLinks) != 20 || out.HiddenLinkCount != 102 {
		t.Errorf("%d of %d links", len(out.HiddenLinks), out.HiddenLinkCount)
	}
}
