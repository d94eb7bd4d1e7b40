package fs

import (
	"crypto/sha256"
	"encoding/binary"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// A node id, which is also the inode number, is 40 bits of the info hash and 24
// bits that number the entry within the torrent's tree; entry 0 is the torrent's
// folder. So it is the same after a restart, and nobody has to remember it. Id 1
// is the mount's root: no torrent has prefix 0.
const (
	entryBits  = 24
	maxEntries = 1 << entryBits // entries of one torrent, its folder included
)

// makeNode returns the node id of an entry of the torrent with this prefix.
func makeNode(prefix uint64, entry uint32) fuse.NodeID {
	return fuse.NodeID(prefix<<entryBits | uint64(entry))
}

// splitNode is the reverse of makeNode.
func splitNode(id fuse.NodeID) (prefix uint64, entry uint32) {
	return uint64(id) >> entryBits, uint32(id) & (maxEntries - 1)
}

// nodePrefix returns the n-th candidate for the prefix of a torrent: the first
// five bytes of its info hash, and when another torrent has the same ones, the
// first five of a SHA-256 over the info hash and n. It is never 0.
func nodePrefix(ih weir.InfoHash, n uint32) uint64 {
	if n == 0 {
		if p := firstFive(ih[:]); p != 0 {
			return p
		}
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(ih[:], n))
	return max(1, firstFive(sum[:]))
}

func firstFive(b []byte) uint64 { return binary.BigEndian.Uint64(b) >> entryBits }
