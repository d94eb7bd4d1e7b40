package engine

import (
	"errors"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/peerbook"
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

// PeersBucket is where the engine keeps the peers of each torrent that were of
// use, by info hash, so that a warm start needs no tracker.
const PeersBucket = "peers"

// peerRecords are the records of a torrent's peers. They belong to the swarm's owner.
type peerRecords struct {
	s       *swarm
	at      time.Time // when they were written last
	writing bool
	parting bool // they were written since the last use
}

// load reads what former runs left of the torrent, beside the owner: the
// metadata, hashes of pieces, and peers, which become candidates.
func (k *peerRecords) load() {
	s := k.s
	s.spawn(func() {
		s.t.meta.LoadDue()
		peers := k.read()
		s.do(func() {
			s.gotMeta()
			if s.pick != nil {
				s.hashes.verifyWaiting()
			}
			now := time.Now()
			s.book.Load(peerbook.Choose(peers, now), now)
		})
	})
}

// read reads the peers of former runs.
func (k *peerRecords) read() []peerbook.KnownPeer {
	b, err := k.s.eng.opts.Store.Record(PeersBucket, k.s.t.ih[:])
	var list []peerbook.KnownPeer
	if err == nil {
		list, err = peerbook.Parse(b)
	}
	switch {
	case errors.Is(err, weir.ErrInvalid), errors.Is(err, weir.ErrCorrupt):
		k.s.log.Warn("known peers not read from the cache", "err", err)
	case err != nil && !errors.Is(err, weir.ErrNotFound):
		k.s.log.Debug("known peers not read from the cache", "err", err) // the cache can't be opened: whoever opens it says so
	}
	return list
}

// recordEvery is how often the peers of a warm torrent are written, if they
// changed, and recordFirst how soon for the first time. They are when it cools, too.
const (
	recordEvery = 5 * time.Minute
	recordFirst = 20 * time.Second
)

// writeWhenDue writes the peers that were of use, once in a while.
func (k *peerRecords) writeWhenDue(now time.Time) {
	if k.s.book.KnownPeersChanged() && now.Sub(k.at) > recordEvery {
		k.write(now)
	}
}

// write posts them to the writer of records.
func (k *peerRecords) write(now time.Time) {
	s := k.s
	if k.writing || !s.eng.storeReady() {
		return
	}
	k.at = now
	for _, p := range s.peers {
		k.met(p, now)
	}
	if !s.book.KnownPeersChanged() {
		return
	}
	b := peerbook.Append(nil, s.book.KnownPeers(now))
	k.writing = true
	s.eng.records.Post(func() {
		k.put(b)
		s.do(func() { k.writing = false })
	})
}

func (k *peerRecords) put(record []byte) {
	if err := k.s.eng.opts.Store.PutRecord(PeersBucket, k.s.t.ih[:], record); err != nil {
		k.s.log.Warn("known peers not kept in the cache", "err", err)
	}
}

// writeLast writes what the swarm leaves when it ends, and waits for that.
func (k *peerRecords) writeLast() {
	s := k.s
	var peers []byte
	if s.book.KnownPeersChanged() && s.eng.storeReady() {
		peers = peerbook.Append(nil, s.book.KnownPeers(time.Now()))
	}
	written := make(chan struct{})
	s.eng.records.Post(func() {
		defer close(written)
		if peers != nil {
			k.put(peers)
		}
		s.t.meta.Drop()
	})
	<-written
}

// part writes them once the swarm is about to cool, and reports whether it may: the next
// swarm may begin, and ask for them, before this one has ended.
func (k *peerRecords) part(now time.Time) bool {
	if !k.parting {
		k.parting = true
		k.write(now)
	}
	return !k.writing
}

// met notes a peer that is or was connected, if it can be dialed. One that dialed
// us is noted once it has delivered: its port is just its word. A private
// torrent's are left to its tracker.
func (k *peerRecords) met(p *peer, now time.Time) {
	addr, ok := p.listens()
	if !ok || !p.dialed && (p.give.Received == 0 || !k.s.public()) {
		return
	}
	k.s.book.Met(p.addr, addr, p.give.Received-p.noted, now)
	p.noted = p.give.Received
}
