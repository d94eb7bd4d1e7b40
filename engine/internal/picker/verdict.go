package picker

// attempt is one failed verification of a piece: who sent which block and the
// digests of the blocks, so that the guilty can be told once it succeeds.
type attempt struct {
	from []*Peer
	sums []uint64
}

// Verified says that the complete piece is right. It returns the peers which
// are proven to have sent something else for it before. sums are the digests of
// its blocks; they may be nil if Suspicious is false.
//
// The piece's memory counts as in use until Committed.
func (k *Picker) Verified(index int, sums []uint64) (guilty []*Peer) {
	p := k.pieces[index]
	if p == nil {
		return nil
	}
	for i := range p.blocks {
		if from := p.blocks[i].from; from != nil {
			from.proven = true
		}
	}
	seen := map[*Peer]bool{}
	for _, a := range p.fails {
		for i, from := range a.from {
			if from != nil && a.sums[i] != sums[i] && !seen[from] {
				seen[from] = true
				from.proven = false
				guilty = append(guilty, from)
			}
		}
	}
	if p.begun() {
		k.begun -= p.bytes
	}
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
	return p != nil && len(p.fails) > 0
}

// mostAttempts bounds what is remembered of a piece that keeps failing.
const mostAttempts = 8

// Failed says that the complete piece is wrong. It is on parole: it is fetched
// again from one peer at a time, so that the next failure has one suspect. The
// guilty are returned when only one peer contributed.
func (k *Picker) Failed(index int, sums []uint64) (guilty []*Peer) {
	p := k.pieces[index]
	if p == nil {
		return nil
	}
	a := attempt{from: make([]*Peer, len(p.blocks)), sums: sums}
	only := p.blocks[0].from
	k.track(p, func() {
		for i := range p.blocks {
			b := &p.blocks[i]
			a.from[i] = b.from
			if b.from != nil {
				b.from.proven = false
			}
			if b.from != only {
				only = nil
			}
			b.from = nil
		}
		p.left, p.free = len(p.blocks), len(p.blocks)
	})
	p.solo = nil
	p.fails = append(p.fails, a)
	if len(p.fails) > mostAttempts {
		p.fails = p.fails[1:]
	}
	k.rewind()
	if only != nil {
		return []*Peer{only}
	}
	return nil
}
