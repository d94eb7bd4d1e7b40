package engine

import (
	"errors"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/peerbook"
)

// PeersBucket is where the engine keeps the peers of each torrent that were of
// use, by info hash, so that a warm start needs no tracker.
const PeersBucket = "peers"

// recallPeers makes the peers of former runs candidates, before anybody else is
// asked.
func (s *swarm) recallPeers(now time.Time) {
	b, err := s.eng.opts.Store.Record(PeersBucket, s.t.ih[:])
	var list []peerbook.KnownPeer
	if err == nil {
		list, err = peerbook.Parse(b)
	}
	if err != nil {
		switch {
		case errors.Is(err, weir.ErrInvalid), errors.Is(err, weir.ErrCorrupt):
			s.log.Warn("known peers not read from the cache", "err", err)
		case !errors.Is(err, weir.ErrNotFound):
			s.log.Debug("known peers not read from the cache", "err", err) // the cache can't be opened: whoever opens it says so
		}
		return
	}
	s.book.Recall(peerbook.Choose(list, now), now)
}

// recordEvery is how often the peers of a warm torrent are written, if they
// changed, and recordFirst how soon for the first time. They are when it cools, too.
const (
	recordEvery = 5 * time.Minute
	recordFirst = 20 * time.Second
)

// recordPeers keeps the peers that were of use, once in a while.
func (s *swarm) recordPeers(now time.Time) {
	if s.book.KnownPeersChanged() && now.Sub(s.recorded) > recordEvery {
		s.keepPeers(now)
	}
}

// keepPeers writes them beside the owner: it is synced, and a disk may take long.
func (s *swarm) keepPeers(now time.Time) {
	if s.recording || !s.eng.storeReady() {
		return
	}
	s.recorded = now
	for _, p := range s.peers {
		s.met(p, now)
	}
	if !s.book.KnownPeersChanged() {
		return
	}
	b := peerbook.Append(nil, s.book.KnownPeers(now))
	s.recording = true
	s.spawn(func() {
		s.putPeers(b)
		s.do(func() { s.recording = false })
	})
}

func (s *swarm) putPeers(record []byte) {
	if err := s.eng.opts.Store.PutRecord(PeersBucket, s.t.ih[:], record); err != nil {
		s.log.Warn("known peers not kept in the cache", "err", err)
	}
}

// met notes a peer that is or was connected, if it can be dialed. One that dialed
// us is noted once it has delivered: its port is just its word. A private
// torrent's are left to its tracker.
func (s *swarm) met(p *peer, now time.Time) {
	addr, ok := p.listens()
	if !ok || !p.dialed && (p.received == 0 || !s.public()) {
		return
	}
	s.book.Met(p.addr, addr, p.received-p.noted, now)
	p.noted = p.received
}
