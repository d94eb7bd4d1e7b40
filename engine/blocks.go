package engine

import (
	"bytes"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/blockproof"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
)

// blocks are those that reads wait for alone, without the rest of their piece: a block of a
// v2 torrent can be verified by itself (BEP 52). The picker has the blocks, as it has all
// that are not of a whole piece; here is what becomes of them. It belongs to the swarm's
// owner.
type blocks struct {
	s      *swarm
	proofs *blockproof.Proofs[*peer] // nil until a read wants a block alone
}

// of returns the blocks of a piece that are enough for a read of r; nil if it takes the
// whole piece. hashes are those of the torrent as v2 has it, nil if it is v1.
func (c *blocks) of(index int, r weir.Range, hashes *verify.Hashes) (list []picker.Block) {
	if hashes == nil {
		return nil
	}
	if c.proofs == nil {
		c.proofs = blockproof.New[*peer](hashes)
	}
	s := c.s
	pr := s.layout.Info.PieceRange(index)
	in := r.Intersect(pr)
	if in.Empty() || !c.proofs.Possible(index) {
		return nil
	}
	for i := int((in.Off - pr.Off) / weir.BlockBytes); int64(i)*weir.BlockBytes < in.End-pr.Off; i++ {
		b, _, ok := s.layout.BlockAt(index, i*weir.BlockBytes)
		if !ok || b.Index != i {
			return nil // there is padding within the piece
		}
		list = append(list, b)
	}
	return list
}

// read returns the bytes of a piece that are in r, nil if not all of the blocks have come
// and are right.
func (c *blocks) read(list []picker.Block, index int, r weir.Range) []byte {
	pr := c.s.layout.Info.PieceRange(index)
	in := r.Intersect(pr)
	out := make([]byte, 0, in.Len())
	for _, b := range list {
		data, _, good := c.s.pick.Blocks.Get(b)
		if !good {
			return nil
		}
		off := pr.Off + int64(b.Index)*weir.BlockBytes
		part := weir.Range{Off: off, End: off + int64(len(data.Bytes()))}.Intersect(in)
		out = append(out, data.Bytes()[part.Off-off:part.End-off]...)
	}
	return out
}

// verify verifies a block by itself, if it has come, or sees to it that its hash does.
func (c *blocks) verify(now time.Time, b picker.Block) {
	s := c.s
	data, from, good := s.pick.Blocks.Get(b)
	if data == nil || good || c.proofs == nil {
		return
	}
	switch c.proofs.Check(b.Piece, b.Index, data.Bytes()) {
	case blockproof.Right:
		s.pick.Blocks.Right(b)
		if id, ok := s.layout.Info.BlockID(b.Piece, b.Index); ok {
			hash := verify.BlockHash(data.Bytes())
			s.pieces.held.CommitBlock(id, hash[:], bytes.Clone(data.Bytes()))
		}
		s.reads.releaseBlocks(b.Piece)
		return
	case blockproof.Wrong:
		s.pick.Blocks.Wrong(b).Ref.Wrong(b.Piece)
		return
	}
	var other *peer
	for _, p := range s.peers {
		switch {
		case p.pk == nil || !p.pk.TellsHashes():
		case p.pk == from:
			if req, send := c.proofs.Served(now, p, b.Piece, b.Index); send {
				p.requestHashes(req)
			}
			return
		case p.pk.HasPiece(b.Piece):
			other = p
		}
	}
	if other == nil {
		s.pick.Blocks.FetchWhole(b.Piece)
	} else if req, send := c.proofs.Elsewhere(now, other, b.Piece, b.Index); send {
		other.requestHashes(req)
	}
}

// verifyAll verifies by themselves those blocks of a piece that reads wait for.
func (c *blocks) verifyAll(now time.Time, index int) {
	for _, i := range c.s.pick.Blocks.Wanted(index) {
		c.verify(now, picker.Block{Piece: index, Index: i})
	}
}

// message takes what a peer answers to a request for the hashes of blocks. It reports false
// if there was none.
func (c *blocks) message(p *peer, m *wire.Message, at time.Time) bool {
	if c.proofs == nil || m.Type == pp.HashRequest {
		return false
	}
	var outcome blockproof.Outcome
	var index int
	req := verify.HashRequest(*m.Hash)
	if m.Type == pp.Hashes {
		outcome, index = c.proofs.Answered(p, req, m.Hashes)
	} else {
		outcome, index = c.proofs.Refused(at, p, req)
	}
	switch outcome {
	case blockproof.Unasked:
		return false
	case blockproof.Known:
		c.verifyAll(at, index)
	case blockproof.Again:
		p.requestHashes(req)
	case blockproof.Failed:
		c.noHashes(p, index)
	}
	return true
}

// noHashes says that a peer has not told the hashes of blocks as it should.
func (c *blocks) noHashes(p *peer, index int) {
	p.pk.NoHashes()
	c.s.pick.Blocks.FetchWhole(index)
}

// learned verifies the blocks that waited for the hash of their piece.
func (c *blocks) learned(now time.Time) {
	if c.proofs == nil {
		return
	}
	for index := range c.s.reads.waiting {
		for _, p := range c.proofs.Learned(index) {
			c.noHashes(p, index)
		}
		c.verifyAll(now, index)
	}
}

// left looks for the hashes elsewhere that a peer which has left was asked for.
func (c *blocks) left(p *peer) {
	if c.proofs == nil {
		return
	}
	for _, index := range c.proofs.Leave(p) {
		c.verifyAll(time.Now(), index)
	}
}

// giveUpLate has those pieces fetched whole of which hashes don't come.
func (c *blocks) giveUpLate(now time.Time) {
	if c.proofs != nil {
		c.proofs.Late(now, c.noHashes)
	}
}

// forget forgets the hashes of a piece's blocks, for which no read waits any more.
func (c *blocks) forget(index int) {
	if c.proofs != nil {
		c.proofs.Forget(index)
	}
}
