package verify

import (
	"github.com/weirfs/weir/engine/source/merkle"
)

// filesOf returns the files with this root. Files of the same content share one. A file
// with the root of an earlier one but another number of pieces is a lie: it is left out,
// and its hashes never become known.
func (h *Hashes) filesOf(root [merkle.Size]byte) []int {
	h.index.Do(func() {
		h.byRoot = make(map[[merkle.Size]byte][]int)
		for i := range h.roots {
			n := h.pieces(i)
			if same := h.byRoot[h.roots[i]]; n > 0 && (same == nil || h.pieces(same[0]) == n) {
				h.byRoot[h.roots[i]] = append(same, i)
			}
		}
	})
	return h.byRoot[root]
}

// Answers reports whether an honest peer may make a request: for hashes of a file of
// the torrent, from the layer of its pieces up. See AnswersBelow for lower ones. It
// computes no hash.
func (h *Hashes) Answers(req HashRequest) bool {
	_, ok := h.answers(req)
	return ok
}

// answers is Answers, and returns the file.
func (h *Hashes) answers(req HashRequest) (file int, ok bool) {
	files := h.filesOf(req.Root)
	if len(files) == 0 {
		return 0, false
	}
	depth := merkle.Depth(int64(h.pieces(files[0]))) - (req.BaseLayer - h.layer) // above the base layer
	switch {
	case req.BaseLayer < h.layer || depth < 1,
		req.Length < 2 || req.Length > min(maxLength, 1<<depth) || req.Length&(req.Length-1) != 0,
		req.Index < 0 || req.Index >= 1<<depth || req.Index%req.Length != 0,
		req.ProofLayers < 0 || req.ProofLayers >= depth:
		return 0, false
	}
	return files[0], true
}

// Answer returns the hashes that a peer's request asks for, with their proof. False
// means that the request is to be rejected: it asks for a layer below that of the pieces
// (see AnswerBelow), for a file whose piece hashes are not all known, or for what no honest
// peer asks.
func (h *Hashes) Answer(req HashRequest) ([][merkle.Size]byte, bool) {
	file, ok := h.answers(req)
	if !ok {
		return nil, false
	}
	tree := h.tree(file)
	if tree == nil {
		return nil, false
	}
	node := func(layer, at int) [merkle.Size]byte {
		if row := tree[layer-h.layer]; at*merkle.Size < len(row) {
			return [merkle.Size]byte(row[at*merkle.Size:])
		}
		return merkle.Pad(layer)
	}
	out := make([][merkle.Size]byte, 0, req.Length+req.Uncles())
	for i := range req.Length {
		out = append(out, node(req.BaseLayer, req.Index+i))
	}
	layer, at := req.BaseLayer+merkle.Depth(int64(req.Length)), req.Index/req.Length
	for range req.Uncles() {
		out = append(out, node(layer, at^1))
		layer, at = layer+1, at/2
	}
	return out, true
}

// tree returns the layers of a file's tree from that of the pieces up, without
// hashes behind the end of the file; nil while piece hashes are missing. It is computed
// once, so that requests for proofs are cheap to answer.
func (h *Hashes) tree(file int) [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.trees[file]; t != nil {
		return t
	}
	row := h.whole(file)
	if row == nil {
		return nil
	}
	t := [][]byte{row}
	for layer := h.layer; len(row) > merkle.Size; layer++ {
		above := make([]byte, 0, (len(row)/merkle.Size+1)/2*merkle.Size)
		for i := 0; i < len(row); i += 2 * merkle.Size {
			right := merkle.Pad(layer)
			if i+merkle.Size < len(row) {
				right = [merkle.Size]byte(row[i+merkle.Size:])
			}
			sum := merkle.Join((*[merkle.Size]byte)(row[i:]), &right)
			above = append(above, sum[:]...)
		}
		t = append(t, above)
		row = above
	}
	if h.trees == nil {
		h.trees = make(map[int][][]byte)
	}
	h.trees[file] = t
	return t
}
