// Package bitfield has what is said about held pieces on one connection, beside what the
// picker knows: what a peer claims before the metadata is known, and what it was told of
// ours. No message is made here, and nobody is asked.
package bitfield

// Fits reports whether a bitfield is one for n pieces: padded to a byte with zeros.
func Fits(bits []byte, n int) bool {
	return len(bits) == (n+7)/8 && (n%8 == 0 || bits[n/8]<<(n%8) == 0)
}

// Unpack returns the first n of bits.
func Unpack(bits []byte, n int) []bool {
	have := make([]bool, n)
	for i := range have {
		have[i] = bits[i/8]&(0x80>>(i%8)) != 0
	}
	return have
}
