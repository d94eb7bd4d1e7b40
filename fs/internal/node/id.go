package node

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/weirfs/weir"
)

// ID is a node id, and the inode number: 40 bits of the info hash as a prefix, and 24 bits for
// the entry in the torrent's tree, of which 0 is the torrent's folder. So it is the same after
// a restart, and needs no table. A sorting folder has 40 bits of a hash of the path at which it
// was made, and entry 0. Only the ids listed here have prefix 0.
type ID uint64

const (
	entryBits = 24

	// MaxEntries is how many entries one torrent may have, its folder included.
	MaxEntries = 1<<entryBits - 1
	// LinkEntry numbers the link in by-hash that leads to the torrent.
	LinkEntry = 1<<entryBits - 1

	Root          = ID(1)
	Poll          = ID(2) // a file that the kernel is asked to poll once, while mounting
	ByHash        = ID(3) // the folder by-hash
	FirstIncoming = ID(16)
	LastIncoming  = ID(1<<entryBits - 1) // numbers of incoming files are reused
)

// Make returns the id of an entry of the torrent with this prefix.
func Make(prefix uint64, entry uint32) ID { return ID(prefix<<entryBits | uint64(entry)) }

// Split is the reverse of Make.
func (id ID) Split() (prefix uint64, entry uint32) {
	return uint64(id) >> entryBits, uint32(id) & (1<<entryBits - 1)
}

// IsIncoming reports whether id is that of a file that is being copied in.
func (id ID) IsIncoming() bool { return id >= FirstIncoming && id <= LastIncoming }

// Prefix returns the n-th candidate for the prefix of a torrent: the first five bytes
// of its info hash, and when something else has the same ones, the first five of a
// SHA-256 over the info hash and n. It is never 0.
func Prefix(ih weir.InfoHash, n uint32) uint64 {
	if n == 0 {
		if p := firstFive(ih[:]); p != 0 {
			return p
		}
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(ih[:], n))
	return max(1, firstFive(sum[:]))
}

// FolderPrefix returns the n-th candidate for the prefix of a sorting folder.
func FolderPrefix(dir string, n uint32) uint64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("folder "+dir+"\x00"), n))
	return max(1, firstFive(sum[:]))
}

func firstFive(b []byte) uint64 { return binary.BigEndian.Uint64(b) >> entryBits }
