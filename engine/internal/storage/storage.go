// Package storage has what is on its way from a swarm to the Store: verified pieces,
// which stay in memory until the Store has them, and records, which are written one
// after the other.
//
// Only verified bytes come here. Whether a piece is right, who wants it and who is told
// of it is decided elsewhere.
package storage

import "github.com/weirfs/weir"

// Store is where pieces go. Has answers from memory; the others may wait for a disk.
type Store interface {
	// Put keeps a whole piece, given as consecutive slices, which may be reused when it
	// returns.
	Put(id weir.PieceID, blocks [][]byte) error
	// ReadAt fills p from a piece and reports whether it was there.
	ReadAt(id weir.PieceID, p []byte, off int64) (bool, error)
	Has(id weir.PieceID) bool
}

// Sharing is what a Store can do that knows pieces by their hash. Torrents share
// content: a new release has most files of the old one, a hybrid torrent exists beside
// its v1 form. A piece with the same hash needs to be fetched once.
type Sharing interface {
	// PutHashed is Put, and tells the piece's hash, which was verified: 20 bytes
	// SHA-1, or 32 bytes of the root of its hash tree.
	PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error
	// Adopt makes a piece of n bytes held if one with the same hash is, under
	// whatever name, and reports whether it is held now. It answers from memory.
	Adopt(id weir.PieceID, hash []byte, n int64) bool
	// Forget takes the names of n pieces, from first on, out of the Store.
	Forget(first weir.PieceID, n int) error
}
