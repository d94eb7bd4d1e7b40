package verify

import (
	"crypto/sha256"

	"github.com/weirfs/weir/engine/source/merkle"
)

// blockTree says where a request for hashes below the layer of pieces lies. Such
// requests are for the tree of a single piece.
type blockTree struct {
	file, piece int // index of the file, and of the piece within it
	top         int // the layer of the piece's own root
}

// below finds the piece that a request is about; false if no honest peer makes it.
func (h *Hashes) below(req HashRequest) (b blockTree, ok bool) {
	files := h.filesOf(req.Root)
	if len(files) == 0 {
		return b, false
	}
	b.file, b.top = files[0], h.layer
	pieces := h.pieces(b.file)
	if pieces == 1 {
		b.top = merkle.Depth((h.info.Files[b.file].Length + merkle.LeafBytes - 1) / merkle.LeafBytes)
	}
	span := b.top - req.BaseLayer // layers inside the piece
	switch {
	case req.BaseLayer < 0 || span < 1,
		req.Length < 2 || req.Length > min(maxLength, 1<<span) || req.Length&(req.Length-1) != 0,
		req.Index < 0 || req.Index>>span >= pieces || req.Index%req.Length != 0,
		req.ProofLayers < 0 || req.ProofLayers >= span+merkle.Depth(int64(pieces)):
		return b, false
	}
	b.piece = req.Index >> span
	return b, true
}

// AnswersBelow reports whether a request is for hashes below the layer of pieces, and
// an honest peer may make it. It computes no hash.
func (h *Hashes) AnswersBelow(req HashRequest) bool {
	_, ok := h.below(req)
	return ok
}

// AnswerBelow is Answer for requests that AnswersBelow accepts. read fills p with the
// bytes of a piece at off and reports whether we have them. It is false too if the proof
// needs piece hashes that are not known.
func (h *Hashes) AnswerBelow(req HashRequest, read func(index int, p []byte, off int64) bool) ([][merkle.Size]byte, bool) {
	b, ok := h.below(req)
	if !ok {
		return nil, false
	}
	index := int(h.info.Files[b.file].Offset/h.info.PieceLength) + b.piece
	rows := blockRows(h.info.PieceRange(index).Len(), b.top, func(p []byte, off int64) bool { return read(index, p, off) })
	if rows == nil {
		return nil, false
	}
	var tree [][]byte
	node := func(layer, at int) (sum [merkle.Size]byte, ok bool) {
		if layer < b.top {
			row := rows[layer]
			if at -= b.piece << (b.top - layer); at < len(row) {
				return row[at], true
			}
			return merkle.Pad(layer), true
		}
		if tree == nil {
			tree = h.tree(b.file)
		}
		if tree == nil {
			return sum, false
		}
		if row := tree[layer-h.layer]; at*merkle.Size < len(row) {
			return [merkle.Size]byte(row[at*merkle.Size:]), true
		}
		return merkle.Pad(layer), true
	}
	out := make([][merkle.Size]byte, 0, req.Length+req.Uncles())
	for i := range req.Length {
		sum, _ := node(req.BaseLayer, req.Index+i) // inside the piece
		out = append(out, sum)
	}
	layer, at := req.BaseLayer+merkle.Depth(int64(req.Length)), req.Index/req.Length
	for range req.Uncles() {
		sum, ok := node(layer, at^1)
		if !ok {
			return nil, false
		}
		out = append(out, sum)
		layer, at = layer+1, at/2
	}
	return out, true
}

// blockRows returns the layers of the tree over n bytes, from that of the blocks up to
// the one below top, without hashes behind the end; nil if the bytes can't be read.
func blockRows(n int64, top int, read func(p []byte, off int64) bool) [][][merkle.Size]byte {
	row := make([][merkle.Size]byte, 0, (n+merkle.LeafBytes-1)/merkle.LeafBytes)
	var leaf [merkle.LeafBytes]byte
	for off := int64(0); off < n; off += merkle.LeafBytes {
		p := leaf[:min(n-off, merkle.LeafBytes)]
		if !read(p, off) {
			return nil
		}
		row = append(row, sha256.Sum256(p))
	}
	rows := [][][merkle.Size]byte{row}
	for layer := 0; layer < top-1; layer++ {
		above := make([][merkle.Size]byte, 0, (len(row)+1)/2)
		for i := 0; i < len(row); i += 2 {
			right := merkle.Pad(layer)
			if i+1 < len(row) {
				right = row[i+1]
			}
			above = append(above, merkle.Join(&row[i], &right))
		}
		rows = append(rows, above)
		row = above
	}
	return rows
}
