package engine

import (
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// layout is a torrent as the picker sees it: its pieces have only those blocks that
// peers are asked for. Blocks that are all padding (BEP 47) are zeros, wherever in
// the piece they are, and are not counted.
type layout struct{ info *weir.TorrentInfo }

// NumPieces implements picker.Geometry.
func (l layout) NumPieces() int { return l.info.NumPieces() }

// PieceRange implements picker.Geometry.
func (l layout) PieceRange(index int) weir.Range {
	r := l.info.PieceRange(index)
	if w := l.wired(index); w != nil {
		last := l.info.BlockRange(index, w[len(w)-1])
		r.End = r.Off + int64(len(w)-1)*weir.BlockBytes + last.Len()
	}
	return r
}

// wired returns where the picker's blocks of a piece are, in blocks; nil when each
// is where its number says, as in all pieces without padding before their end.
func (l layout) wired(index int) []int {
	if !l.info.Padded {
		return nil
	}
	r := l.info.PieceRange(index)
	padding := false
	for first, end := l.info.FilesIn(r); first < end; first++ {
		f := &l.info.Files[first]
		padding = padding || f.Padding && f.Length > 0
	}
	if !padding {
		return nil
	}
	var w []int
	blocks := int((r.Len() + weir.BlockBytes - 1) / weir.BlockBytes)
	for i := range blocks {
		if !l.info.BlockRange(index, i).Empty() {
			w = append(w, i)
		}
	}
	return w
}

// blockAt returns the block that begins at a place in a piece, and its length. It
// reports false where none does that peers are asked for.
func (l layout) blockAt(index, begin int) (b picker.Block, bytes int, ok bool) {
	if index < 0 || index >= l.info.NumPieces() || begin < 0 {
		return b, 0, false
	}
	b = picker.Block{Piece: index, Index: begin / weir.BlockBytes}
	r := l.info.BlockRange(index, b.Index)
	if r.Off != int64(index)*l.info.PieceLength+int64(begin) {
		return b, 0, false
	}
	if w := l.wired(index); w != nil && !r.Empty() {
		at := 0
		for w[at] != b.Index {
			at++
		}
		b.Index = at
	}
	return b, int(r.Len()), !r.Empty()
}

// appendRequest appends a request for a block, or its cancel.
func (l layout) appendRequest(buf []byte, t pp.MessageType, b picker.Block) []byte {
	at := b.Index
	if w := l.wired(b.Piece); w != nil {
		at = w[b.Index]
	}
	r := l.info.BlockRange(b.Piece, at)
	return wire.AppendRequest(buf, t, b.Piece, int(r.Off-int64(b.Piece)*l.info.PieceLength), int(r.Len()))
}
