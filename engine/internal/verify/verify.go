// Package verify says whether a piece is right. It has the hashes of a v1 torrent
// (SHA-1 of each piece, BEP 3) or a v2 one (hash trees, BEP 52). While piece layers of
// a v2 torrent are missing, it says which hashes to ask peers for, and checks answers.
//
// It is arithmetic: no I/O, no goroutine, no peer and no message lives here. It
// must not import any other package of weir than the root and source/merkle.
package verify

import (
	"crypto/sha1"
	"hash"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source/merkle"
)

// Hashes are what is known of the hashes of one torrent. Safe for concurrent use.
type Hashes struct {
	info  *weir.TorrentInfo
	flat  []byte              // of all pieces in turn, 20 or 32 bytes each; nil if not all were known from the start
	roots [][merkle.Size]byte // v2: of each file
	layer int                 // v2: the layer of the trees whose hashes stand for one piece each

	index  sync.Once
	byRoot map[[merkle.Size]byte][]int // v2: the files of more than one piece; made by filesOf

	mu     sync.RWMutex     // guards what follows; never held while a piece is hashed
	layers map[int][]byte   // v2 without flat: by file, hashes of its pieces, zeros for unknown ones
	trees  map[int][][]byte // by file, what Answer needs
}

// New returns the hashes of info. pieceHashes are those of all pieces in turn, or
// nil for a v2 torrent of which only the roots are known; roots has one for each of
// info.Files, and is nil for a v1 torrent (source.Spec has both in this form). None of
// the three may be changed afterwards. The error wraps weir.ErrInvalid when their
// lengths do not match.
func New(info *weir.TorrentInfo, pieceHashes []byte, roots [][merkle.Size]byte) (*Hashes, error) {
	h := &Hashes{info: info, flat: pieceHashes, roots: roots}
	if !info.V2 {
		if len(pieceHashes) != sha1.Size*info.NumPieces() {
			return nil, weir.Errorf(weir.ErrInvalid, "%d bytes of hashes for %d pieces", len(pieceHashes), info.NumPieces())
		}
		return h, nil
	}
	if pieceHashes != nil && len(pieceHashes) != merkle.Size*info.NumPieces() || len(roots) != len(info.Files) ||
		info.PieceLength < merkle.LeafBytes || info.PieceLength&(info.PieceLength-1) != 0 {
		return nil, weir.Errorf(weir.ErrInvalid, "%d bytes of hashes for %d pieces of %d bytes, %d roots for %d files",
			len(pieceHashes), info.NumPieces(), info.PieceLength, len(roots), len(info.Files))
	}
	h.layer = merkle.Depth(info.PieceLength / merkle.LeafBytes)
	if pieceHashes == nil {
		h.layers = make(map[int][]byte)
	}
	return h, nil
}

// Known reports whether the hash of piece index is known, as it always is in v1.
func (h *Hashes) Known(index int) bool {
	if index < 0 || index >= h.info.NumPieces() {
		return false
	}
	if h.flat != nil {
		return true
	}
	_, ok := h.expected(index)
	return ok
}

// Check reports whether blocks, consecutive slices of any lengths, are exactly piece
// index, as TorrentInfo.PieceRange has it or with the padding at its end. It is false too
// while the piece's hash is not known. It takes about a millisecond a MiB and allocates
// nothing.
func (h *Hashes) Check(index int, blocks [][]byte) bool {
	if index < 0 || index >= h.info.NumPieces() {
		return false
	}
	n := int64(0)
	for _, b := range blocks {
		n += int64(len(b))
	}
	own := n == h.info.PieceRange(index).Len()
	if !h.info.V2 {
		full := h.info.FullRange(index).Len()
		return (own || n == full) && checkV1(blocks, full-n, [sha1.Size]byte(h.flat[index*sha1.Size:]))
	}
	if !own {
		return false
	}
	want, ok := h.expected(index)
	if !ok {
		return false
	}
	return treeRoot(blocks, h.depth(index, n)) == want
}

// Hash returns the hash of piece index: the SHA-1 of its bytes, 20 bytes, or with
// TorrentInfo.V2 the root of its hash tree, 32 bytes; nil while it is not Known.
func (h *Hashes) Hash(index int) []byte {
	if !h.Known(index) {
		return nil
	}
	if !h.info.V2 {
		return h.flat[index*sha1.Size:][:sha1.Size:sha1.Size]
	}
	want, _ := h.expected(index)
	return want[:]
}

// expected returns the hash of a piece of a v2 torrent.
func (h *Hashes) expected(index int) (want [merkle.Size]byte, ok bool) {
	if h.flat != nil {
		return [merkle.Size]byte(h.flat[index*merkle.Size:]), true
	}
	file, at := h.fileOf(index)
	if h.pieces(file) == 1 {
		return h.roots[file], true
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if layer := h.layers[file]; layer != nil {
		want = [merkle.Size]byte(layer[at*merkle.Size:])
	}
	return want, want != [merkle.Size]byte{}
}

// fileOf returns the file that piece index of a v2 torrent belongs to, and which
// of its pieces it is.
func (h *Hashes) fileOf(index int) (file, at int) {
	r := h.info.PieceRange(index)
	file, _ = h.info.FilesIn(weir.Range{Off: r.Off, End: r.Off + 1})
	return file, int((r.Off - h.info.Files[file].Offset) / h.info.PieceLength)
}

// pieces returns how many pieces a file of a v2 torrent has.
func (h *Hashes) pieces(file int) int {
	f := &h.info.Files[file]
	if f.Padding {
		return 0
	}
	return int((f.Length + h.info.PieceLength - 1) / h.info.PieceLength)
}

// depth returns how many layers the tree above the n bytes of a piece has. The
// last piece of a file is padded to a whole one; but a file of a single piece has a
// tree that is only as high as its length needs.
func (h *Hashes) depth(index int, n int64) int {
	if file, _ := h.fileOf(index); h.pieces(file) > 1 {
		return h.layer
	}
	return merkle.Depth((n + merkle.LeafBytes - 1) / merkle.LeafBytes)
}

// sumState is what checking a SHA-1 needs, kept between pieces.
type sumState struct {
	sum hash.Hash
	got [sha1.Size]byte
}

var sumStates = sync.Pool{New: func() any { return &sumState{sum: sha1.New()} }}

// zeros are what padding consists of.
var zeros [16 << 10]byte

// checkV1 hashes blocks with padding zeros behind them.
func checkV1(blocks [][]byte, padding int64, want [sha1.Size]byte) bool {
	s := sumStates.Get().(*sumState)
	defer sumStates.Put(s)
	s.sum.Reset()
	for _, b := range blocks {
		s.sum.Write(b)
	}
	for ; padding > 0; padding -= int64(len(zeros)) {
		s.sum.Write(zeros[:min(padding, int64(len(zeros)))])
	}
	s.sum.Sum(s.got[:0])
	return s.got == want
}
