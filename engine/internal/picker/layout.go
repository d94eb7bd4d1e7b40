package picker

import "github.com/weirfs/weir"

var _ Geometry = Layout{}

// Layout is a torrent as the picker sees it: its pieces have only those blocks that
// peers are asked for. Blocks that are all padding (BEP 47) are zeros, wherever in
// the piece they are, and are not counted.
type Layout struct{ Info *weir.TorrentInfo }

// NumPieces implements Geometry.
func (l Layout) NumPieces() int { return l.Info.NumPieces() }

// PieceRange implements Geometry.
func (l Layout) PieceRange(index int) weir.Range {
	r := l.Info.PieceRange(index)
	if w := l.AskedBlocks(index); w != nil {
		last := l.Info.BlockRange(index, w[len(w)-1])
		r.End = r.Off + int64(len(w)-1)*weir.BlockBytes + last.Len()
	}
	return r
}

// AskedBlocks returns where the blocks of a piece are that peers are asked for, in blocks; nil when each
// is where its number says, as in all pieces without padding before their end.
func (l Layout) AskedBlocks(index int) []int {
	if !l.Info.Padded {
		return nil
	}
	r := l.Info.PieceRange(index)
	padding := false
	for first, end := l.Info.FilesIn(r); first < end; first++ {
		f := &l.Info.Files[first]
		padding = padding || f.Padding && f.Length > 0
	}
	if !padding {
		return nil
	}
	var w []int
	blocks := int((r.Len() + weir.BlockBytes - 1) / weir.BlockBytes)
	for i := range blocks {
		if !l.Info.BlockRange(index, i).Empty() {
			w = append(w, i)
		}
	}
	return w
}

// BlockAt returns the block that begins at a place in a piece, and its length. It
// reports false where none does that peers are asked for.
func (l Layout) BlockAt(index, begin int) (b Block, bytes int, ok bool) {
	if index < 0 || index >= l.Info.NumPieces() || begin < 0 {
		return b, 0, false
	}
	b = Block{Piece: index, Index: begin / weir.BlockBytes}
	r := l.Info.BlockRange(index, b.Index)
	if r.Off != int64(index)*l.Info.PieceLength+int64(begin) {
		return b, 0, false
	}
	if w := l.AskedBlocks(index); w != nil && !r.Empty() {
		at := 0
		for w[at] != b.Index {
			at++
		}
		b.Index = at
	}
	return b, int(r.Len()), !r.Empty()
}

// Place returns where in its piece a block is, in bytes, and its length.
func (l Layout) Place(b Block) (begin, length int) {
	at := b.Index
	if w := l.AskedBlocks(b.Piece); w != nil {
		at = w[b.Index]
	}
	r := l.Info.BlockRange(b.Piece, at)
	return int(r.Off - int64(b.Piece)*l.Info.PieceLength), int(r.Len())
}
