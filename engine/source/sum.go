package source

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"

	"github.com/weirfs/weir"
)

// Sum hashes an info dictionary that arrives in chunks, for callers that don't keep the
// bytes before they are known to be what a Spec names.
type Sum struct {
	spec   *Spec
	v1, v2 hash.Hash
}

// NewSum returns a Sum for the dictionary that s names.
func (s *Spec) NewSum() *Sum { return &Sum{s, sha1.New(), sha256.New()} }

// Add takes the next bytes.
func (s *Sum) Add(b []byte) {
	s.v1.Write(b)
	s.v2.Write(b)
}

// Right reports whether the bytes that were added have the hashes that the Spec names.
func (s *Sum) Right() bool {
	_, err := s.spec.named(weir.InfoHash(s.v1.Sum(nil)), [sha256.Size]byte(s.v2.Sum(nil)))
	return err == nil
}

// named returns weir.ErrCorrupt if s names other hashes than these of a dictionary, and
// otherwise whether it names the v2 half.
func (s *Spec) named(v1 weir.InfoHash, v2 [sha256.Size]byte) (asV2 bool, err error) {
	asV2 = s.InfoHash == Truncate(v2)
	switch {
	case s.InfoHash != v1 && !asV2:
		return false, weir.Errorf(weir.ErrCorrupt, "torrent %s: the metadata hashes to %s (v1) and %x (v2)", s.InfoHash, v1, v2)
	case s.InfoHashV2 != [sha256.Size]byte{} && s.InfoHashV2 != v2:
		return false, weir.Errorf(weir.ErrCorrupt, "torrent %s: the metadata hashes to %x, want %x", s.InfoHash, v2, s.InfoHashV2)
	}
	return asV2, nil
}
