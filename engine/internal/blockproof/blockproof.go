// Package blockproof verifies single blocks of a v2 torrent (BEP 52), whoever sent them:
// which peer is asked for the hash of a block, when it is asked again, and what an answer
// is worth. With such a hash a block is verified without the rest of its piece.
//
// A peer is asked together with the block. One that has never checked its data refuses
// that, and answers once it has sent the block: so it is asked once more then, and not
// again. Hashes that don't lead to the piece's own are no reason for a ban: there are
// clients that answer with those of another layer.
//
// Facts go in, choices come out: no I/O, no clock, no goroutine and no message lives here.
package blockproof

import (
	"slices"
	"time"

	"github.com/weirfs/weir/engine/internal/verify"
)

// patience passes before a hash that was asked for is given up. It is long: the second
// request for it is made when the block has come, behind others in the peer's queue.
const patience = 2 * time.Second

// Verdict says what is known of a block.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // its hash is not known
	Right
	Wrong
)

// Outcome says what became of a request for hashes.
type Outcome uint8

// The outcomes.
const (
	Unasked Outcome = iota // nobody was asked for that
	Waiting                // for the block, for its piece's hash, or for others that were asked
	Known                  // the hashes are
	Again                  // the same peer is to be asked again
	Failed                 // the hashes can't be had of this peer
)

// Proofs are the hashes of blocks that are asked for, and those that have come. P names a
// peer.
type Proofs[P comparable] struct {
	hashes *verify.Hashes
	pairs  map[verify.HashRequest]*pair[P]
	pieces map[int][]verify.HashRequest
}

// pair are two neighbouring blocks, whose hashes come together.
type pair[P comparable] struct {
	piece  int
	asks   []*ask[P]
	answer [][32]byte // of from; the piece's own hash is not known yet
	from   P
	known  bool
	hash   [2][32]byte
}

// ask is a request for the hashes of a pair.
type ask[P comparable] struct {
	of      P
	at      time.Time
	again   bool // it is the second one
	refused bool // the first one was, and the block has not come
	served  bool // the block has come
}

// New returns the proofs of a torrent; h are its hashes as v2 has them.
func New[P comparable](h *verify.Hashes) *Proofs[P] {
	return &Proofs[P]{hashes: h, pairs: map[verify.HashRequest]*pair[P]{}, pieces: map[int][]verify.HashRequest{}}
}

// Possible reports whether blocks of a piece can be verified by themselves.
func (p *Proofs[P]) Possible(piece int) bool {
	_, ok := p.hashes.BlockRequest(piece, 0)
	return ok
}

// Requested says that a peer is asked for a block now. It returns the request to send
// behind that, false for none.
func (p *Proofs[P]) Requested(now time.Time, of P, piece, block int) (verify.HashRequest, bool) {
	req, ok := p.hashes.BlockRequest(piece, block)
	if !ok {
		return req, false
	}
	k := p.pairs[req]
	if k == nil {
		k = &pair[P]{piece: piece}
		p.pairs[req] = k
		p.pieces[piece] = append(p.pieces[piece], req)
	}
	if k.known || k.answer != nil || len(k.asks) > 0 {
		return req, false // Served comes back if that comes to nothing
	}
	k.asks = append(k.asks, &ask[P]{of: of, at: now})
	return req, true
}

// Elsewhere is Requested for the hash of a block that another sends, who can't be asked for
// it, as a web server can't.
func (p *Proofs[P]) Elsewhere(now time.Time, of P, piece, block int) (verify.HashRequest, bool) {
	req, send := p.Requested(now, of, piece, block)
	if send {
		p.pairs[req].askOf(of).again = true // it won't send the block
	}
	return req, send
}

// Served says that a peer has sent a block whose hash is not known. It returns the request
// to send to it, false for none.
func (p *Proofs[P]) Served(now time.Time, of P, piece, block int) (verify.HashRequest, bool) {
	req, ok := p.hashes.BlockRequest(piece, block)
	k := p.pairs[req]
	if !ok || k == nil {
		return p.Requested(now, of, piece, block)
	}
	if k.known || k.answer != nil {
		return req, false
	}
	a := k.askOf(of)
	switch {
	case a == nil:
		k.asks = append(k.asks, &ask[P]{of: of, at: now, served: true})
	case a.refused:
		a.at, a.again, a.refused = now, true, false
	default:
		a.served = true
		return req, false
	}
	return req, true
}

