package engine

import (
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
)

// Torrents share content: a new release has most files of the old one, a hybrid
// torrent exists beside its v1 form. A piece with the same hash needs to be
// fetched once.

// sharing is what a Store can do beyond Store: know pieces by their hash.
type sharing interface {
	// PutHashed is Put, and tells the piece's hash, which was verified: 20 bytes
	// SHA-1, or 32 bytes of the root of its hash tree.
	PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error
	// Adopt makes a piece of n bytes held if one with the same hash is, under
	// whatever name, and reports whether it is held now. It answers from memory.
	Adopt(id weir.PieceID, hash []byte, n int64) bool
}

// put stores a verified piece.
func (s *swarm) put(d *pieceData) error {
	id := weir.PieceID{Torrent: s.t.ih, Index: d.index}
	store, ok := s.eng.opts.Store.(sharing)
	if !ok {
		return s.eng.opts.Store.Put(id, d.slices())
	}
	var hash []byte
	if m := s.t.meta.Load(); m != nil {
		hash = m.Hashes.Hash(d.index)
	}
	return store.PutHashed(id, hash, d.slices())
}

// adoptAtOnce is how long the owner looks for pieces that other torrents have
// before it goes on and comes back.
const adoptAtOnce = 10 * time.Millisecond

// adopt takes those pieces of spans from the Store that it has under another name.
func (s *swarm) adopt(spans []picker.Span) {
	store, ok := s.eng.opts.Store.(sharing)
	m := s.t.meta.InMemory()
	if !ok || m == nil || s.pick == nil {
		return
	}
	begin := time.Now()
	for n, span := range spans {
		for i := span.First; i < span.End; i++ {
			if i%64 == 63 && time.Since(begin) > adoptAtOnce {
				rest := append([]picker.Span{{First: i, End: span.End}}, spans[n+1:]...)
				s.do(func() { s.adopt(rest) })
				return
			}
			if s.pick.Held(i) {
				continue
			}
			id, size := weir.PieceID{Torrent: s.t.ih, Index: i}, m.Info.PieceRange(i).Len()
			if store.Adopt(id, m.Hashes.Hash(i), size) && s.pick.Found(i) {
				s.reads.release(i)
				s.spread(i)
			}
		}
	}
}
