package verify

import (
	"fmt"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source/merkle"
)

// HashRequest names hashes of one file's tree, as the messages of BEP 52 do ("hash
// request", "hashes" and "hash reject"). It is comparable: an answer repeats it.
type HashRequest struct {
	Root        [merkle.Size]byte // of the file
	BaseLayer   int               // of the hashes; 0 are the leaves
	Index       int               // of the first of them in the layer, a multiple of Length
	Length      int               // how many, a power of two
	ProofLayers int               // how many layers above BaseLayer the proof may come from
}

// Uncles returns how many hashes of an answer are proof: one from each proof layer, but
// for the layers that the hashes asked for cover themselves.
func (r HashRequest) Uncles() int {
	return max(0, r.ProofLayers-(merkle.Depth(int64(r.Length))-1))
}

// The lengths of requests. BEP 52 says that there should be no more than 512
// hashes in one; clients take up to 8,192.
const (
	usualLength = 512
	maxLength   = 8192
)

// Requests returns the requests that are needed to know the hashes of all pieces of a
// file; none when they are known. Each answer can be checked by itself.
func (h *Hashes) Requests(file int) []HashRequest {
	if h.flat != nil || file < 0 || file >= len(h.info.Files) || h.pieces(file) < 2 {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	var all []HashRequest
	layer, n := h.layers[file], h.pieces(file)
	for i := 0; i < n; i += usualLength {
		if layer == nil || !complete(layer[i*merkle.Size:min(i+usualLength, n)*merkle.Size]) {
			all = append(all, h.request(file, i, usualLength))
		}
	}
	return all
}

// RequestFor returns a request for the hash of piece index; false when it is known, or
// there is no such piece.
func (h *Hashes) RequestFor(index int) (HashRequest, bool) {
	if index < 0 || index >= h.info.NumPieces() || h.Known(index) {
		return HashRequest{}, false
	}
	file, at := h.fileOf(index)
	return h.request(file, at, usualLength), true
}

// RequestNoProof is RequestFor for peers that reject requests with proof layers,
// as anacrolix/torrent does: it asks for the whole layer of the piece's file, up to
// 8,192 hashes. False, too, when the file has more pieces than that.
func (h *Hashes) RequestNoProof(index int) (HashRequest, bool) {
	if index < 0 || index >= h.info.NumPieces() || h.Known(index) {
		return HashRequest{}, false
	}
	file, at := h.fileOf(index)
	return h.request(file, at, maxLength), h.pieces(file) <= maxLength
}

// request asks for the hash of a file's piece at and of those around it, at most
// length in all.
func (h *Hashes) request(file, at, length int) HashRequest {
	depth := merkle.Depth(int64(h.pieces(file)))
	r := HashRequest{Root: h.roots[file], BaseLayer: h.layer, Length: min(length, 1<<depth)}
	r.Index = at / r.Length * r.Length
	if r.Length < 1<<depth { // else all of the layer is there, and nothing to prove
		r.ProofLayers = depth - 1
	}
	return r
}

// complete reports whether no hash of a layer is missing.
func complete(layer []byte) bool {
	for i := 0; i < len(layer); i += merkle.Size {
		if [merkle.Size]byte(layer[i:]) == ([merkle.Size]byte{}) {
			return false
		}
	}
	return true
}

// Accept takes the answer to a request that one of the methods above returned: the
// hashes of the base layer and after them those of the proof. What lies behind the
// end of the file is ignored. The error wraps weir.ErrCorrupt when the hashes do not lead
// to the file's root: the peer lies, and nothing has changed. It wraps weir.ErrInvalid
// when their number is wrong, or nobody asked for req.
func (h *Hashes) Accept(req HashRequest, hashes [][merkle.Size]byte) error {
	files := h.filesOf(req.Root)
	if h.flat != nil || len(files) == 0 || req.Index < 0 || req.Index >= h.pieces(files[0]) ||
		req != h.request(files[0], req.Index, usualLength) && req != h.request(files[0], req.Index, maxLength) {
		return weir.Errorf(weir.ErrInvalid, "hashes of root %x that nobody asked for", req.Root)
	}
	if len(hashes) != req.Length+req.Uncles() {
		return weir.Errorf(weir.ErrInvalid, "%d hashes, want %d and %d of proof", len(hashes), req.Length, req.Uncles())
	}
	n := min(h.pieces(files[0])-req.Index, req.Length) // without what lies behind the end
	var s merkle.Stack
	s.Reset(req.BaseLayer)
	for i := range n {
		if hashes[i] == ([merkle.Size]byte{}) {
			// Zeros can lead to a root, where padding has them, and not to a piece.
			return weir.Errorf(weir.ErrInvalid, "a hash of zeros before the end of a file")
		}
		s.Add(&hashes[i])
	}
	got := s.Root(merkle.Depth(int64(req.Length)))
	for i, at := req.Length, req.Index/req.Length; i < len(hashes); i, at = i+1, at/2 {
		if at%2 == 0 {
			got = merkle.Join(&got, &hashes[i])
		} else {
			got = merkle.Join(&hashes[i], &got)
		}
	}
	if got != req.Root {
		return fmt.Errorf("hashes that do not lead to root %x: %w", req.Root, weir.ErrCorrupt)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, file := range files {
		layer := h.layers[file]
		if layer == nil {
			layer = make([]byte, h.pieces(file)*merkle.Size)
			h.layers[file] = layer
		}
		for i := range n {
			copy(layer[(req.Index+i)*merkle.Size:], hashes[i][:])
		}
	}
	return nil
}

// SetLayer takes the hashes of all pieces of a file, end to end, as in "piece layers"
// (BEP 52). The error wraps weir.ErrInvalid when their number is wrong or the file needs
// none, and weir.ErrCorrupt when they do not lead to its root.
func (h *Hashes) SetLayer(file int, hashes []byte) error {
	if !h.info.V2 || file < 0 || file >= len(h.info.Files) || h.pieces(file) < 2 || len(hashes) != h.pieces(file)*merkle.Size {
		return weir.Errorf(weir.ErrInvalid, "a layer of %d bytes for file %d", len(hashes), file)
	}
	if merkle.LayerRoot(hashes, h.layer) != h.roots[file] {
		return fmt.Errorf("a layer that does not lead to the root of file %d: %w", file, weir.ErrCorrupt)
	}
	if h.flat != nil {
		return nil // known already
	}
	kept := slices.Clone(hashes)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.filesOf(h.roots[file]) {
		h.layers[f] = kept
	}
	return nil
}

// Layer returns a copy of the hashes of all pieces of a file of a v2 torrent, to be
// saved for SetLayer; nil when some are missing or the file has less than two pieces.
func (h *Hashes) Layer(file int) []byte {
	if !h.info.V2 || file < 0 || file >= len(h.info.Files) {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.whole(file))
}

// whole returns the hashes of all pieces of a file, or nil; mu is held.
func (h *Hashes) whole(file int) []byte {
	n := h.pieces(file)
	switch {
	case n < 2:
		return nil
	case h.flat != nil:
		first := int(h.info.Files[file].Offset / h.info.PieceLength)
		return h.flat[first*merkle.Size : (first+n)*merkle.Size]
	case !complete(h.layers[file]):
		return nil
	}
	return h.layers[file]
}
