package engine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// PeersBucket is where the engine keeps the peers of each torrent that were of
// use, by info hash, so that a warm start needs no tracker.
const PeersBucket = "peers"

// acquaintance is a peer that we were connected with.
type acquaintance struct {
	addr      netip.AddrPort // where it can be dialed
	tracker   bool           // a tracker has named it: a private torrent's peers all are (BEP 27)
	delivered int64          // bytes of blocks, all in all
	seen      time.Time      // the end of the last connection
	misses    int            // warm periods in a row in which it could not be reached, though others were
}

// Bounds on what is kept of a torrent.
const (
	mostAcquaintances = 64
	acquaintedFor     = 14 * 24 * time.Hour
	mostMisses        = 3
)

// chooseAcquaintances keeps those worth dialing first: the ones that delivered,
// and of these the ones seen last.
func chooseAcquaintances(all []acquaintance, now time.Time) []acquaintance {
	all = slices.DeleteFunc(all, func(a acquaintance) bool {
		return a.misses >= mostMisses || now.Sub(a.seen) > acquaintedFor || a.seen.After(now.Add(time.Hour))
	})
	slices.SortFunc(all, func(a, b acquaintance) int {
		return cmp.Or(
			cmp.Compare(min(b.delivered, 1), min(a.delivered, 1)),
			cmp.Compare(a.misses, b.misses),
			b.seen.Compare(a.seen),
			a.addr.Compare(b.addr))
	})
	return all[:min(len(all), mostAcquaintances)]
}

// The form of the record: its version, then for each peer
//
//	flags      1 byte: 1 a tracker named it, 2 the address is IPv6
//	misses     1 byte
//	seen       uvarint, minutes since 1970
//	delivered  uvarint, bytes
//	address    4 or 16 bytes and 2 of the port, as in BEP 7 and 23
const (
	acquaintanceVersion = 1

	flagTracker = 1
	flagIPv6    = 2
)

// appendAcquaintances appends the record to b.
func appendAcquaintances(b []byte, list []acquaintance) []byte {
	b = append(b, acquaintanceVersion)
	for _, a := range list {
		ip, flags := a.addr.Addr().Unmap(), byte(0)
		if a.tracker {
			flags |= flagTracker
		}
		if ip.Is6() {
			flags |= flagIPv6
		}
		b = append(b, flags, byte(min(a.misses, 255)))
		b = binary.AppendUvarint(b, uint64(max(0, a.seen.Unix()/60)))
		b = binary.AppendUvarint(b, uint64(max(0, a.delivered)))
		b = append(b, ip.AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, a.addr.Port())
	}
	return b
}

// parseAcquaintances reads a record. The error wraps weir.ErrInvalid: then there
// is none that can be used.
func parseAcquaintances(b []byte) ([]acquaintance, error) {
	bad := func(what string) ([]acquaintance, error) {
		return nil, fmt.Errorf("record of peers: %s: %w", what, weir.ErrInvalid)
	}
	if len(b) == 0 || b[0] != acquaintanceVersion {
		return bad("unknown version")
	}
	var list []acquaintance
	for r := bytes.NewReader(b[1:]); r.Len() > 0; {
		if len(list) == mostAcquaintances {
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
		list = append(list, acquaintance{
			addr:    netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(addr[len(addr):n])),
			tracker: flags&flagTracker != 0, delivered: int64(delivered), misses: int(misses), seen: time.Unix(int64(minutes)*60, 0),
		})
	}
	return list, nil
}

// recallPeers makes the peers of former runs candidates, before anybody else is
// asked.
func (s *swarm) recallPeers(now time.Time) {
	b, err := s.eng.opts.Store.Record(PeersBucket, s.t.ih[:])
	var list []acquaintance
	if err == nil {
		list, err = parseAcquaintances(b)
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
	s.candidates.recall(chooseAcquaintances(list, now))
}

// recordEvery is how often the peers of a warm torrent are written, if they
// changed, and recordFirst how soon for the first time. They are when it cools, too.
const (
	recordEvery = 5 * time.Minute
	recordFirst = 20 * time.Second
)

// recordPeers keeps the peers that were of use, once in a while.
func (s *swarm) recordPeers(now time.Time) {
	if s.candidates.changed && now.Sub(s.recorded) > recordEvery {
		s.keepPeers(now)
	}
}

func (s *swarm) keepPeers(now time.Time) {
	s.recorded = now
	for p := range s.peers {
		s.met(p, now)
	}
	if !s.candidates.changed {
		return
	}
	s.candidates.changed = false
	b := appendAcquaintances(nil, chooseAcquaintances(s.candidates.acquaintances(now), now))
	if err := s.eng.opts.Store.PutRecord(PeersBucket, s.t.ih[:], b); err != nil {
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
	s.candidates.met(p.addr, addr, p.received-p.noted, now)
	p.noted = p.received
}
