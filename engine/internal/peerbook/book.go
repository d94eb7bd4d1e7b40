// Package peerbook remembers at which addresses peers of one torrent may be
// found, who named them and what came of it, and decides which is dialed next.
// Facts go in, decisions come out: there is no connection, no clock and no
// goroutine here, and a book belongs to one goroutine.
//
// Addresses are somebody's word. So each source, and within a source each referrer,
// has a share of the book and of the dials: no flood of nonsense keeps others'
// addresses from being dialed. What can't be reached is tried later and later and
// then left out; a peer whose addresses turn out to be nonsense is not listened
// to any more. Addresses that the user named are never dropped.
package peerbook

import (
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/internal/subnet"
)

// Source is the way in which an address became known. Greater is more reliable.
type Source uint8

// The sources.
const (
	Incoming Source = iota // a peer that dialed us says where it listens
	Local                  // local service discovery
	Exchange               // another peer (PEX)
	DHT
	Former  // a former run was connected with it
	Tracker // a tracker; in a private torrent the least that counts (BEP 27)
	User    // the user, or the magnet that he named
	sources
)

// Origin is whose word an address is.
type Origin struct {
	Source   Source
	Referrer string // which peer or tracker; may be empty
}

// shares are what each source gets while others want the same: room in the book
// and dials.
var shares = [sources]struct {
	room  int     // addresses
	pace  float64 // dials
	dials int     // at once
}{
	Incoming: {100, 1, 4},
	Local:    {100, 2, 8},
	Exchange: {500, 4, 8},
	DHT:      {500, 4, 8},
	Former:   {100, 8, MaxDials},
	Tracker:  {700, 8, MaxDials},
	User:     {0, 16, MaxDials},
}

// Bounds of one book.
const (
	MaxCandidates = 2000 // of all sources but the user
	maxUser       = 2000 // a magnet may name any number (x.pe)
	MaxDials      = 16   // at once
	// maxUnreliableDials leaves dials to what trackers and the user name.
	maxUnreliableDials = 12
	maxReferrers       = 256
	maxTold            = 100 // addresses of one peer that nothing came of yet
	maxPorts           = 8   // addresses that differ by port alone
	maxBans            = 10_000
)

// Candidate is an address to dial.
type Candidate struct {
	Addr   string // host:port
	Source Source
	Mode   uint8 // how to speak to it first: the caller's number
	// ShortTimeout says that many others wait for a dial, so this one should not take long.
	ShortTimeout bool
}

// candidate is what is known of an address.
type candidate struct {
	name   string         // host:port
	addr   netip.AddrPort // invalid for a host name
	seq    int            // the order of becoming known
	origin *group
	mode   uint8
	busy   bool // dialed or connected
	dials  bool // dialed and not connected
	// What the dial cost those who named it of their turns.
	costSource, costReferrer float64

	failures int
	ended    time.Time // the last dial or connection
	next     time.Time // not to be dialed before
	dead     time.Time // since when it is out of the question; zero if it isn't

	met       bool      // was connected since the book was made
	seen      time.Time // the end of the last connection; zero if there was none
	delivered int64     // bytes of blocks
	misses    int       // as of KnownPeer, before this book
}

// group is what one referrer named.
type group struct {
	Origin
	seq       int
	size      int // candidates
	pass      float64
	good, bad int // first dials that found somebody, and nobody
	muted     time.Time
}

// Book is the candidates of one torrent.
type Book struct {
	priority func(netip.AddrPort) uint32
	mode     uint8 // how a candidate is spoken to first

	known   map[string]*candidate
	groups  map[Origin]*group
	bans    Bans
	ports   map[netip.Addr]int // candidates of an address
	size    [sources]int
	pass    [sources]float64 // dials that a source had, by its pace
	dialing [sources]int
	seq     int
	private bool

	failed  int  // dials since one succeeded
	fresh   bool // something can be dialed that could not before
	changed bool // known peers
	reached bool // a dial succeeded since the book was made
}

// New returns an empty book. priority orders addresses that are alike, the
// greatest first (BEP 40); mode is how they are spoken to first. bans are the book's from
// now on, to be handed to the next one of the same torrent.
func New(priority func(netip.AddrPort) uint32, mode uint8, bans Bans) *Book {
	return &Book{
		priority: priority, mode: mode, known: map[string]*candidate{}, groups: map[Origin]*group{},
		bans: bans, ports: map[netip.Addr]int{},
	}
}

// Len returns how many addresses may be dialed, now or later.
func (b *Book) Len() int {
	n := 0
	for _, k := range b.known {
		if k.dead.IsZero() {
			n++
		}
	}
	return n
}

// Dialing returns how many dials are under way.
func (b *Book) Dialing() int {
	n := 0
	for _, d := range b.dialing {
		n += d
	}
	return n
}

// FailedDials returns how many dials came to nothing since one succeeded.
func (b *Book) FailedDials() int { return b.failed }

// Fresh reports whether Next is worth asking again before any time has passed. It
// is so until the next call of Seen.
func (b *Book) Fresh() bool { return b.fresh }

// Seen says that Next has been asked for all that it has.
func (b *Book) Seen() { b.fresh = false }

// KeepPrivate forgets all that a private torrent may not know, and hears of
// nobody but the user and trackers from now on (BEP 27). Connections that it must
// not have are told by Banned.
func (b *Book) KeepPrivate() {
	b.private = true
	for _, k := range b.known {
		if !k.origin.reliable() && !k.busy {
			b.remove(k)
		}
	}
}

func (g *group) reliable() bool { return g.Source >= Tracker }

const banTime = time.Hour

// Ban forbids connections with the address, and of IPv6 with its whole network:
// its owner has all of that.
func (b *Book) Ban(addr string, now time.Time) {
	b.changed = true
	p, ok := banKey(addr)
	if !ok {
		return
	}
	b.bans.add(p, now.Add(banTime))
}

// Banned reports whether there is to be no connection with addr.
func (b *Book) Banned(addr string, now time.Time) bool {
	if k := b.known[canonical(addr)]; k != nil && b.private && !k.origin.reliable() {
		return true
	}
	p, ok := banKey(addr)
	return ok && b.bans.has(p, now)
}

// Bans are the networks that are banned, and until when.
type Bans map[netip.Prefix]time.Time

// add bans a network, in the place of the ban that ends first when there are too many.
func (b Bans) add(p netip.Prefix, until time.Time) {
	if len(b) >= maxBans {
		var first netip.Prefix
		for o, until := range b {
			if old := b[first]; !first.IsValid() || until.Before(old) || until.Equal(old) && o.Addr().Less(first.Addr()) {
				first = o
			}
		}
		delete(b, first)
	}
	b[p] = until
}

func (b Bans) has(p netip.Prefix, now time.Time) bool {
	until, ok := b[p]
	if ok && now.After(until) {
		delete(b, p)
		return false
	}
	return ok
}

// banKey returns what is banned with an address. A host name has none: it is
// banned by the address that it was reached at.
func banKey(addr string) (netip.Prefix, bool) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}, false
	}
	return subnet.Customer(a.Addr()), true
}

// canonical returns how an address is called in the book.
func canonical(addr string) string {
	if a, err := netip.ParseAddrPort(addr); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
	}
	return addr
}
