package metadata

import (
	"slices"
	"time"
)

// assembly is the dictionary as peers of one claimed size send it. Pieces are
// shared out among them. Each peer is asked for one piece at once, whoever else was
// asked for that: who answers is proven, and needs not wait for those who don't.
// After a failed hash one peer alone is asked, each in turn, so that the next
// failure has one suspect.
type assembly[P comparable] struct {
	size  int
	votes int // how many claim it, as of the last count

	front  []byte                // what is kept of what has arrived without a gap
	behind map[int][]byte        // what has arrived behind it
	hashes hashes                // of one that is large
	asked  map[int][]pieceAsk[P] // of the pieces that have not arrived, the latest ask last
	from   []P                   // who sent front and behind
	proven map[P]bool            // who sent anything
	judged bool                  // its hash is being looked at, or was wrong

	leads    bool
	turns    int       // as leader
	since    time.Time // when the turn began
	progress time.Time // when something arrived last

	alone     bool
	hasSolo   bool
	solo      P               // whose turn it is, when alone
	suspended map[P]time.Time // refused or too slow: not to be asked before
}

type pieceAsk[P comparable] struct {
	peer P
	at   time.Time
}

const (
	share = 16 // pieces at a time from one peer
	// patience passes before a piece is asked of another peer as well, giveUp before
	// a peer that answers nothing is left alone for suspendedFor. Transmission takes up to
	// three seconds.
	patience     = 2 * time.Second
	giveUp       = 10 * time.Second
	suspendedFor = 30 * time.Second
)

func newAssembly[P comparable](size int, sum func() Sum) *assembly[P] {
	a := &assembly[P]{size: size, suspended: map[P]time.Time{}}
	if size > onceBytes {
		a.hashes.begin = sum
	}
	a.clear()
	return a
}

func (a *assembly[P]) clear() {
	a.front, a.behind, a.asked, a.from, a.judged = nil, map[int][]byte{}, map[int][]pieceAsk[P]{}, nil, false
	a.proven = map[P]bool{}
	a.hashes.clear()
}

// shrink drops what exceeds the small beginning.
func (a *assembly[P]) shrink() {
	if a.hashes.sum != nil {
		clear(a.behind) // the rest is next to nothing
	} else if a.bytes() > SmallBytes && !a.judged {
		a.clear()
	}
}

// prefix returns how many pieces have arrived without a gap.
func (a *assembly[P]) prefix() int {
	if a.hashes.sum != nil {
		return len(a.hashes.pieces)
	}
	return Pieces(len(a.front))
}

// whole reports whether nothing is missing of what is kept.
func (a *assembly[P]) whole() bool { return len(a.front) == a.size }

func (a *assembly[P]) bytes() int64 {
	return int64(cap(a.front) + len(a.behind)*PieceBytes + len(a.hashes.pieces)*pieceHashBytes)
}

func (a *assembly[P]) has(piece int) bool {
	_, ok := a.behind[piece]
	return ok || piece < a.prefix()
}

// ask returns those of the first limit pieces to ask of the peer now.
func (a *assembly[P]) ask(p P, limit int, now time.Time) (pieces []int) {
	if now.Before(a.suspended[p]) || a.judged {
		return nil
	}
	if a.alone {
		if !a.hasSolo {
			a.solo, a.hasSolo = p, true
			a.clear()
		}
		if a.solo != p {
			return nil
		}
	}
	waiting := 0
	for _, asks := range a.asked {
		for _, k := range asks {
			if k.peer != p {
				continue
			}
			if now.Sub(k.at) >= giveUp {
				a.suspend(p, now)
				return nil
			}
			waiting++
		}
	}
	ask := func(i int) {
		a.asked[i] = append(a.asked[i], pieceAsk[P]{p, now})
		pieces = append(pieces, i)
		waiting++
	}
	for i := a.prefix(); i < limit && waiting < share; i++ {
		if !a.has(i) && a.free(i, p, now) {
			ask(i)
		}
	}
	if waiting == 0 && !a.proven[p] {
		for i := a.prefix(); i < limit; i++ {
			if !a.has(i) {
				ask(i)
				break
			}
		}
	}
	return pieces
}

// free reports whether a piece may be asked of the peer: if nobody was asked lately,
// or just such as have never answered, and this one has.
func (a *assembly[P]) free(i int, p P, now time.Time) bool {
	for _, k := range a.asked[i] {
		if k.peer == p || now.Sub(k.at) < patience && (a.proven[k.peer] || !a.proven[p]) {
			return false
		}
	}
	return true
}

// received takes a piece that the peer was asked for.
func (a *assembly[P]) received(p P, piece int, data []byte, now time.Time) bool {
	mine := func(k pieceAsk[P]) bool { return k.peer == p }
	if !slices.ContainsFunc(a.asked[piece], mine) || len(data) != min(PieceBytes, a.size-piece*PieceBytes) {
		return false
	}
	a.asked[piece] = slices.DeleteFunc(a.asked[piece], mine)
	if len(a.asked[piece]) == 0 {
		delete(a.asked, piece)
	}
	if a.has(piece) {
		a.proven[p] = true
		return true // another was faster
	}
	if !a.hashes.allow(piece, data) {
		a.suspend(p, now)
		return false
	}
	a.proven[p] = true
	if !slices.Contains(a.from, p) {
		a.from = append(a.from, p)
	}
	if piece != a.prefix() {
		a.behind[piece] = slices.Clone(data) // data may be a part of something large
		return true
	}
	a.append(data)
	for {
		next, ok := a.behind[a.prefix()]
		if !ok {
			break
		}
		delete(a.behind, a.prefix())
		a.append(next)
	}
	if a.hashes.sum != nil && a.prefix() == Pieces(a.size) && a.hashes.finish() {
		// Now each piece is known by its hash: it is fetched again, to be kept, and
		// whoever sends what is wrong stands alone.
		a.from, a.alone = nil, false
	}
	return true
}

// append adds to the front, which grows with what arrives, or only to its hash.
func (a *assembly[P]) append(data []byte) {
	if a.hashes.sum != nil {
		a.hashes.add(data)
		return
	}
	if need := len(a.front) + len(data); need > cap(a.front) {
		grown := make([]byte, len(a.front), min(a.size, max(2*len(a.front), need)))
		copy(grown, a.front)
		a.front = grown
	}
	a.front = append(a.front, data...)
}

// suspend gives the peer's share to others for a while.
func (a *assembly[P]) suspend(p P, now time.Time) {
	a.suspended[p] = now.Add(suspendedFor)
	a.forget(p)
	delete(a.proven, p)
}

func (a *assembly[P]) forget(p P) {
	for i, asks := range a.asked {
		asks = slices.DeleteFunc(asks, func(k pieceAsk[P]) bool { return k.peer == p })
		if len(asks) == 0 {
			delete(a.asked, i)
		} else {
			a.asked[i] = asks
		}
	}
	if a.hasSolo && a.solo == p {
		var nobody P
		a.solo, a.hasSolo = nobody, false
	}
}
