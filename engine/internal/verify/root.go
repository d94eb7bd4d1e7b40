package verify

import (
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/weirfs/weir/engine/source/merkle"
)

// rootState is what computing a root needs, kept between pieces.
type rootState struct {
	stack merkle.Stack
	sum   hash.Hash // of a leaf that lies in several slices
	leaf  [merkle.Size]byte
}

var rootStates = sync.Pool{New: func() any { return &rootState{sum: sha256.New()} }}

// treeRoot returns the root of the hash tree over blocks, which hold at least one
// byte, padded to depth layers above the leaves.
func treeRoot(blocks [][]byte, depth int) [merkle.Size]byte {
	s := rootStates.Get().(*rootState)
	defer rootStates.Put(s)
	s.stack.Reset(0)
	open := 0 // bytes of the leaf that s.sum has
	for _, b := range blocks {
		for len(b) > 0 {
			if open == 0 && len(b) >= merkle.LeafBytes { // mostly: a block is a leaf
				s.leaf = sha256.Sum256(b[:merkle.LeafBytes])
				s.stack.Add(&s.leaf)
				b = b[merkle.LeafBytes:]
				continue
			}
			if open == 0 {
				s.sum.Reset()
			}
			n := min(len(b), merkle.LeafBytes-open)
			s.sum.Write(b[:n])
			open, b = open+n, b[n:]
			if open == merkle.LeafBytes {
				s.endLeaf()
				open = 0
			}
		}
	}
	if open > 0 {
		s.endLeaf()
	}
	return s.stack.Root(depth)
}

func (s *rootState) endLeaf() {
	s.sum.Sum(s.leaf[:0])
	s.stack.Add(&s.leaf)
}
