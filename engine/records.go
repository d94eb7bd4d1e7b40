package engine

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
	s.loadRecords()
	if s.metadata.unsaved {
		s.metadata.save()
	}
}

// loadRecords reads what former runs left of the torrent, beside the owner: the
// metadata, hashes of pieces, and peers, which become candidates.
func (s *swarm) loadRecords() {
	s.spawn(func() {
		s.t.meta.LoadDue()
		peers := s.conns.Records.Load()
		s.do(func() {
			s.gotMeta()
			if s.pick != nil {
				s.hashes.verifyWaiting()
			}
			s.conns.Records.Add(peers)
		})
	})
}

// writeLast writes what the swarm leaves when it ends, and waits for that.
func (s *swarm) writeLast() {
	writePeers := s.conns.Records.Last()
	written := make(chan struct{})
	s.eng.records.Post(func() {
		defer close(written)
		writePeers()
		s.t.meta.Drop()
	})
	<-written
}
