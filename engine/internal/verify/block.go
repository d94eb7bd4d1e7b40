package verify

import (
	"crypto/sha256"
	"fmt"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source/merkle"
)

// BlockHash returns the hash of a block: a leaf of its file's tree.
func BlockHash(b []byte) [merkle.Size]byte { return sha256.Sum256(b) }

// BlockRequest returns the request for the hash of a block of piece index, and of its
// neighbour, with a proof that ends at the piece's own hash: libtorrent takes milliseconds
// for one that goes on to the file's root, and leaves the neighbour out of a request for
// one hash. False when there is no such block, it is the whole piece, or the torrent is v1.
func (h *Hashes) BlockRequest(index, block int) (HashRequest, bool) {
	if !h.info.V2 || index < 0 || index >= h.info.NumPieces() {
		return HashRequest{}, false
	}
	n := h.info.PieceRange(index).Len()
	if n <= merkle.LeafBytes || block < 0 || int64(block)*merkle.LeafBytes >= n {
		return HashRequest{}, false
	}
	file, at := h.fileOf(index)
	return HashRequest{Root: h.roots[file], Index: at<<h.layer + block&^1, Length: 2, ProofLayers: h.depth(index, n) - 1}, true
}

// BlockHashes checks the answer to a request that BlockRequest returned for a block of
// piece index, whose own hash must be Known, and returns the hashes of the two blocks. The
// error wraps weir.ErrCorrupt when they do not lead to the piece's hash.
func (h *Hashes) BlockHashes(index int, req HashRequest, hashes [][merkle.Size]byte) (pair [2][merkle.Size]byte, err error) {
	want, known := h.expected(index)
	if !known || len(hashes) != req.Length+req.Uncles() || req.Length != len(pair) {
		return pair, weir.Errorf(weir.ErrInvalid, "%d hashes for two blocks of piece %d, want %d", len(hashes), index, req.Length+req.Uncles())
	}
	got := merkle.Join(&hashes[0], &hashes[1])
	for i, at := 2, req.Index/2; i < len(hashes); i, at = i+1, at/2 {
		if at%2 == 0 {
			got = merkle.Join(&got, &hashes[i])
		} else {
			got = merkle.Join(&hashes[i], &got)
		}
	}
	if got != want {
		return pair, fmt.Errorf("hashes of blocks that do not lead to that of piece %d: %w", index, weir.ErrCorrupt)
	}
	return [2][merkle.Size]byte{hashes[0], hashes[1]}, nil
}
