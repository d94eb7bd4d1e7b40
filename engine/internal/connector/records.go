package connector

import (
	"errors"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/peerbook"
)

// Records keep small values from one run to the next. They are safe for concurrent use,
// and may wait for a disk.
type Records interface {
	// Record returns an error that wraps weir.ErrNotFound if there is none.
	Record(bucket string, key []byte) ([]byte, error)
	PutRecord(bucket string, key, value []byte) error
}

// PeersBucket is where the peers of each torrent are that were of use, by info hash, so
// that a warm start needs no tracker.
const PeersBucket = "peers"

// The peers of a warm torrent are written every recordEvery if they changed, the first
// time after recordFirst, and when it cools.
const (
	recordEvery = 5 * time.Minute
	recordFirst = 20 * time.Second
)

// PeerRecords are the records of a torrent's peers. They belong to the owner of the swarm.
type PeerRecords struct {
	c       *Connector
	at      time.Time // when they were written last
	writing bool
	parting bool // they were written since the last use
}

// Load reads the peers of former runs. It is not for the owner: it may wait.
func (r *PeerRecords) Load() []peerbook.KnownPeer {
	c := r.c
	b, err := c.o.Records.Record(PeersBucket, c.o.InfoHash[:])
	var list []peerbook.KnownPeer
	if err == nil {
		list, err = peerbook.Parse(b)
	}
	switch {
	case errors.Is(err, weir.ErrInvalid), errors.Is(err, weir.ErrCorrupt):
		c.o.Log.Warn("known peers not read from the cache", "err", err)
	case err != nil && !errors.Is(err, weir.ErrNotFound):
		c.o.Log.Debug("known peers not read from the cache", "err", err) // the cache can't be opened: whoever opens it says so
	}
	return list
}

// Add makes the peers of former runs candidates.
func (r *PeerRecords) Add(peers []peerbook.KnownPeer) {
	now := time.Now()
	r.c.book.Load(peerbook.Choose(peers, now), now)
}

// writeWhenDue writes the peers that were of use, once in a while.
func (r *PeerRecords) writeWhenDue(now time.Time) {
	if r.c.book.KnownPeersChanged() && now.Sub(r.at) > recordEvery {
		r.write(now)
	}
}

// write posts the peers that were of use to the writer of records.
func (r *PeerRecords) write(now time.Time) {
	c := r.c
	if r.writing || !c.o.RecordsReady() {
		return
	}
	r.at = now
	for k := range c.swarm.Conns() {
		r.note(k, now)
	}
	if !c.book.KnownPeersChanged() {
		return
	}
	b := peerbook.Append(nil, c.book.KnownPeers(now))
	r.writing = true
	c.o.PostWrite(func() {
		r.put(b)
		c.do(func() { r.writing = false })
	})
}

// Part writes the peers once the swarm is about to cool, and reports whether it
// may: the next swarm may begin, and ask for them, before this one has ended.
func (r *PeerRecords) Part(now time.Time) bool {
	if !r.parting {
		r.parting = true
		r.write(now)
	}
	return !r.writing
}

// Stay says that the swarm is in use again.
func (r *PeerRecords) Stay() { r.parting = false }

// Last returns a function that writes the peers that are not written yet, for the
// end of the swarm.
func (r *PeerRecords) Last() (write func()) {
	c := r.c
	if !c.book.KnownPeersChanged() || !c.o.RecordsReady() {
		return func() {}
	}
	b := peerbook.Append(nil, c.book.KnownPeers(time.Now()))
	return func() { r.put(b) }
}

func (r *PeerRecords) put(record []byte) {
	c := r.c
	if err := c.o.Records.PutRecord(PeersBucket, c.o.InfoHash[:], record); err != nil {
		c.o.Log.Warn("known peers not kept in the cache", "err", err)
	}
}

// note notes a peer that is or was connected, if it can be dialed. One that dialed
// us is noted once it has delivered: its port is just its word. A private
// torrent's are left to its tracker.
func (r *PeerRecords) note(k *Conn, now time.Time) {
	c, received := r.c, k.peer.Received()
	addr, ok := k.listens()
	if !ok || !k.Dialed && (received == 0 || !c.Public()) {
		return
	}
	c.book.Met(k.Addr, addr, received-k.noted, now)
	k.noted = received
}
