package storage

import (
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
)

// Piece is a whole piece in memory.
type Piece struct {
	Index  int
	bytes  int64
	blocks []picker.Buffer
}

// NewPiece puts the blocks that peers gave and those that are all padding together.
func NewPiece(l picker.Layout, index int, blocks []picker.Buffer) *Piece {
	p := &Piece{Index: index, bytes: l.Info.PieceRange(index).Len(), blocks: blocks}
	asked := l.AskedBlocks(index)
	if asked == nil {
		return p
	}
	all := make([]picker.Buffer, (p.bytes+weir.BlockBytes-1)/weir.BlockBytes)
	for i := range all {
		all[i] = zeros(BlockBytes(p.bytes, i))
	}
	for i, at := range asked {
		all[at] = blocks[i]
	}
	p.blocks = all
	return p
}

// zeros is a block of padding.
type zeros int

var zeroBlock [weir.BlockBytes]byte

// Bytes implements picker.Buffer.
func (z zeros) Bytes() []byte { return zeroBlock[:z] }

// Free implements picker.Buffer.
func (zeros) Free() {}

// BlockBytes is the length of block i of a piece.
func BlockBytes(pieceBytes int64, i int) int {
	return int(min(weir.BlockBytes, pieceBytes-int64(i)*weir.BlockBytes))
}

// NumBlocks returns how many blocks the piece has. It may be called after the bytes are gone.
func (p *Piece) NumBlocks() int { return len(p.blocks) }

// Blocks returns the piece's bytes, block by block.
func (p *Piece) Blocks() [][]byte {
	out := make([][]byte, len(p.blocks))
	for i, b := range p.blocks {
		out[i] = b.Bytes()
	}
	return out
}

func (p *Piece) free() {
	for _, b := range p.blocks {
		b.Free()
	}
}

// copyTo fills b from the piece at off.
func (p *Piece) copyTo(b []byte, off int64) {
	for len(b) > 0 {
		n := copy(b, p.blocks[off/weir.BlockBytes].Bytes()[off%weir.BlockBytes:])
		b, off = b[n:], off+int64(n)
	}
}
