// Package upload serves the peers of a torrent: it collects facts for the choker and
// carries out its decisions, grants newcomers a few pieces (allowed fast, BEP 6), and
// queues or refuses the requests of peers. The bytes are read elsewhere, when they are
// written to the peer (link.Answerer).
package upload

import (
	"math"
	"net/netip"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/choker"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Uploads is what a torrent gives its peers, and gets. It belongs to the owner of the
// swarm.
type Uploads struct {
	ih    weir.InfoHash
	limit *throttle.Limiter // of all torrents

	info   *weir.TorrentInfo // nil while nothing can be served; so picks
	picks  *picker.Picker
	peers  map[*Peer]struct{}
	choker *choker.Choker
	grants map[netip.Prefix]*grant

	measured time.Time // when the rates were
	uploaded int64     // what the engine had uploaded then, over all torrents
	rate     float64   // at which it does, bytes per second
	fetched  time.Time // when something was wanted last
}

// New returns the uploads of a torrent that has no peers. limit is that of all torrents.
func New(ih weir.InfoHash, limit *throttle.Limiter) *Uploads {
	return &Uploads{
		ih: ih, limit: limit, peers: map[*Peer]struct{}{}, choker: choker.New(),
		measured: time.Now(), uploaded: limit.Total(),
	}
}

// Begin says that pieces may be served from now on.
func (u *Uploads) Begin(info *weir.TorrentInfo, picks *picker.Picker) { u.info, u.picks = info, picks }

// Peer is the give and take with one peer.
type Peer struct {
	Received int64     // payload
	Moved    time.Time // a block went either way, or it joined
	Gave     time.Time // its last block or piece of the metadata came; zero if none did
	Took     time.Time // blocks were seen to have gone to it; zero if none did

	link       *link.Link
	pick       *picker.Peer // nil while nothing can be served
	choker     choker.Peer
	interested bool   // it told us that it is
	uploadOnly bool   // it told us that it wants no blocks (BEP 21)
	wants      bool   // what follows from both
	choking    bool   // we don't serve it
	granted    bool   // it was looked at whether it gets a grant
	grant      *grant // of its network: pieces that it is served all the same; nil: none

	sentThen int64 // when the rates were measured
	gaveThen int64
	needed   time.Time // when Needs was counted
}

// Wants reports whether the peer wants blocks of ours.
func (p *Peer) Wants() bool { return p.wants }

// Age makes it so much longer since anything moved, for tests.
func (p *Peer) Age(d time.Duration) {
	p.Moved, p.Gave, p.Took = p.Moved.Add(-d), p.Gave.Add(-d), p.Took.Add(-d)
}

// Join adds a peer, which is choked.
func (u *Uploads) Join(l *link.Link, now time.Time) *Peer {
	p := &Peer{link: l, choking: true, Moved: now}
	u.peers[p] = struct{}{}
	return p
}

// Introduce says what the peer is to the picker, once there is one.
func (p *Peer) Introduce(pick *picker.Peer) { p.pick = pick }

const (
	// measureEvery passes between measures, smoothTime is what they are averaged
	// over: long enough for a peer's pauses, short enough for the choker's rounds.
	measureEvery = time.Second
	smoothTime   = 10 * time.Second
	// fetchingFor is how long after a wish we still count as fetching: readers
	// pause.
	fetchingFor = 30 * time.Second
)

// SetInterested says whether the peer is interested in us.
func (u *Uploads) SetInterested(p *Peer, interested bool, now time.Time) {
	p.interested = interested
	u.changed(p, now)
}

// SetUploadOnly says whether the peer wants no blocks whatever its interest (BEP 21).
func (u *Uploads) SetUploadOnly(p *Peer, only bool, now time.Time) {
	p.uploadOnly = only
	u.changed(p, now)
}

// changed sees to a peer that may have begun or ceased to want blocks of ours.
func (u *Uploads) changed(p *Peer, now time.Time) {
	before := p.wants
	switch p.wants = p.interested && !p.uploadOnly; {
	case p.wants:
		if p.choker.Ref == nil {
			p.choker.Ref = p
			u.choker.Join(&p.choker, now)
		}
		p.choker.Interested = true
		u.decide(now)
		u.offerGrant(p)
	case before:
		p.choker.Interested = false
		u.decide(now)
	}
}

// Leave removes a peer.
func (u *Uploads) Leave(p *Peer, now time.Time) {
	delete(u.peers, p)
	p.choker.Interested = false
	u.choker.Leave(&p.choker)
	u.decide(now)
}

// Round measures and decides, once a second.
func (u *Uploads) Round(now time.Time) {
	passed := now.Sub(u.measured)
	if passed < measureEvery {
		return
	}
	u.measured = now
	smooth := func(rate *float64, bytes int64) {
		*rate += (float64(bytes)/passed.Seconds() - *rate) * (1 - math.Exp(-passed.Seconds()/smoothTime.Seconds()))
	}
	total := u.limit.Total()
	smooth(&u.rate, total-u.uploaded)
	u.uploaded = total
	if u.picks != nil && u.picks.Busy() {
		u.fetched = now
	}
	for p := range u.peers {
		sent := p.link.Sent()
		if sent != p.sentThen || p.Received != p.gaveThen {
			p.Moved = now
		}
		if sent != p.sentThen {
			p.Took = now
		}
		smooth(&p.choker.Takes, sent-p.sentThen)
		smooth(&p.choker.Gives, p.Received-p.gaveThen)
		if p.choker.Gives < 1 {
			p.choker.Gives = 0 // it stopped long ago
		}
		p.sentThen, p.gaveThen = sent, p.Received
		if !p.choking && p.pick != nil && now.Sub(p.needed) >= choker.Round {
			p.needed = now
			p.choker.Needs = int64(u.picks.Needs(p.pick)) * u.info.PieceLength
		}
	}
	u.decide(now)
}

func (u *Uploads) decide(now time.Time) {
	f := choker.Facts{
		Fetching:    now.Sub(u.fetched) < fetchingFor,
		UploadRate:  u.rate,
		UploadLimit: float64(u.limit.Rate()),
	}
	for _, c := range u.choker.Decide(now, f) {
		p := c.Peer.Ref.(*Peer)
		p.choking = !c.Unchoke
		if c.Unchoke {
			p.link.SendBare(pp.Unchoke)
		} else {
			p.link.Choke()
			u.offerGrant(p)
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

// Request takes a peer's request for a block. An error ends the connection.
func (u *Uploads) Request(p *Peer, m *wire.Message, at time.Time) error {
	b := link.Block{Index: m.Index, Begin: m.Begin, Length: m.Length}
	if u.picks == nil {
		return p.refuse(m, at)
	}
	if b.Index >= u.info.NumPieces() || b.Length <= 0 || b.Length > 8*weir.BlockBytes ||
		int64(b.Begin)+int64(b.Length) > askable(u.info, b.Index) {
		return link.ErrProtocol
	}
	if !u.picks.Held(b.Index) || p.choking && !p.spendGrant(b) {
		return p.refuse(m, at)
	}
	if p.link.Queue(link.Request{Block: b}) {
		return nil
	}
	if !p.link.Fast() {
		return link.ErrProtocol // it knows how many we queue, and would wait for ever
	}
	return p.refuse(m, at)
}

// refuse answers a request that is not to be fulfilled.
func (p *Peer) refuse(m *wire.Message, at time.Time) error {
	if p.link.Fast() {
		p.link.Reject(link.Block{Index: m.Index, Begin: m.Begin, Length: m.Length})
	}
	return p.link.Useless(m, at)
}
