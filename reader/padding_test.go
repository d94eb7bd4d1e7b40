package reader

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// heldSome is a cache that holds some pieces.
type heldSome map[int]bool

func (h heldSome) Has(id weir.PieceID) bool                                { return h[id.Index] }
func (heldSome) View(weir.PieceID, int64, int, func([]byte)) (bool, error) { return false, nil }

// aligned makes a torrent of n files of 1600 bytes, each with a piece of its own.
func aligned(n int) *weir.TorrentInfo {
	const file = 1600
	info := &weir.TorrentInfo{PieceLength: 32 << 10, Padded: true}
	add := func(f weir.FileInfo) {
		f.Offset = info.Length
		info.Files, info.Length = append(info.Files, f), info.Length+f.Length
	}
	for i := range n {
		add(weir.FileInfo{Path: []string{fmt.Sprint(i)}, Length: file})
		add(weir.FileInfo{Path: []string{".pad", fmt.Sprint(i)}, Length: info.PieceLength - file, Padding: true})
	}
	return info
}

// TestWindowAcrossPadding: over small files a window counts 4 KiB a file, without padding,
// and is one range, so that it can span any number of files. Held pieces, and pieces of
// padding alone, are left out.
func TestWindowAcrossPadding(t *testing.T) {
	info := aligned(1000)
	files := policy.NewSequence(policy.TorrentOrder(info), 0, nil)
	for i := range 200 {
		if i > 0 && !files.Enter(2*i) {
			t.Fatalf("file %d does not continue the sequence", i)
		}
		files.Read(time.Unix(1, 0).Add(time.Duration(i)*2*time.Millisecond), 2*i, 1600, 1600)
		files.Leave(1600, 1600)
	}
	ranges := files.Windows(nil)
	s := &window{info: info, cache: heldSome{}, share: share{b: NewBudget(0)}}
	got := s.missing(nil, ranges)
	if len(got) != 1 {
		t.Fatalf("%d ranges, want one: %v", len(got), got)
	}
	// 200 files were read: the window is as long as 200 files of 4 KiB.
	first, end := info.Pieces(got[0])
	if most := 200 + 200*4096/1600; first != 200 || end < most-5 || end > most+1 {
		t.Errorf("pieces %d to %d are wanted, want 200 to about %d", first, end, most)
	}
	s.cache = heldSome{200: true, 250: true}
	if got = s.missing(nil, ranges); len(got) != 2 {
		t.Fatalf("ranges %v around a piece that is held", got)
	}
	if a, b := got[0], got[1]; a.Off/info.PieceLength != 201 || a.End != 249*info.PieceLength+1600 || b.Off/info.PieceLength != 251 {
		t.Errorf("ranges %v, want pieces 201 to 249 and from 251 on", got)
	}
	var bytes int64
	s.eachPiece(got, func(_ int, n int64) bool { bytes += n; return true })
	if want := int64(end-first-2) * 1600; bytes != want {
		t.Errorf("the budget is charged with %d bytes, want %d: no padding", bytes, want)
	}
}
