package segment

import (
	"encoding/binary"
	"slices"
)

// Prints are what memory knows of the hashes of a segment, sorted once it is sealed.
type Prints []Print

// Print is the first 4 bytes of a hash, and behind that the offset of its row,
// inverted, so that of equal prints the newest comes first.
type Print uint64

// NewPrint returns the print of a hash whose row is at off.
func NewPrint(hash []byte, off int64) Print {
	return Print(printOf(hash))<<32 | Print(^uint32(off))
}

func printOf(hash []byte) uint32 { return binary.LittleEndian.Uint32(hash) }

// Sorted returns p sorted, in memory of its own.
func (p Prints) Sorted() Prints {
	p = slices.Clone(p)
	slices.Sort(p)
	return p
}

// Find returns the newest row that a hash would be in.
func (p Prints) Find(hash []byte, sorted bool) (off int64, ok bool) {
	want, i := printOf(hash), len(p)-1
	if sorted {
		i, _ = slices.BinarySearch(p, Print(want)<<32)
		i = min(i, len(p)-1)
	} else {
		for i > 0 && uint32(p[i]>>32) != want {
			i--
		}
	}
	if i < 0 || uint32(p[i]>>32) != want {
		return 0, false
	}
	return int64(^uint32(p[i])), true
}

// Filter tells in one look that no segment has a hash. It may be wrong about one in
// sixteen that none has, and more often when it is full.
type Filter struct {
	bits  []uint64
	added int
}

// NewFilter returns one with room for twice n hashes.
func NewFilter(n int) *Filter { return &Filter{bits: make([]uint64, max(n/2, 1<<10))} }

func (f *Filter) bit(print uint32) (word *uint64, mask uint64) {
	i := uint64(print) * uint64(len(f.bits)) >> 26
	return &f.bits[i/64], 1 << (i % 64)
}

// Add enters hashes.
func (f *Filter) Add(prints ...Print) {
	for _, p := range prints {
		word, mask := f.bit(uint32(p >> 32))
		*word |= mask
	}
	f.added += len(prints)
}

// Has reports whether some segment may have a hash.
func (f *Filter) Has(hash []byte) bool {
	word, mask := f.bit(printOf(hash))
	return *word&mask != 0
}

// Full reports whether it is time for a new one.
func (f *Filter) Full() bool { return f.added > 4*len(f.bits) }
