package discover

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/internal/netrule"
)

// stepOthers does for the DHT and LSD what is due; the torrent is not known to
// be private. It returns next or an earlier time to look again.
func (s *Search) stepOthers(ctx context.Context, now, next time.Time) time.Time {
	if s.d.lsd != nil && !s.local {
		s.local = true
		for _, h := range s.hashes {
			s.d.lsd.join(h, s, func(a netip.AddrPort) {
				select {
				case s.heard <- heardPeer{h, a}:
				default: // the owner is behind, and it will be said again
				}
			})
		}
	}
	if s.d.dht == nil {
		return next
	}
	if !s.d.dht.ready() {
		if soon := now.Add(nodesReadyPoll); soon.Before(next) {
			next = soon
		}
		return next
	}
	if s.dht.cancel == nil && !s.dht.next.After(now) {
		s.lookup(ctx, now)
	}
	if s.dht.cancel == nil && s.dht.next.Before(next) {
		next = s.dht.next
	}
	return next
}

// nodesReadyPoll is how often we look whether the nodes of a former run can be read.
const nodesReadyPoll = 20 * time.Millisecond

// lookup starts a lookup in the DHT for each info hash.
func (s *Search) lookup(ctx context.Context, now time.Time) {
	if !s.dht.joined {
		if err := s.d.dht.join(); err != nil {
			s.dht.failures++
			s.dht.next = now.Add(backoff(s.dht.failures, rand.Float64()))
			s.log.Debug("DHT does not start", "err", err)
			return
		}
		s.dht.joined = true
	}
	repeat := !s.dht.last.IsZero()
	s.dht.last, s.dht.hinted = now, s.d.dht.hintedSo()
	inner, cancel := context.WithCancel(ctx)
	s.dht.cancel = cancel
	port := s.d.opt.Port()
	if !repeat {
		s.nameNodes(ctx)
		s.dht.hinted = s.d.dht.hintedSo()
	}
	s.spawn(ctx, func() func() {
		answers := 0
		for _, h := range s.hashes {
			found := func(addrs []netip.AddrPort) {
				s.post(inner, func() {
					if inner.Err() == nil && s.t.open() {
						s.t.Found(hostPorts(addrs), Via{Source: FromDHT, InfoHash: h})
					}
				})
			}
			n, err := s.d.dht.lookup(inner, h, port, repeat, found)
			answers += n
			if err != nil {
				s.log.Debug("DHT lookup", "err", err)
			}
		}
		return func() { s.lookedUp(time.Now(), answers) }
	})
}

// mostTorrentNodes bounds the nodes of one torrent that are asked.
const mostTorrentNodes = 16

// nameNodes tells the DHT of the nodes that the torrent names: at once of those with
// an address, of the others when they have been looked up.
func (s *Search) nameNodes(ctx context.Context) {
	hint := func(nodes []node) {
		for _, n := range nodes {
			if err := s.d.opt.Rule.Judge(netrule.Facts{Addr: n.addr.Addr()}); err != nil {
				s.log.Debug("DHT node of the torrent is not asked", "node", n.addr, "err", err)
				continue
			}
			s.d.dht.hint(n.addr, true)
		}
	}
	var names []string
	for _, hostPort := range s.t.Nodes[:min(len(s.t.Nodes), mostTorrentNodes)] {
		if a, err := netip.ParseAddrPort(hostPort); err == nil {
			hint([]node{{addr: a}})
		} else {
			names = append(names, hostPort)
		}
	}
	if len(names) == 0 {
		return
	}
	s.spawn(ctx, func() func() {
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		defer cancel()
		nodes := resolve(ctx, names)
		return func() {
			hint(nodes)
			s.lookAgain(time.Now())
		}
	})
}

// lookedUp takes the end of a lookup, to which so many nodes answered.
func (s *Search) lookedUp(now time.Time, answers int) {
	s.dht.cancel()
	s.dht.cancel = nil
	if answers == 0 {
		s.dht.failures++
		s.dht.next = now.Add(backoff(s.dht.failures, rand.Float64()))
		s.lookAgain(now)
	} else {
		s.dht.failures = 0
		s.dht.next = s.dht.last.Add(dhtInterval)
	}
}

// lookAgain makes a lookup due that nobody answered, if nodes were named since.
func (s *Search) lookAgain(now time.Time) {
	if s.d.dht != nil && s.dht.failures > 0 && s.dht.hinted != s.d.dht.hintedSo() {
		s.dht.next = now
	}
}

// closeOthers stops telling others than the trackers: the torrent is private.
func (s *Search) closeOthers() {
	if s.dht.cancel != nil {
		s.dht.cancel() // the next step after its end leaves the DHT
		return
	}
	s.leaveOthers()
}

// leaveOthers leaves LSD and the DHT; no lookup is under way.
func (s *Search) leaveOthers() {
	if s.local {
		s.local = false
		for _, h := range s.hashes {
			s.d.lsd.leave(h, s)
		}
	}
	if s.dht.joined {
		s.dht.joined = false
		s.d.dht.leave()
	}
}
