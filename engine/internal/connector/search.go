package connector

import (
	"errors"
	"net/netip"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/wire"
)

var errPrivate = errors.New("the torrent is private, and not its tracker has named the peer")

// sourceOf translates how discovery found a peer.
var sourceOf = map[discover.Source]peerbook.Source{
	discover.FromTracker: peerbook.Tracker, discover.FromDHT: peerbook.DHT, discover.FromLSD: peerbook.Local,
}

// find looks for peers while the swarm runs.
func (c *Connector) find() {
	if c.end.disc == nil {
		return
	}
	c.search = c.searchFor(c.o.InfoHash)
	c.findOther()
}

// findOther looks for peers in the other swarm of a hybrid torrent, once.
func (c *Connector) findOther() {
	n := c.o.Names()
	if c.search == nil || c.searchOther != nil || !n.Hybrid() {
		return
	}
	c.searchOther = c.searchFor(n.Other(c.o.InfoHash))
}

func (c *Connector) searchFor(ih weir.InfoHash) *discover.Search {
	search := c.end.disc.Search(discover.Torrent{
		InfoHash: ih,
		Trackers: c.o.Trackers,
		Nodes:    c.o.Nodes,
		Private: func() (private, known bool) {
			info := c.o.Info()
			return info != nil && info.Private, info != nil
		},
		Left:       c.o.Left,
		Downloaded: c.o.Downloaded,
		Uploaded:   c.o.Uploaded,
		Found: func(addrs []string, via discover.Via) {
			o := peerbook.Origin{Source: sourceOf[via.Source], Teller: via.Tracker}
			c.do(func() { c.book.Add(time.Now(), o, addrs...) })
		},
		WantMore: func() bool { return c.Connected() < c.end.o.MaxPeers/2 },
		Alone:    func() bool { return c.Connected() == 0 },
	})
	c.o.Spawn(func() {
		if former := c.o.Former; former != nil { // else its goodbye may come to the trackers after our greeting
			select {
			case <-former:
			case <-c.o.Context.Done():
			}
		}
		search.Run(c.o.Context)
	})
	return search
}

// MetadataKnown says that the metadata is there, fresh that it was not when the search
// began. A private torrent lets go of the peers that it must not know of, and of a hybrid
// one both hashes are known now.
func (c *Connector) MetadataKnown(fresh bool) {
	c.keepPrivate()
	if fresh && c.search != nil {
		c.search.Poke() // it is private, or there is something left
		if c.searchOther != nil {
			c.searchOther.Poke()
		}
	}
	c.findOther()
}

// Public reports whether others than the trackers may hear of the torrent. A
// magnet counts as public until its metadata says something else (BEP 27).
func (c *Connector) Public() bool {
	info := c.o.LoadedInfo()
	return info == nil || !info.Private
}

// keepPrivate lets go of peers that a private torrent must not know of: those
// that others than its trackers named before the metadata was there (BEP 27).
func (c *Connector) keepPrivate() {
	if c.Public() {
		return
	}
	c.book.KeepPrivate()
	for k := range c.swarm.Conns() {
		if k.Dialed && c.book.Banned(k.Addr, time.Now()) {
			k.peer.Drop(errPrivate)
		}
	}
}

// Searched reports whether every tracker has answered or failed.
func (c *Connector) Searched() bool { return c.search == nil || c.search.Heard() }

// Trackers returns what is known of each tracker.
func (c *Connector) Trackers() []discover.TrackerStatus {
	if c.search == nil {
		return nil
	}
	return c.search.Status()
}

// TellNode tells a peer that has a node in the DHT of ours (BEP 5).
func (c *Connector) TellNode(k *Conn) {
	if c.end.disc == nil || !c.Public() || !k.Link.Hello.Bits.SupportsDHT() {
		return
	}
	if port := c.end.disc.DHTPort(); port > 0 {
		k.Link.Send(func(b []byte) []byte { return wire.AppendPort(b, port) })
	}
}

// AddNode takes a peer's word about its node in the DHT, once.
func (c *Connector) AddNode(k *Conn, port int) {
	if c.end.disc == nil || !c.Public() || k.nodeKnown {
		return
	}
	k.nodeKnown = true
	c.end.disc.AddNode(netip.AddrPortFrom(k.Link.Remote().Addr(), uint16(port)))
	if c.search != nil {
		c.search.Poke()
	}
}
