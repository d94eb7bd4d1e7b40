package metainfo

import (
	"fmt"

	"github.com/weirfs/weir"
)

// Checker compares pieces with the metadata that an engine left in its Store's
// records. It needs no engine. It keeps one torrent in memory at a time: ask for
// pieces torrent by torrent. It is for one goroutine.
type Checker struct {
	records Records
	ih      weir.InfoHash
	meta    *Metainfo
	err     error // why there is no meta
}

// NewChecker returns a Checker of what stands in records.
func NewChecker(records Records) *Checker { return &Checker{records: records} }

// Check hashes a piece. The error wraps weir.ErrCorrupt when data is not the
// piece, and weir.ErrNotFound when that can't be said: the torrent's metadata, or
// a v2 torrent's hashes, are not in the records or damaged there.
func (c *Checker) Check(id weir.PieceID, data []byte) error {
	if c.meta == nil && c.err == nil || id.Torrent != c.ih {
		c.ih = id.Torrent
		c.meta, c.err = load(c.records, id.Torrent)
	}
	if c.err != nil {
		return c.err
	}
	if hasBlock(c.meta.Info, id.Index) {
		return weir.Errorf(weir.ErrNotFound, "the hash of block %s is not kept", id)
	}
	if id.Index < 0 || id.Index >= c.meta.Info.NumPieces() {
		return fmt.Errorf("%s: the torrent has %d pieces: %w", id, c.meta.Info.NumPieces(), weir.ErrCorrupt)
	}
	return c.meta.CheckPiece(id.Index, [][]byte{data})
}

// hasBlock reports whether a number is that of a block that may be kept without its piece:
// only those with v2 hashes can be verified.
func hasBlock(info *weir.TorrentInfo, number int) bool {
	index, block, ok := info.BlockOf(number)
	return ok && (info.V2 || info.Hybrid) && int64(block)*weir.BlockBytes < info.PieceRange(index).Len()
}

// CheckPiece hashes a piece, given as consecutive slices. The error wraps weir.ErrCorrupt
// when it is another, and weir.ErrNotFound when its hash is not known.
func (m *Metainfo) CheckPiece(index int, blocks [][]byte) error {
	id := weir.PieceID{Torrent: m.Info.InfoHash, Index: index}
	switch {
	case !m.Hashes.Known(index):
		return weir.Errorf(weir.ErrNotFound, "the hash of piece %s is not known", id)
	case !m.Hashes.Check(index, blocks):
		return fmt.Errorf("%s: %w", id, weir.ErrCorrupt)
	}
	return nil
}
