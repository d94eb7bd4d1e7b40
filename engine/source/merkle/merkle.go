// Package merkle computes the hash trees of BEP 52: SHA-256, binary, over leaves
// of 16 KiB. It is arithmetic on hashes and nothing else; what a tree belongs to
// is the business of engine/source and engine/internal/verify. It must not import
// any other package of weir.
//
// Layer 0 are the leaves, and a hash of layer n stands for 2^n leaves. A file's
// tree has as many leaves as the next power of two says; those behind the end of
// the file are hashes of zeros only (32 zero bytes, not the hash of zero bytes).
package merkle

import (
	"crypto/sha256"
	"math/bits"
)

// LeafBytes is what a leaf covers, 16 KiB; the last leaf of a file may cover less.
const LeafBytes = 16 << 10

// Size is the size of a hash in bytes.
const Size = sha256.Size

// maxLayer is above every tree of a file that a signed 64-bit length can have.
const maxLayer = 63

// pads holds, for each layer, the hash that stands for leaves behind the end alone.
var pads = func() (all [maxLayer + 1][Size]byte) {
	for i := 1; i <= maxLayer; i++ {
		all[i] = Join(&all[i-1], &all[i-1])
	}
	return all
}()

// Pad returns the hash of layer 0 … 63 whose leaves all lie behind the end of the
// file.
func Pad(layer int) [Size]byte { return pads[layer] }

// Join returns the hash above two neighbours.
func Join(left, right *[Size]byte) [Size]byte {
	var pair [2 * Size]byte
	copy(pair[:Size], left[:])
	copy(pair[Size:], right[:])
	return sha256.Sum256(pair[:])
}

// Depth returns how many layers lie above a layer of n hashes, n > 0: the
// logarithm of n to the base 2, rounded up.
func Depth(n int64) int { return bits.Len64(uint64(n - 1)) }

// Stack computes a root from hashes of one layer that come in order, in constant
// memory and without allocating. The zero Stack takes leaves; Reset prepares it
// for another layer or another tree.
type Stack struct {
	layer int    // of what Add takes
	n     uint64 // hashes added
	// open[i] is the hash of 2^i added ones that still miss their right
	// neighbour; it is set where bit i of n is.
	open [maxLayer + 1][Size]byte
}

// Reset forgets what was added and says which layer comes next.
func (s *Stack) Reset(layer int) { s.layer, s.n = layer, 0 }

// Add adds the next hash of the layer.
func (s *Stack) Add(hash *[Size]byte) {
	h := *hash
	i := 0
	for ; s.n>>i&1 != 0; i++ {
		h = Join(&s.open[i], &h)
	}
	s.open[i] = h
	s.n++
}

// Root returns the root of a tree that has depth layers above the one that was
// added, padded at its end. At least one hash and at most 2^depth must have been
// added. The Stack must be Reset before it takes another tree.
func (s *Stack) Root(depth int) [Size]byte {
	if s.n == 1<<depth {
		return s.open[depth]
	}
	// From the lowest hash without a neighbour on: each layer joins what is there
	// with the padding, or with what stands to the left of it.
	low := bits.TrailingZeros64(s.n)
	h := s.open[low]
	for i := low; i < depth; i++ {
		if i > low && s.n>>i&1 != 0 {
			h = Join(&s.open[i], &h)
		} else {
			h = Join(&h, &pads[s.layer+i])
		}
	}
	return h
}

// LayerRoot returns the root above a whole layer, whose hashes lie end to end
// without those behind the end of the file. hashes is neither empty nor cut.
func LayerRoot(hashes []byte, layer int) [Size]byte {
	var s Stack
	s.Reset(layer)
	for i := 0; i < len(hashes); i += Size {
		s.Add((*[Size]byte)(hashes[i : i+Size]))
	}
	return s.Root(Depth(int64(len(hashes) / Size)))
}
