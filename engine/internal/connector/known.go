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

// LoadKnown reads the peers of former runs. It is not for the owner: it may wait.
func (c *Connector) LoadKnown() []peerbook.KnownPeer {
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

// AddKnown makes the peers of former runs candidates.
func (c *Connector) AddKnown(peers []peerbook.KnownPeer) {
	now := time.Now()
	c.book.Load(peerbook.Choose(peers, now), now)
}

// recordWhenDue records the peers that were of use, once in a while.
func (c *Connector) recordWhenDue(now time.Time) {
	if c.book.KnownPeersChanged() && now.Sub(c.recorded) > recordEvery {
		c.record(now)
	}
}

// record posts the peers that were of use to the writer of records.
func (c *Connector) record(now time.Time) {
	if c.recording || !c.o.RecordsReady() {
		return
	}
	c.recorded = now
	for k := range c.swarm.Conns() {
		c.noteKnown(k, now)
	}
	if !c.book.KnownPeersChanged() {
		return
	}
	b := peerbook.Append(nil, c.book.KnownPeers(now))
	c.recording = true
	c.o.PostWrite(func() {
		c.writeKnown(b)
		c.do(func() { c.recording = false })
	})
}

// Part records the known peers once the swarm is about to cool, and reports whether it
// may: the next swarm may begin, and ask for them, before this one has ended.
func (c *Connector) Part(now time.Time) bool {
	if !c.parting {
		c.parting = true
		c.record(now)
	}
	return !c.recording
}

// Stay says that the swarm is in use again.
func (c *Connector) Stay() { c.parting = false }

// LastRecord returns a function that writes the peers that are not written yet, for the
// end of the swarm.
func (c *Connector) LastRecord() (write func()) {
	if !c.book.KnownPeersChanged() || !c.o.RecordsReady() {
		return func() {}
	}
	b := peerbook.Append(nil, c.book.KnownPeers(time.Now()))
	return func() { c.writeKnown(b) }
}

func (c *Connector) writeKnown(record []byte) {
	if err := c.o.Records.PutRecord(PeersBucket, c.o.InfoHash[:], record); err != nil {
		c.o.Log.Warn("known peers not kept in the cache", "err", err)
	}
}

// noteKnown notes a peer that is or was connected, if it can be dialed. One that dialed
// us is noted once it has delivered: its port is just its word. A private
// torrent's are left to its tracker.
func (c *Connector) noteKnown(k *Conn, now time.Time) {
	received := k.peer.Received()
	addr, ok := k.listens()
	if !ok || !k.Dialed && (received == 0 || !c.Public()) {
		return
	}
	c.book.Met(k.Addr, addr, received-k.noted, now)
	k.noted = received
}
