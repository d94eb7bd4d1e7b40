package engine

import (
	"math"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/choker"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/wire"
)

// slots carries out what the choker decides and keeps its facts up to date.
type slots struct {
	choker   *choker.Choker
	measured time.Time // when the rates were
	uploads  int64     // what the engine had uploaded then, over all torrents
	rate     float64   // at which it does, bytes per second
	fetched  time.Time // when something was wanted last
}

// trade is the give and take with one peer.
type trade struct {
	ck       choker.Peer
	sentThen int64 // when the rates were measured
	gaveThen int64
	moved    time.Time // a block went either way, or it joined
	gave     time.Time // its last block or piece of the metadata came; zero if none did
	took     time.Time // blocks were seen to have gone to it; zero if none did
	needed   time.Time // when Needs was counted
}

const (
	// measureEvery passes between measures, smoothTime is what they are averaged
	// over: long enough for a peer's pauses, short enough for the choker's rounds.
	measureEvery = time.Second
	smoothTime   = 10 * time.Second
	// fetchingFor is how long after a wish we still count as fetching: readers
	// pause.
	fetchingFor = 30 * time.Second
)

// offer says that the peer wants blocks of ours.
func (u *slots) offer(p *peer, now time.Time) {
	if p.trade.ck.Ref == nil {
		p.trade.ck.Ref = p
		u.choker.Join(&p.trade.ck, now)
	}
	p.trade.ck.Interested = true
	u.decide(p.sw, now)
}

// wishes says that the peer may have begun or ceased to want blocks of ours.
func (s *swarm) wishes(p *peer, now time.Time) {
	before := p.wantsUs
	switch p.wantsUs = p.interestedInUs && !p.uploadOnly; {
	case p.wantsUs:
		s.slots.offer(p, now)
		s.grant(p)
	case before:
		s.slots.left(s, p)
	}
}

// left says that the peer wants nothing, or is gone.
func (u *slots) left(s *swarm, p *peer) {
	p.trade.ck.Interested = false
	if s.peers[p.link] != p {
		u.choker.Leave(&p.trade.ck)
	}
	u.decide(s, time.Now())
}

// turn measures and decides, once a second.
func (u *slots) turn(s *swarm, now time.Time) {
	passed := now.Sub(u.measured)
	if passed < measureEvery {
		return
	}
	u.measured = now
	smooth := func(rate *float64, bytes int64) {
		*rate += (float64(bytes)/passed.Seconds() - *rate) * (1 - math.Exp(-passed.Seconds()/smoothTime.Seconds()))
	}
	total := s.eng.up.Total()
	smooth(&u.rate, total-u.uploads)
	u.uploads = total
	if s.pick != nil && s.pick.Busy() {
		u.fetched = now
	}
	for _, p := range s.peers {
		t, sent := &p.trade, p.link.Sent()
		if sent != t.sentThen || p.received != t.gaveThen {
			t.moved = now
		}
		if sent != t.sentThen {
			t.took = now
		}
		smooth(&t.ck.Takes, sent-t.sentThen)
		smooth(&t.ck.Gives, p.received-t.gaveThen)
		if t.ck.Gives < 1 {
			t.ck.Gives = 0 // it stopped long ago
		}
		t.sentThen, t.gaveThen = sent, p.received
		if !p.choking && p.pk != nil && now.Sub(t.needed) >= choker.Round {
			t.needed = now
			t.ck.Needs = int64(s.pick.Needs(p.pk)) * s.t.LoadedInfo().PieceLength
		}
	}
	u.decide(s, now)
}

func (u *slots) decide(s *swarm, now time.Time) {
	f := choker.Facts{
		Fetching:    now.Sub(u.fetched) < fetchingFor,
		UploadRate:  u.rate,
		UploadLimit: float64(s.eng.up.Rate()),
	}
	for _, c := range u.choker.Decide(now, f) {
		p := c.Peer.Ref.(*peer)
		p.choking = !c.Unchoke
		if c.Unchoke {
			p.link.SendBare(pp.Unchoke)
		} else {
			p.link.Choke()
			s.grant(p)
		}
	}
}

// askable returns the length of a piece that peers may ask for. That includes
// padding (BEP 47). In a v2 torrent it includes the gap behind a file, also the last one, which is zeros:
// libtorrent asks for it, and goes on asking when it is refused.
func askable(info *weir.TorrentInfo, index int) int64 {
	if !info.V2 {
		return info.FullRange(index).Len()
	}
	return info.PieceLength
}

// request is a peer's wish for a block.
func (s *swarm) request(p *peer, m *wire.Message, at time.Time) error {
	b := link.Block{Index: m.Index, Begin: m.Begin, Length: m.Length}
	if s.pick == nil {
		return s.refuseBlock(p, m, at)
	}
	info := s.t.LoadedInfo()
	if b.Index >= info.NumPieces() || b.Length <= 0 || b.Length > 8*weir.BlockBytes ||
		int64(b.Begin)+int64(b.Length) > askable(info, b.Index) {
		return link.ErrProtocol
	}
	if !s.pick.Held(b.Index) || p.choking && !spendGrant(p, b) {
		return s.refuseBlock(p, m, at)
	}
	if p.link.Queue(link.Request{Block: b}) {
		return nil
	}
	if !p.link.Fast() {
		return link.ErrProtocol // it knows how many we queue, and would wait for ever
	}
	return s.refuseBlock(p, m, at)
}

// refuseBlock answers a request that is not to be fulfilled.
func (s *swarm) refuseBlock(p *peer, m *wire.Message, at time.Time) error {
	if p.link.Fast() {
		p.link.Reject(link.Block{Index: m.Index, Begin: m.Begin, Length: m.Length})
	}
	return p.link.Useless(m, at)
}
