package store

import (
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/inplace"
)

// TestHeldBytes: what is held of a range is the bytes of files whose pieces are in files or
// in the cache, without padding.
func TestHeldBytes(t *testing.T) {
	plain := &weir.TorrentInfo{PieceLength: 100, Length: 450} // its files need not be known
	padded := &weir.TorrentInfo{PieceLength: 100, Length: 450, Padded: true, Files: []weir.FileInfo{
		{Path: []string{"a"}, Length: 150}, {Path: []string{"pad"}, Offset: 150, Length: 50, Padding: true},
		{Path: []string{"b"}, Offset: 200, Length: 250},
	}}
	all := weir.Range{End: 450}
	for name, k := range map[string]struct {
		info   *weir.TorrentInfo
		gone   inplace.Bits
		cached int // a piece; -1: none
		r      weir.Range
		want   int64
	}{
		"All":         {plain, nil, -1, all, 450},
		"Beyond":      {plain, nil, -1, weir.Range{Off: 400, End: 900}, 50},
		"Lacks":       {plain, inplace.Bits{0b10010}, -1, all, 300},
		"Cached":      {plain, inplace.Bits{0b10010}, 4, all, 350},
		"Part":        {plain, inplace.Bits{0b10}, -1, weir.Range{Off: 150, End: 250}, 50},
		"Padded":      {padded, nil, -1, all, 400},
		"PaddedLacks": {padded, inplace.Bits{0b10}, -1, all, 350},
		"PaddedPart":  {padded, inplace.Bits{0b10}, -1, weir.Range{Off: 120, End: 230}, 30},
	} {
		c := inplace.New(inplace.Options{Info: func() *weir.TorrentInfo { return k.info }, Missing: k.gone})
		if got := heldBytes(k.info, k.r, c, func(i int) bool { return i == k.cached }); got != k.want {
			t.Errorf("%s: %d bytes are held, want %d", name, got, k.want)
		}
	}
}
