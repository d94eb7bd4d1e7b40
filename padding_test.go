package weir_test

import (
	"slices"
	"testing"

	"github.com/weirfs/weir"
)

// newPaddedInfo makes a v1 torrent in which negative lengths are padding.
func newPaddedInfo(piece int64, lengths ...int64) *weir.TorrentInfo {
	ti := &weir.TorrentInfo{PieceLength: piece, Padded: true}
	for _, n := range lengths {
		f := weir.FileInfo{Offset: ti.Length, Length: max(n, -n), Padding: n < 0}
		ti.Length += f.Length
		ti.Files = append(ti.Files, f)
	}
	return ti
}

func TestPadding(t *testing.T) {
	const b, p = weir.BlockBytes, 4 * weir.BlockBytes
	for name, c := range map[string]struct {
		info   *weir.TorrentInfo
		pieces []int64      // lengths
		blocks []weir.Range // of the last piece, within it
		blank  []int
	}{
		"NoneAtAll":      {newPaddedInfo(p, p+5), []int64{p, 5}, []weir.Range{{Off: 0, End: 5}}, nil},
		"End":            {newPaddedInfo(p, 7, -(p - 7), b+1, -(p - b - 1)), []int64{7, b + 1}, []weir.Range{{Off: 0, End: b}, {Off: b, End: b + 1}}, nil},
		"WholePieces":    {newPaddedInfo(p, p, -2*p, 9), []int64{p, 0, 0, 9}, []weir.Range{{Off: 0, End: 9}}, []int{1, 2}},
		"SeveralInARow":  {newPaddedInfo(p, 1, -(p - 1), 0, -p, -3, 8), []int64{1, 0, 11}, []weir.Range{{Off: 3, End: 11}}, []int{1}},
		"Middle":         {newPaddedInfo(p, 5, -2*b, 1), []int64{2*b + 6}, []weir.Range{{Off: 0, End: 5}, {}, {Off: 2*b + 5, End: 2*b + 6}}, nil},
		"Beginning":      {newPaddedInfo(p, -b, 2), []int64{b + 2}, []weir.Range{{}, {Off: b, End: b + 2}}, nil},
		"LastFile":       {newPaddedInfo(p, 3, -2*p), []int64{3, 0, 0}, nil, []int{1, 2}},
		"NothingElse":    {newPaddedInfo(p, -p, -5), []int64{0, 0}, nil, []int{0, 1}},
		"InsideOneBlock": {newPaddedInfo(p, 5, -6, 7), []int64{18}, []weir.Range{{Off: 0, End: 18}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var lengths []int64
			for i := range c.info.NumPieces() {
				r := c.info.PieceRange(i)
				if r.Off != int64(i)*p {
					t.Errorf("piece %d begins at %d", i, r.Off)
				}
				lengths = append(lengths, r.Len())
			}
			if !slices.Equal(lengths, c.pieces) {
				t.Errorf("pieces of %v bytes, want %v", lengths, c.pieces)
			}
			last := c.info.NumPieces() - 1
			for i := range 4 {
				r := c.info.BlockRange(last, i)
				if r = (weir.Range{Off: r.Off - int64(last)*p, End: r.End - int64(last)*p}); r.Empty() {
					r = weir.Range{}
				}
				want := weir.Range{}
				if i < len(c.blocks) {
					want = c.blocks[i]
				}
				if r != want {
					t.Errorf("block %d is %v, want %v", i, r, want)
				}
			}
			var blank []int
			for i := range c.info.BlankPieces {
				blank = append(blank, i)
			}
			if !slices.Equal(blank, c.blank) {
				t.Errorf("pieces %v are blank, want %v", blank, c.blank)
			}
			content := int64(0)
			for i := range c.info.Files {
				f := &c.info.Files[i]
				first, end := c.info.Pieces(f.Range())
				if f.Padding || f.Length == 0 {
					continue
				}
				content += f.Length
				for first < end && c.info.PieceRange(first).Empty() {
					first++
				}
				if first == end || c.info.PieceRange(first).Intersect(f.Range()).Empty() || c.info.PieceRange(end-1).End < f.Range().End {
					t.Errorf("file %d lies in pieces %d to %d", i, first, end)
				}
			}
			if n := c.info.ContentBytes(); n != content {
				t.Errorf("%d bytes of content, want %d", n, content)
			}
			if a, z := c.info.Pieces(weir.Range{Off: c.info.PieceRange(0).End, End: p}); c.info.PieceRange(0).Len() < p && a != z {
				t.Errorf("the padding of the first piece touches pieces %d to %d", a, z)
			}
		})
	}
}
