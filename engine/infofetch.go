package engine

import (
	"slices"
	"time"
)

// metadataPieceBytes is the unit of BEP 9.
const metadataPieceBytes = 16 << 10

func metadataPieces(size int) int { return (size + metadataPieceBytes - 1) / metadataPieceBytes }

// infoFetch decides which piece of the info dictionary is asked of which peer.
// It does no I/O; peers are only names to it. A size is a peer's claim, so each
// size is assembled apart: a lie costs the liar's time and nobody else's.
type infoFetch struct {
	sizes map[int]*infoAssembly
}

// infoAssembly is the dictionary as peers of one claimed size send it. Pieces
// are shared out among them; after a failed hash one peer alone is asked, each
// in turn, so that the next failure has one suspect.
type infoAssembly struct {
	size   int
	pieces []infoPiece
	left   int
	alone  bool
	solo   *peer               // whose turn it is, when alone
	rest   map[*peer]time.Time // refused or too slow: not to be asked before
}

type infoPiece struct {
	data  []byte
	from  *peer
	asked []infoAsk // who was asked and has not answered, the latest last
}

type infoAsk struct {
	peer *peer
	at   time.Time
}

const (
	infoShare = 16 // pieces at a time from one peer
	// infoPatience passes before a piece is asked of another peer as well,
	// infoGiveUp before a peer that answers nothing is left alone for infoRest.
	// Transmission takes up to three seconds.
	infoPatience = 2 * time.Second
	infoGiveUp   = 10 * time.Second
	infoRest     = 30 * time.Second
)

// ask returns p's unanswered ask, nil if it has none.
func (c *infoPiece) ask(p *peer) *infoAsk {
	for i := range c.asked {
		if c.asked[i].peer == p {
			return &c.asked[i]
		}
	}
	return nil
}

// open reports whether the piece may be asked of one more peer.
func (c *infoPiece) open(now time.Time) bool {
	return c.data == nil && (len(c.asked) == 0 || now.Sub(c.asked[len(c.asked)-1].at) >= infoPatience)
}

func newInfoFetch() *infoFetch { return &infoFetch{sizes: map[int]*infoAssembly{}} }

// ask returns the pieces to ask of the peer now.
func (f *infoFetch) ask(p *peer, size int, now time.Time) []int {
	a := f.sizes[size]
	if a == nil {
		a = &infoAssembly{size: size, rest: map[*peer]time.Time{}}
		a.clear()
		f.sizes[size] = a
	}
	return a.ask(p, now)
}

func (a *infoAssembly) clear() {
	a.left = metadataPieces(a.size)
	a.pieces = make([]infoPiece, a.left)
}

func (a *infoAssembly) ask(p *peer, now time.Time) (pieces []int) {
	if now.Before(a.rest[p]) {
		return nil
	}
	if a.alone {
		if a.solo == nil {
			a.solo = p
			a.clear()
		}
		if a.solo != p {
			return nil
		}
	}
	waiting := 0
	for i := range a.pieces {
		c := &a.pieces[i]
		ask := c.ask(p)
		if c.data != nil || ask == nil {
			continue
		}
		if now.Sub(ask.at) >= infoGiveUp {
			a.tire(p, now)
			return nil
		}
		waiting++
	}
	for i := range a.pieces {
		c := &a.pieces[i]
		if waiting == infoShare {
			break
		}
		if c.open(now) && c.ask(p) == nil {
			c.asked = append(c.asked, infoAsk{p, now})
			pieces = append(pieces, i)
			waiting++
		}
	}
	return pieces
}

// tire gives the peer's share to others for a while.
func (a *infoAssembly) tire(p *peer, now time.Time) {
	a.rest[p] = now.Add(infoRest)
	a.forget(p)
}

func (a *infoAssembly) forget(p *peer) {
	for i := range a.pieces {
		c := &a.pieces[i]
		c.asked = slices.DeleteFunc(c.asked, func(k infoAsk) bool { return k.peer == p })
	}
	if a.solo == p {
		a.solo = nil
	}
}

// received takes a piece. It reports false for what the peer was not asked for, or
// somebody else gave before.
func (f *infoFetch) received(p *peer, piece int, data []byte) bool {
	for _, a := range f.sizes {
		if piece < 0 || piece >= len(a.pieces) {
			continue
		}
		c := &a.pieces[piece]
		if c.data != nil || c.ask(p) == nil || len(data) != min(metadataPieceBytes, a.size-piece*metadataPieceBytes) {
			continue
		}
		c.data, c.from = data, p
		a.left--
		return true
	}
	return false
}

// refused says that the peer has no metadata after all.
func (f *infoFetch) refused(p *peer, now time.Time) {
	for _, a := range f.sizes {
		a.tire(p, now)
	}
}

// leave forgets a peer.
func (f *infoFetch) leave(p *peer) {
	for size, a := range f.sizes {
		a.forget(p)
		delete(a.rest, p)
		if !slices.ContainsFunc(a.pieces, func(c infoPiece) bool { return c.data != nil || len(c.asked) > 0 }) {
			delete(f.sizes, size)
		}
	}
}

// complete returns a dictionary of which nothing is missing, and who sent it.
// The verdict is given by failed, or by dropping the whole fetch.
func (f *infoFetch) complete() (size int, b []byte, from []*peer) {
	for size, a := range f.sizes {
		if a.left > 0 {
			continue
		}
		b = make([]byte, 0, size)
		for i := range a.pieces {
			b = append(b, a.pieces[i].data...)
			if !slices.Contains(from, a.pieces[i].from) {
				from = append(from, a.pieces[i].from)
			}
		}
		return size, b, from
	}
	return 0, nil, nil
}

// failed says that the hash of the dictionary of this size is wrong.
func (f *infoFetch) failed(size int, now time.Time) {
	a := f.sizes[size]
	if a.solo != nil {
		a.tire(a.solo, now)
	}
	a.alone = true
	a.clear()
}
