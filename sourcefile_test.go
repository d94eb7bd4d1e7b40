package weir_test

import (
	"testing"

	"github.com/weirfs/weir"
)

func TestSourceFile(t *testing.T) {
	for name, want := range map[string][2]bool{
		"a.torrent": {true, true}, "A.TORRENT": {true, true}, "a.magnet": {true, true}, "a.txt": {true, true}, "a.url": {true, true}, "a.desktop": {true, true},
		"a.torrent.part": {false, true}, ".a.torrent.Xy12": {false, true}, ".torrent": {false, false}, "a.mkv": {false, false},
		"torrent": {false, false}, ".hidden.txt": {false, false}, "a.txt.torrent": {true, true},
	} {
		complete, ok := weir.SourceFile(name)
		if complete != want[0] || ok != want[1] {
			t.Errorf("%s: %v, %v", name, complete, ok)
		}
	}
}
