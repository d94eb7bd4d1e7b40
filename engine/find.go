package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/netrule"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/wire"
)

var errPrivate = errors.New("the torrent is private, and not its tracker has named the peer")

// NodesBucket is where the engine keeps DHT nodes that answered, so that the next
// start needs no router.
const NodesBucket = "dht"

var nodesKey = []byte("nodes")

// openDiscovery starts what finds peers for all torrents.
func (e *Engine) openDiscovery() error {
	var dial func(context.Context, string) (net.Conn, error)
	if e.opts.Network != nil {
		dial = e.opts.Network.Dial
	}
	var err error
	e.disc, err = discover.Open(discover.Options{
		Log:          e.log,
		PeerID:       e.peerID,
		UserAgent:    e.opts.UserAgent,
		Rule:         netrule.Rule{AllowPrivate: e.opts.AllowPrivate},
		Port:         e.Port,
		Dial:         dial,
		DHT:          e.opts.DHT,
		DHTBootstrap: e.opts.DHTBootstrap,
		LSD:          e.opts.LSD,
		NodesReady:   e.opts.StoreReady,
		LoadNodes: func() []byte {
			b, _ := e.opts.Store.Record(NodesBucket, nodesKey)
			return b
		},
		RecordNodes: func(b []byte) {
			if err := e.opts.Store.PutRecord(NodesBucket, nodesKey, b); err != nil {
				e.log.Warn("DHT nodes not kept in the cache", "err", err)
			}
		},
	})
	return err
}

// PublicRouters are the usual ways into the public DHT.
func PublicRouters() []string { return discover.PublicRouters() }

// sourceOf translates how discovery found a peer.
var sourceOf = map[discover.Source]peerbook.Source{
	discover.FromTracker: peerbook.Tracker, discover.FromDHT: peerbook.DHT, discover.FromLSD: peerbook.Local,
}

// find looks for peers while the swarm runs.
func (s *swarm) find() {
	if s.eng.disc == nil {
		return
	}
	s.search = s.searchFor(s.t.ih)
	s.findOther()
}

// findOther looks for peers in the other swarm of a hybrid torrent, once.
func (s *swarm) findOther() {
	n := s.t.meta.Names()
	if s.search == nil || s.searchOther != nil || !n.Hybrid() {
		return
	}
	s.searchOther = s.searchFor(n.Other(s.t.ih))
}

func (s *swarm) searchFor(ih weir.InfoHash) *discover.Search {
	search := s.eng.disc.Search(discover.Torrent{
		InfoHash: ih,
		Trackers: s.trackers,
		Nodes:    s.nodes,
		Private: func() (private, known bool) {
			info := s.t.Info()
			return info != nil && info.Private, info != nil
		},
		Left:       s.left,
		Downloaded: s.t.counts.downloaded.Load,
		Uploaded:   s.t.counts.uploaded.Load,
		Found: func(addrs []string, via discover.Via) {
			o := peerbook.Origin{Source: sourceOf[via.Source], Teller: via.Tracker}
			s.do(func() { s.book.Add(time.Now(), o, addrs...) })
		},
		WantMore: func() bool { return int(s.connected.Load()) < s.eng.opts.MaxPeers/2 },
		Alone:    func() bool { return s.connected.Load() == 0 },
	})
	s.spawn(func() {
		if former := s.t.former; former != nil { // else its goodbye may come to the trackers after our greeting
			select {
			case <-former:
			case <-s.ctx.Done():
			}
		}
		search.Run(s.ctx)
	})
	return search
}

// left returns the bytes that we don't hold. While the size is unknown it is a
// block, because zero would say that we are a seed.
func (s *swarm) left() int64 {
	info := s.t.Info()
	if info == nil {
		return weir.BlockBytes
	}
	left := info.ContentBytes()
	if !s.eng.storeReady() {
		return left // the next announce says it better
	}
	for i, held := range s.eng.opts.Store.Held(s.t.ih, info.NumPieces()) {
		if held {
			left -= info.PieceRange(i).Len()
		}
	}
	return left
}

// public reports whether others than the trackers may hear of the torrent. A
// magnet counts as public until its metadata says something else (BEP 27).
func (s *swarm) public() bool {
	info := s.t.LoadedInfo()
	return info == nil || !info.Private
}

// keepPrivate lets go of peers that a private torrent must not know of: those
// that others than its trackers named before the metadata was there (BEP 27).
func (s *swarm) keepPrivate() {
	if s.public() {
		return
	}
	s.book.KeepPrivate()
	for _, p := range s.peers {
		if p.dialed && s.book.Banned(p.addr, time.Now()) {
			s.drop(p, errPrivate)
		}
	}
}

// tellNode tells a peer that has a node in the DHT of ours (BEP 5).
func (s *swarm) tellNode(p *peer) {
	if s.eng.disc == nil || !s.public() || !p.link.Hello.Bits.SupportsDHT() {
		return
	}
	if port := s.eng.disc.DHTPort(); port > 0 {
		p.link.Send(func(b []byte) []byte { return wire.AppendPort(b, port) })
	}
}

// theirNode takes a peer's word about its node in the DHT, once.
func (s *swarm) theirNode(p *peer, port int) {
	if s.eng.disc == nil || !s.public() || p.nodeKnown {
		return
	}
	p.nodeKnown = true
	s.eng.disc.AddNode(netip.AddrPortFrom(p.link.Remote().Addr(), uint16(port)))
	if s.search != nil {
		s.search.Poke()
	}
}

// heardOfPeers takes a PEX message (BEP 11).
func (s *swarm) heardOfPeers(p *peer, m pex.Message) error {
	if !s.public() {
		return nil // we never offered it: the peer has it from before the metadata
	}
	peers, err := p.pexIn.Accept(time.Now(), p.link.Remote(), m)
	o := peerbook.Origin{Source: peerbook.Exchange, Teller: p.tellerName()}
	for _, other := range peers {
		s.book.Add(time.Now(), o, other.Addr.String())
	}
	return err
}

// tellOfPeers sends PEX messages that are due.
func (s *swarm) tellOfPeers(now time.Time) {
	if now.Sub(s.lastPex) < time.Second || !s.public() {
		return
	}
	s.lastPex = now
	var connected []pex.Peer
	for _, p := range s.peers {
		if addr, ok := p.listens(); ok {
			o := pex.Peer{Addr: addr}
			if p.dialed {
				o.Flags |= pex.Outgoing
			}
			connected = append(connected, o)
		}
	}
	for _, p := range s.peers {
		if p.pexID == 0 {
			continue
		}
		self := p.link.Remote()
		if addr, ok := p.listens(); ok {
			self = addr
		}
		if m, due := p.pexOut.Next(now, self, connected); due {
			payload := m.Append(nil)
			p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, p.pexID, payload) })
		}
	}
}

// tellerName is who is held to account for the addresses that a peer names: where
// we dialed it, or the host that it came from, by whatever port.
func (p *peer) tellerName() string {
	if p.dialed {
		return p.addr
	}
	return p.link.Remote().Addr().Unmap().String()
}

// listens returns where the peer can be dialed, if that is known: where we did,
// or the port that it told (BEP 10).
func (p *peer) listens() (netip.AddrPort, bool) {
	remote := p.link.Remote()
	switch {
	case !remote.IsValid():
		return remote, false
	case p.dialed:
		return remote, true
	case p.port > 0:
		return netip.AddrPortFrom(remote.Addr(), uint16(p.port)), true
	}
	return remote, false
}
