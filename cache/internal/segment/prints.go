package segment

import (
	"encoding/binary"
	"slices"
)

// Prints are what memory knows of the hashes of a sealed segment, in order: the
// first bytes of each, and where its row is.
type Prints []printed64

// printed64 is one: 4 bytes of the hash, and behind that the offset of the row,
// inverted, so that of equal prints the newest comes first.
type printed64 uint64

func newPrint(hash []byte, off int64) printed64 {
	return printed64(printOf(hash))<<32 | printed64(^uint32(off))
}

func printOf(hash []byte) uint32 { return binary.LittleEndian.Uint32(hash) }

func (p Prints) sort() Prints {
	slices.Sort(p)
	return p
}

// Find returns the row that a hash would be in.
func (p Prints) Find(hash []byte) (off int64, ok bool) {
	want := printOf(hash)
	i, _ := slices.BinarySearch(p, printed64(want)<<32)
	if i == len(p) || uint32(p[i]>>32) != want {
		return 0, false
	}
	return int64(^uint32(p[i])), true
}

// OpenPrints are those of a segment that is being written.
type OpenPrints map[uint32]uint32

// Add enters the hash of the row at off.
func (p OpenPrints) Add(hash []byte, off int64) { p[printOf(hash)] = uint32(off) }

// Find returns the row that a hash would be in.
func (p OpenPrints) Find(hash []byte) (off int64, ok bool) {
	at, ok := p[printOf(hash)]
	return int64(at), ok
}

// Sorted returns what is kept of them once nothing is added any more.
func (p OpenPrints) Sorted() Prints {
	sorted := make(Prints, 0, len(p))
	for print, off := range p {
		sorted = append(sorted, printed64(print)<<32|printed64(^off))
	}
	return sorted.sort()
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

func (f *Filter) add(print uint32) {
	word, mask := f.bit(print)
	*word |= mask
	f.added++
}

// Add enters a hash.
func (f *Filter) Add(hash []byte) { f.add(printOf(hash)) }

// AddSealed enters the hashes of a sealed segment.
func (f *Filter) AddSealed(p Prints) {
	for _, v := range p {
		f.add(uint32(v >> 32))
	}
}

// AddOpen enters the hashes of a segment that is being written.
func (f *Filter) AddOpen(p OpenPrints) {
	for print := range p {
		f.add(print)
	}
}

// Has reports whether some segment may have a hash.
func (f *Filter) Has(hash []byte) bool {
	word, mask := f.bit(printOf(hash))
	return *word&mask != 0
}

// Full reports whether it is time for a new one.
func (f *Filter) Full() bool { return f.added > 4*len(f.bits) }
