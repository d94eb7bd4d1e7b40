package fs

import (
	"crypto/sha256"
	"encoding/binary"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// A node id, which is also the inode number, is 40 bits of the info hash and 24
// bits that number the entry within the torrent's tree; entry 0 is the torrent's
// folder. So it is the same after a restart, and nobody has to remember it. A
// sorting folder has 40 bits of a hash of the path at which it was made, and entry
// 0. Nothing has prefix 0 but what is listed here.
const (
	entryBits  = 24
	maxEntries = 1<<entryBits - 1 // entries of one torrent, its folder included

	// linkEntry numbers the link in by-hash that leads to the torrent.
	linkEntry = 1<<entryBits - 1

	pollNode   = fuse.NodeID(2) // see learnNoPoll
	byHashNode = fuse.NodeID(3)
	firstDraft = fuse.NodeID(16) // drafts are numbered from here, round and round
	lastDraft  = fuse.NodeID(1<<entryBits - 1)
)

// makeNode returns the node id of an entry of the torrent with this prefix.
func makeNode(prefix uint64, entry uint32) fuse.NodeID {
	return fuse.NodeID(prefix<<entryBits | uint64(entry))
}

// splitNode is the reverse of makeNode.
func splitNode(id fuse.NodeID) (prefix uint64, entry uint32) {
	return uint64(id) >> entryBits, uint32(id) & (1<<entryBits - 1)
}

// isDraft reports whether id is that of a file that is being copied in.
func isDraft(id fuse.NodeID) bool { return id >= firstDraft && id <= lastDraft }

// nodePrefix returns the n-th candidate for the prefix of a torrent: the first
// five bytes of its info hash, and when something else has the same ones, the
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

// folderPrefix returns the n-th candidate for the prefix of a sorting folder.
func folderPrefix(dir string, n uint32) uint64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("folder "+dir+"\x00"), n))
	return max(1, firstFive(sum[:]))
}

func firstFive(b []byte) uint64 { return binary.BigEndian.Uint64(b) >> entryBits }
