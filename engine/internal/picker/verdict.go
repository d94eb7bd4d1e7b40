package picker

import (
	"slices"
	"time"
)

// attempt is one failed verification of a piece: who sent which block and the
// digests of the blocks, so that the guilty can be told once it succeeds.
type attempt struct {
	from    []*Peer
	digests []uint64
}

// Verified says that a complete piece is right; by is the peer that gave the copy
// alone, nil if it was no trial. It returns the peers which are proven to have
// sent something else for it before. sums are the digests of its blocks; they may
// be nil if Suspicious is false.
//
// The piece's memory counts as in use until Committed.
func (k *Picker) Verified(index int, by *Peer, sums []uint64) (guilty []*Peer) {
	p := k.pieces[index]
	if p == nil {
		return nil
	}
	if by != nil {
		by.proven = true
	}
	for i := range p.blocks {
		if from := p.blocks[i].from; from != nil {
			from.proven = true
		}
	}
	if a := p.failed; a != nil {
		for i, from := range a.from {
			if from != nil && a.digests[i] != sums[i] && !slices.Contains(guilty, from) {
				from.proven = false
				guilty = append(guilty, from)
			}
		}
	}
	k.endRequests(p)
	k.committing += p.bytes
	k.held[index] = true
	k.heldCount++
	delete(k.pieces, index)
	return guilty
}

// Committed says that the piece's memory was given back.
func (k *Picker) Committed(index int) {
	k.committing -= k.geo.PieceRange(index).Len()
}

// Suspicious reports whether the piece failed before, so that Verified needs
// the digests.
func (k *Picker) Suspicious(index int) bool {
	p := k.pieces[index]
	return p != nil && p.failed != nil
}

// Failed says that a complete piece is wrong; by as in Verified. The guilty are
// returned when only one peer contributed. Otherwise the piece is on trial, and
// from tells who gave which block: what each gave is kept as the beginning of its
// own copy.
func (k *Picker) Failed(now time.Time, index int, by *Peer, sums []uint64) (guilty, from []*Peer) {
	p := k.pieces[index]
	if p == nil {
		return nil, nil
	}
	k.rewindTo(index)
	if by != nil {
		if t := p.trial(by); t != nil {
			k.forgetTrial(t)
		}
		by.proven = false
		return []*Peer{by}, nil
	}
	from = make([]*Peer, p.count)
	only := p.blocks[0].from
	for i := range p.blocks {
		if from[i] = p.blocks[i].from; from[i] != only {
			only = nil
		}
		if from[i] != nil {
			from[i].proven = false
		}
	}
	k.forgetBlocks(p)
	p.solo = nil
	if only != nil {
		return []*Peer{only}, nil
	}
	p.failed, p.failedAt = &attempt{from, sums}, now
	for i, c := range from {
		if !slices.Contains(k.peers, c) {
			continue // it has left
		}
		t := p.trial(c)
		if t == nil {
			t = p.newTrial(c)
		}
		k.track(t, func() {
			t.block(i).from = c
			t.missing--
			t.free--
		})
	}
	return nil, from
}
