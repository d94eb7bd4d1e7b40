package engine

import (
	"github.com/weirfs/weir/engine/internal/wire"
)

// A Store may open beside the engine (Options.StoreReady). Until it answers, peers
// are found, dialed and greeted, and metadata is fetched; nothing else is asked of
// peers, because what is held is not known. No goroutine of the engine waits in the
// Store meanwhile.

// storeReady reports whether the Store answers without making the caller wait.
func (e *Engine) storeReady() bool {
	if e.opts.StoreReady == nil {
		return true
	}
	select {
	case <-e.opts.StoreReady:
		return true
	default:
		return false
	}
}

// storeOpened takes what the Store has: what is held, at once, and records later.
func (s *swarm) storeOpened() {
	s.gotMeta()
	s.records.load()
	if s.metadata.unsaved {
		s.metadata.save()
	}
}

// mostHavesAtOnce bounds the haves that wait for one peer, 9 bytes each.
const mostHavesAtOnce = 1 << 16

// tellHeld tells a peer that was greeted before we knew what we hold: a bitfield may
// only come first (BEP 3), so by haves, of a large torrent in several turns.
func (s *swarm) tellHeld(p *peer) {
	held := s.pick.HeldPieces()
	for n := 0; n < mostHavesAtOnce && p.toldHeld < len(held); p.toldHeld++ {
		if held[p.toldHeld] {
			n++
			p.link.Send(func(b []byte) []byte { return wire.AppendHave(b, p.toldHeld) })
		}
	}
	p.tellingHeld = p.toldHeld < len(held)
}
