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

// searches look for the peers of a torrent while its swarm runs.
type searches struct {
	c     *Connector
	main  *discover.Search // nil if the Endpoint was never opened
	other *discover.Search // of a hybrid torrent: under its other hash
}

// begin begins to search.
func (s *searches) begin() {
	if s.c.end.disc == nil {
		return
	}
	s.main = s.search(s.c.o.InfoHash)
	s.beginOther()
}

// beginOther searches in the other swarm of a hybrid torrent, too, once.
func (s *searches) beginOther() {
	n := s.c.o.Names()
	if s.main == nil || s.other != nil || !n.Hybrid() {
		return
	}
	s.other = s.search(n.Other(s.c.o.InfoHash))
}

// poke says that there is something new to tell, or more to look for.
func (s *searches) poke() {
	if s.main != nil {
		s.main.Poke()
	}
	if s.other != nil {
		s.other.Poke()
	}
}

func (s *searches) search(ih weir.InfoHash) *discover.Search {
	c := s.c
	search := c.end.disc.Search(discover.Torrent{
		InfoHash: ih,
		Presence: c.o.Presence(ih),
		Stays:    c.o.Stays,
		Paused:   c.o.Paused,
		Nodes:    c.o.Nodes,
		Private: func() (private, known bool) {
			info := c.o.Info()
			return info != nil && info.Private, info != nil
		},
		Left:       c.o.Left,
		Downloaded: c.o.Downloaded,
		Uploaded:   c.o.Uploaded,
		Found: func(addrs []string, via discover.Via) {
			o := peerbook.Origin{Source: sourceOf[via.Source], Referrer: via.Tracker}
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
	if fresh {
		c.searches.poke() // it is private, or there is something left
	}
	c.searches.beginOther()
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

// TrackersAdded says that Options.Presence may have more trackers.
func (c *Connector) TrackersAdded() { c.searches.poke() }

// Searched reports whether every tracker has answered or failed.
func (c *Connector) Searched() bool { return c.searches.main == nil || c.searches.main.Heard() }

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
	if c.searches.main != nil {
		c.searches.main.Poke()
	}
}
