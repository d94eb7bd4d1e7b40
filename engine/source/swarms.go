package source

import (
	"crypto/sha256"

	"github.com/weirfs/weir"
)

// Names are the info hashes of a torrent; zero where it has none, or none that is known
// yet. A hybrid torrent has two, and is in two swarms (BEP 52): under its v1 hash, and
// under its v2 hash cut to 20 bytes.
type Names struct{ V1, V2 weir.InfoHash }

// Names returns the info hashes of the torrent.
func (s *Spec) Names() Names {
	n := Names{V1: s.InfoHash}
	if s.InfoHashV2 != [sha256.Size]byte{} {
		if n.V2 = Truncate(s.InfoHashV2); n.V1 == n.V2 {
			n.V1 = s.InfoHashV1
		}
	}
	return n
}

// Hybrid reports whether the torrent has both.
func (n Names) Hybrid() bool { return !n.V1.IsZero() && !n.V2.IsZero() }

// Has reports whether ih is one of them.
func (n Names) Has(ih weir.InfoHash) bool { return !ih.IsZero() && (ih == n.V1 || ih == n.V2) }

// Other returns the one beside ih, zero if there is none.
func (n Names) Other(ih weir.InfoHash) weir.InfoHash {
	if ih == n.V1 {
		return n.V2
	}
	return n.V1
}
