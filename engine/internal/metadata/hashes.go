package metadata

import "crypto/sha256"

// onceBytes is how large a dictionary may be to be kept as it comes. What is larger
// is fetched twice: first it is only hashed, because it may be anything, and then,
// if it is the dictionary, it is kept. That costs an honest one its time again, a
// lie no memory, and there is hardly any torrent so large.
const onceBytes = 8 << 20

// Sum is the hash of a dictionary that comes bit by bit.
type Sum interface {
	Add(b []byte)
	Right() bool // whether what was added is the dictionary
}

// hashes are what is known of a large dictionary before it is kept.
type hashes struct {
	begin  func() Sum // nil where the dictionary is small
	sum    Sum        // of what has arrived; nil when it is to be kept
	pieces [][pieceHashBytes]byte
	wrong  bool // all has arrived, and is not the dictionary
	right  bool // all has arrived, and is
}

const pieceHashBytes = sha256.Size

// clear forgets what is not known for sure.
func (h *hashes) clear() {
	if h.begin != nil && !h.right {
		h.sum, h.pieces, h.wrong = h.begin(), nil, false
	}
}

// add takes the next piece.
func (h *hashes) add(data []byte) {
	h.sum.Add(data)
	h.pieces = append(h.pieces, sha256.Sum256(data))
}

// finish looks at the sum, of which nothing is missing.
func (h *hashes) finish() (right bool) {
	h.right = h.sum.Right()
	h.wrong = !h.right
	if h.right {
		h.sum = nil
	}
	return h.right
}

// allow reports whether data may be a piece.
func (h *hashes) allow(piece int, data []byte) bool {
	return !h.right || h.pieces[piece] == sha256.Sum256(data)
}