// Refused says that a peer rejects a request.
func (p *Proofs[P]) Refused(now time.Time, of P, req verify.HashRequest) (o Outcome, piece int) {
	k := p.pairs[req]
	if k == nil {
		return Unasked, 0
	}
	a := k.askOf(of)
	switch {
	case a == nil:
		return Unasked, 0
	case a.again, a.refused:
		k.drop(of)
		return Failed, k.piece
	case a.served:
		a.at, a.again = now, true
		return Again, k.piece
	}
	a.refused = true
	return Waiting, k.piece
}

// Answered says that a peer has sent hashes.
func (p *Proofs[P]) Answered(of P, req verify.HashRequest, hashes [][32]byte) (o Outcome, piece int) {
	k := p.pairs[req]
	if k == nil || k.askOf(of) == nil {
		return Unasked, 0
	}
	if k.known || k.answer != nil {
		k.drop(of)
		return Waiting, k.piece
	}
	if !p.hashes.Known(k.piece) {
		k.answer, k.from = hashes, of
		return Waiting, k.piece
	}
	return p.judge(k, of, req, hashes), k.piece
}

func (p *Proofs[P]) judge(k *pair[P], of P, req verify.HashRequest, hashes [][32]byte) Outcome {
	k.drop(of)
	hash, err := p.hashes.BlockHashes(k.piece, req, hashes)
	if err != nil {
		return Failed
	}
	k.known, k.hash, k.asks = true, hash, k.asks[:0]
	return Known
}

// Learned judges the answers about a piece whose own hash is known by now. It returns
// the peers whose hashes were wrong.
func (p *Proofs[P]) Learned(piece int) (wrong []P) {
	if !p.hashes.Known(piece) {
		return nil
	}
	for _, req := range p.pieces[piece] {
		k := p.pairs[req]
		if k.answer == nil {
			continue
		}
		answer, from := k.answer, k.from
		k.answer = nil
		if p.judge(k, from, req, answer) == Failed {
			wrong = append(wrong, from)
		}
	}
	return wrong
}

// Check says whether a block is right.
func (p *Proofs[P]) Check(piece, block int, bytes []byte) Verdict {
	req, ok := p.hashes.BlockRequest(piece, block)
	k := p.pairs[req]
	switch {
	case !ok || k == nil || !k.known:
		return Unknown
	case verify.BlockHash(bytes) == k.hash[block%2]:
		return Right
	}
	return Wrong
}

// Leave forgets a peer. It returns the pieces of which hashes can't be had now that were
// asked of it.
func (p *Proofs[P]) Leave(of P) (failed []int) {
	for _, k := range p.pairs {
		if k.askOf(of) != nil && k.answer == nil {
			k.drop(of)
			if len(k.asks) == 0 {
				failed = append(failed, k.piece)
			}
		}
	}
	return failed
}

// Late calls fn with the peers that have not told hashes for too long, and the pieces of
// these. The peers were not asked then.
func (p *Proofs[P]) Late(now time.Time, fn func(of P, piece int)) {
	for _, k := range p.pairs {
		for _, a := range slices.Clone(k.asks) {
			if k.answer == nil && now.Sub(a.at) > patience {
				k.drop(a.of)
				fn(a.of, k.piece)
			}
		}
	}
}

// Forget forgets what is known and asked of a piece's blocks.
func (p *Proofs[P]) Forget(piece int) {
	for _, req := range p.pieces[piece] {
		delete(p.pairs, req)
	}
	delete(p.pieces, piece)
}

func (k *pair[P]) askOf(of P) *ask[P] {
	for _, a := range k.asks {
		if a.of == of {
			return a
		}
	}
	return nil
}

func (k *pair[P]) drop(of P) {
	k.asks = slices.DeleteFunc(k.asks, func(a *ask[P]) bool { return a.of == of })
}
