package peerbook

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/subnet"
)

// KnownPeer is a peer that we were connected with.
type KnownPeer struct {
	Addr      netip.AddrPort // where it can be dialed
	Tracker   bool           // a tracker has named it: a private torrent's peers all are (BEP 27)
	Delivered int64          // bytes of blocks, all in all
	Seen      time.Time      // the end of the last connection
	Misses    int            // warm periods in a row in which it could not be reached, though others were
}

// Bounds on what is kept of a torrent.
const (
	maxKnown  = 64
	knownFor  = 14 * 24 * time.Hour
	maxMisses = 3
)

// Choose keeps those worth dialing first: the ones that delivered,
// and of these the ones seen last.
func Choose(all []KnownPeer, now time.Time) []KnownPeer {
	all = slices.DeleteFunc(all, func(a KnownPeer) bool {
		return a.Misses >= maxMisses || now.Sub(a.Seen) > knownFor || a.Seen.After(now.Add(time.Hour))
	})
	slices.SortFunc(all, func(a, b KnownPeer) int {
		return cmp.Or(
			cmp.Compare(min(b.Delivered, 1), min(a.Delivered, 1)),
			cmp.Compare(a.Misses, b.Misses),
			b.Seen.Compare(a.Seen),
			a.Addr.Compare(b.Addr))
	})
	return all[:min(len(all), maxKnown)]
}

// The form of the record: its version, then for each peer
//
//	flags      1 byte: 1 a tracker named it, 2 the address is IPv6
//	misses     1 byte
//	seen       uvarint, minutes since 1970
//	delivered  uvarint, bytes
//	address    4 or 16 bytes and 2 of the port, as in BEP 7 and 23
const (
	recordVersion = 1

	flagTracker = 1
	flagIPv6    = 2
)

// Append appends the record to b.
func Append(b []byte, list []KnownPeer) []byte {
	b = append(b, recordVersion)
	for _, a := range list {
		ip, flags := a.Addr.Addr().Unmap(), byte(0)
		if a.Tracker {
			flags |= flagTracker
		}
		if ip.Is6() {
			flags |= flagIPv6
		}
		b = append(b, flags, byte(min(a.Misses, 255)))
		b = binary.AppendUvarint(b, uint64(max(0, a.Seen.Unix()/60)))
		b = binary.AppendUvarint(b, uint64(max(0, a.Delivered)))
		b = append(b, ip.AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, a.Addr.Port())
	}
	return b
}

// Parse reads a record. The error wraps weir.ErrInvalid: then there
// is none that can be used.
func Parse(b []byte) ([]KnownPeer, error) {
	bad := func(what string) ([]KnownPeer, error) {
		return nil, weir.Errorf(weir.ErrInvalid, "record of peers: %s", what)
	}
	if len(b) == 0 || b[0] != recordVersion {
		return bad("unknown version")
	}
	var list []KnownPeer
	for r := bytes.NewReader(b[1:]); r.Len() > 0; {
		if len(list) == maxKnown {
			return bad("too many")
		}
		flags, err1 := r.ReadByte()
		misses, err2 := r.ReadByte()
		minutes, err3 := binary.ReadUvarint(r)
		delivered, err4 := binary.ReadUvarint(r)
		addr := make([]byte, 4, 18)
		if flags&flagIPv6 != 0 {
			addr = addr[:16]
		}
		n, _ := r.Read(addr[:len(addr)+2])
		if err := errors.Join(err1, err2, err3, err4); err != nil || n != len(addr)+2 {
			return bad("cut off")
		}
		const farthest = 1 << 32 // minutes
		if flags&^(flagTracker|flagIPv6) != 0 || minutes > farthest || delivered > 1<<62 {
			return bad("no sense")
		}
		ip, _ := netip.AddrFromSlice(addr)
		list = append(list, KnownPeer{
			Addr:    netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(addr[len(addr):n])),
			Tracker: flags&flagTracker != 0, Delivered: int64(delivered), Misses: int(misses), Seen: time.Unix(int64(minutes)*60, 0),
		})
	}
	return list, nil
}

// Load makes the peers of former runs known.
func (b *Book) Load(list []KnownPeer, now time.Time) {
	for _, a := range list {
		o := Origin{Source: Former}
		if a.Tracker {
			o.Source = Tracker
		}
		name := canonical(a.Addr.String())
		b.Add(now, o, name)
		switch k := b.known[name]; {
		case k == nil:
		case k.met: // before the record could be read
			k.delivered += a.Delivered
		default:
			k.seen, k.delivered, k.misses = a.Seen, a.Delivered, a.Misses
		}
	}
}

// KnownPeersChanged reports whether KnownPeers has other peers than at its last
// call.
func (b *Book) KnownPeersChanged() bool { return b.changed }

// KnownPeers returns those that were ever connected and are not banned.
func (b *Book) KnownPeers(now time.Time) []KnownPeer {
	b.changed = false
	var list []KnownPeer
	for _, k := range b.known {
		if k.seen.IsZero() || !k.addr.IsValid() || b.bans.has(subnet.Customer(k.addr.Addr()), now) || b.private && !k.origin.reliable() {
			continue
		}
		misses := k.misses
		if b.reached && !k.met && k.failures > 0 { // else it may be us who are cut off
			misses++
		}
		list = append(list, KnownPeer{
			Addr: k.addr, Tracker: k.origin.Source == Tracker, Delivered: k.delivered, Seen: k.seen, Misses: misses,
		})
	}
	return Choose(list, now)
}
