package inplace

import "slices"

// Bits are a set of pieces; nil is the empty one.
type Bits []byte

// Has reports whether a piece is in the set.
func (b Bits) Has(i int) bool { return i>>3 < len(b) && b[i>>3]>>(i&7)&1 == 1 }

// Empty reports whether none is.
func (b Bits) Empty() bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

func (b Bits) clone() Bits { return slices.Clone(b) }

func (b *Bits) set(i int) {
	for i>>3 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>3] |= 1 << (i & 7)
}

func (b Bits) clear(i int) {
	if b.Has(i) {
		b[i>>3] &^= 1 << (i & 7)
	}
}
