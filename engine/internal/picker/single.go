package picker

import (
	"maps"
	"slices"

	"github.com/weirfs/weir"
)

// SingleBlocks are those that reads wait for without the rest of their pieces. Where such a
// block can be verified by itself, it is asked of peers that tell its hash, and its piece
// is begun with it. It takes as much memory as it has bytes, and stays for when more of the
// piece is wanted.
type SingleBlocks struct {
	pieces   *pieces
	wants    *wants
	requests *requests
}

// Set replaces the single blocks that a read wants, beside the pieces that Picker.Set
// named. If nobody tells the hashes of a piece's blocks, or if many of them are wanted, the
// whole piece is fetched instead.
func (s *SingleBlocks) Set(w *Want, blocks []Block) {
	for _, b := range w.blocks {
		s.unwant(b)
	}
	w.blocks = blocks
	for _, b := range blocks {
		s.want(b)
	}
}

func (s *SingleBlocks) want(b Block) {
	if s.pieces.held[b.Piece] {
		return
	}
	p := s.pieces.get(b.Piece)
	if p.single == nil {
		p.single = map[int]int{}
	}
	p.single[b.Index]++
	p.whole = p.whole || fetchWhole(p.count, p.singles())
}

func (s *SingleBlocks) unwant(b Block) {
	p := s.pieces.open[b.Piece]
	if p == nil || p.single[b.Index] == 0 {
		return
	}
	if p.single[b.Index]--; p.single[b.Index] > 0 {
		return
	}
	delete(p.single, b.Index)
	if len(p.single) > 0 && !p.wantedWhole() {
		s.requests.cancelAll(&p.Copy, b.Index, b.Index+1)
	}
	s.requests.cancelUnwanted(p)
}

// lost says that a piece which was held is missing again.
func (s *SingleBlocks) lost(index int) {
	for _, w := range s.wants.byPriority[weir.Blocked] {
		for _, b := range w.blocks {
			if b.Piece == index {
				s.want(b)
			}
		}
	}
}

// Wanted returns the blocks of a piece that are wanted alone, in order.
func (s *SingleBlocks) Wanted(index int) (blocks []int) {
	if p := s.pieces.open[index]; p != nil {
		return slices.Sorted(maps.Keys(p.single))
	}
	return nil
}

// singles counts the blocks of a piece that came alone or are wanted.
func (p *piece) singles() int {
	n := len(p.single)
	for i := range p.blocks {
		if p.blocks[i].good && p.single[i] == 0 {
			n++
		}
	}
	return n
}

// fetchWhole decides whether a piece of count blocks is fetched whole when so many of its
// blocks are wanted alone.
func fetchWhole(count, singles int) bool { return singles > max(1, count/8) }

// FetchWhole says that the blocks of a piece can't be verified alone.
func (s *SingleBlocks) FetchWhole(index int) {
	if p := s.pieces.open[index]; p != nil {
		p.whole = true
		s.wants.rewindTo(index)
	}
}

// Get returns a block that has come, who sent it, and whether it was verified by itself;
// nil if it has not, or its whole piece is being verified. The buffer belongs to the picker.
func (s *SingleBlocks) Get(b Block) (data Buffer, from *Peer, good bool) {
	p := s.pieces.open[b.Piece]
	if p == nil || b.Index >= len(p.blocks) || p.missing == 0 {
		return nil, nil, false
	}
	bl := &p.blocks[b.Index]
	return bl.data, bl.from, bl.good
}

// Right says that a block which Get returned is right.
func (s *SingleBlocks) Right(b Block) {
	bl := &s.pieces.open[b.Piece].blocks[b.Index]
	bl.good, bl.from.proven = true, true
}

// Wrong says that a block which Get returned is wrong. It is fetched again; who
// sent it is returned.
func (s *SingleBlocks) Wrong(b Block) (guilty *Peer) {
	p := s.pieces.open[b.Piece]
	bl := &p.blocks[b.Index]
	guilty = bl.from
	guilty.proven = false
	if bl.data != nil {
		bl.data.Free()
	}
	s.pieces.counting(&p.Copy, func() {
		bl.from, bl.data = nil, nil
		p.missing++
		p.free++
	})
	if p.missing == p.count {
		delete(s.pieces.loaded, &p.Copy)
	}
	s.wants.rewindTo(b.Piece)
	s.pieces.forgetUnused(p)
	return guilty
}
