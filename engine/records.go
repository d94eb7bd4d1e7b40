package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/peerbook"
)

// recordWriter writes records beside the owners of swarms: each write is synced, and a
// disk may take long. Writes are done one at a time, in the order of post.
type recordWriter struct {
	mu      sync.Mutex
	queue   []func()
	writing bool
	wg      sync.WaitGroup // the goroutine that writes
}

// post has write called after those that were posted before. It does not wait.
func (w *recordWriter) post(write func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, write)
	if !w.writing {
		w.writing = true
		w.wg.Go(w.run)
	}
}

// run writes until nothing is left.
func (w *recordWriter) run() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.queue, w.writing = nil, false
			w.mu.Unlock()
			return
		}
		write := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		write()
	}
}

// wait returns when all that was posted is written.
func (w *recordWriter) wait() { w.wg.Wait() }

// PeersBucket is where the engine keeps the peers of each torrent that were of
// use, by info hash, so that a warm start needs no tracker.
const PeersBucket = "peers"

// loadRecords reads what former runs left of the torrent, beside the owner: the
// metadata, hashes of pieces, and peers, which become candidates.
func (s *swarm) loadRecords() {
	s.spawn(func() {
		s.t.meta.LoadDue()
		peers := s.loadPeers()
		s.do(func() {
			s.gotMeta()
			if s.pick != nil {
				s.verifyUnhashed()
			}
			now := time.Now()
			s.book.Load(peerbook.Choose(peers, now), now)
		})
	})
}

// loadPeers reads the peers of former runs.
func (s *swarm) loadPeers() []peerbook.KnownPeer {
	b, err := s.eng.opts.Store.Record(PeersBucket, s.t.ih[:])
	var list []peerbook.KnownPeer
	if err == nil {
		list, err = peerbook.Parse(b)
	}
	switch {
	case errors.Is(err, weir.ErrInvalid), errors.Is(err, weir.ErrCorrupt):
		s.log.Warn("known peers not read from the cache", "err", err)
	case err != nil && !errors.Is(err, weir.ErrNotFound):
		s.log.Debug("known peers not read from the cache", "err", err) // the cache can't be opened: whoever opens it says so
	}
	return list
}

// recordEvery is how often the peers of a warm torrent are written, if they
// changed, and recordFirst how soon for the first time. They are when it cools, too.
const (
	recordEvery = 5 * time.Minute
	recordFirst = 20 * time.Second
)

// recordPeersWhenDue records the peers that were of use, once in a while.
func (s *swarm) recordPeersWhenDue(now time.Time) {
	if s.book.KnownPeersChanged() && now.Sub(s.recorded) > recordEvery {
		s.recordPeers(now)
	}
}

// recordPeers posts them to the writer of records.
func (s *swarm) recordPeers(now time.Time) {
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
	s.eng.records.post(func() {
		s.writePeers(b)
		s.do(func() { s.recording = false })
	})
}

func (s *swarm) writePeers(record []byte) {
	if err := s.eng.opts.Store.PutRecord(PeersBucket, s.t.ih[:], record); err != nil {
		s.log.Warn("known peers not kept in the cache", "err", err)
	}
}

// writeLast writes what the swarm leaves when it ends, and waits for that.
func (s *swarm) writeLast() {
	var peers []byte
	if s.book.KnownPeersChanged() && s.eng.storeReady() {
		peers = peerbook.Append(nil, s.book.KnownPeers(time.Now()))
	}
	written := make(chan struct{})
	s.eng.records.post(func() {
		defer close(written)
		if peers != nil {
			s.writePeers(peers)
		}
		s.t.meta.Drop()
	})
	<-written
}

// met notes a peer that is or was connected, if it can be dialed. One that dialed
// us is noted once it has delivered: its port is just its word. A private
// torrent's are left to its tracker.
func (s *swarm) met(p *peer, now time.Time) {
	addr, ok := p.listens()
	if !ok || !p.dialed && (p.give.Received == 0 || !s.public()) {
		return
	}
	s.book.Met(p.addr, addr, p.give.Received-p.noted, now)
	p.noted = p.give.Received
}
