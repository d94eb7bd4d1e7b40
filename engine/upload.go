package engine

import (
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// mostSlots is how many peers of a torrent are served at a time, slotTurn how
// long one of them keeps its slot while others wait.
const (
	mostSlots = 8
	slotTurn  = 30 * time.Second
)

// slots decides who is served: the first to ask, and then each in turn.
type slots struct {
	taken    int
	lastTurn time.Time
}

// offer gives the peer a slot if one is free.
func (u *slots) offer(p *peer, now time.Time) {
	if !p.choking || !p.wantsUs || u.taken >= mostSlots {
		return
	}
	u.taken++
	p.choking, p.unchokedAt = false, now
	p.out.bare(pp.Unchoke)
}

// left takes the peer's slot back, because it is gone or wants nothing.
func (u *slots) left(s *swarm, p *peer) {
	if p.choking {
		return
	}
	u.taken--
	p.choking = true
	p.out.choke(p.fast())
	u.fill(s, time.Now(), p)
}

// fill gives free slots to those who wait, except to one.
func (u *slots) fill(s *swarm, now time.Time, except *peer) {
	for o := range s.peers {
		if o != except {
			u.offer(o, now)
		}
	}
}

// turn takes the slot of whoever has had one longest, when others wait.
func (u *slots) turn(s *swarm, now time.Time) {
	if u.taken < mostSlots || now.Sub(u.lastTurn) < slotTurn {
		return
	}
	u.lastTurn = now
	var oldest *peer
	waiting := false
	for p := range s.peers {
		waiting = waiting || p.choking && p.wantsUs
		if !p.choking && (oldest == nil || p.unchokedAt.Before(oldest.unchokedAt)) {
			oldest = p
		}
	}
	if waiting && oldest != nil {
		u.left(s, oldest)
	}
}

// askable returns the length of a piece that peers may ask for. In a v2 torrent
// that includes the gap behind a file, which is zeros: libtorrent asks for it,
// and goes on asking when it is refused.
func askable(info *weir.TorrentInfo, index int) int64 {
	if !info.V2 {
		return info.PieceRange(index).Len()
	}
	return min(info.PieceLength, info.Length-int64(index)*info.PieceLength)
}

// request is a peer's wish for a block.
func (s *swarm) request(p *peer, m *wire.Message) error {
	u := upload{m.Index, m.Begin, m.Length}
	if s.pick == nil {
		if p.fast() {
			p.out.reject(u)
		}
		return nil
	}
	info := s.t.Info()
	if u.index >= info.NumPieces() || u.length <= 0 || u.length > 8*weir.BlockBytes ||
		int64(u.begin)+int64(u.length) > askable(info, u.index) {
		return errNonsense
	}
	if p.choking || !s.pick.Held(u.index) || !p.out.push(u) {
		if p.fast() {
			p.out.reject(u)
		}
	}
	return nil
}
