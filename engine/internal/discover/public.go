package discover

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/internal/discover/dht"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// stepPublic does for the DHT and LSD what is due; the torrent is not known to be private.
// It returns next or an earlier time to look again.
func (s *Search) stepPublic(ctx context.Context, now, next time.Time) time.Time {
	if s.d.lsd != nil && s.leaveLSD == nil {
		for _, h := range s.hashes {
			s.leaveLSD = append(s.leaveLSD, s.d.lsd.Join(h, func(a netip.AddrPort) {
				select {
				case s.heard <- heardPeer{h, a}:
				default: // the owner is behind; the peer will announce itself again
				}
			}))
		}
	}
	if s.d.dht == nil {
		return next
	}
	if !s.d.dht.Ready() {
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

// nodesReadyPoll is how often we check whether the nodes of a former run can be read.
const nodesReadyPoll = 20 * time.Millisecond

// lookup starts a lookup in the DHT for each info hash.
func (s *Search) lookup(ctx context.Context, now time.Time) {
	if !s.dht.joined {
		if err := s.d.dht.Join(); err != nil {
			s.dht.failures++
			s.dht.next = now.Add(tracker.Backoff(s.dht.failures, rand.Float64()))
			s.log.Debug("DHT does not start", "err", err)
			return
		}
		s.dht.joined = true
	}
	repeat := !s.dht.last.IsZero()
	s.dht.last, s.dht.named = now, s.d.dht.Named()
	inner, cancel := context.WithCancel(ctx)
	s.dht.cancel = cancel
	port := s.d.opt.Port()
	if !repeat {
		s.addNodes(ctx)
		s.dht.named = s.d.dht.Named()
	}
	s.spawn(ctx, func() func() {
		answers := 0
		for _, h := range s.hashes {
			found := func(addrs []netip.AddrPort) {
				s.post(inner, func() {
					if inner.Err() == nil && s.t.public() {
						s.t.Found(hostPorts(addrs), Via{Source: FromDHT, InfoHash: h})
					}
				})
			}
			n, err := s.d.dht.Lookup(inner, h, port, repeat, found)
			answers += n
			if err != nil {
				s.log.Debug("DHT lookup", "err", err)
			}
		}
		return func() { s.lookedUp(time.Now(), answers) }
	})
}

// maxTorrentNodes bounds the nodes of one torrent that are asked.
const maxTorrentNodes = 16

// addNodes adds the nodes that the torrent names to the DHT: those with an address at once,
// the others when they have been resolved.
func (s *Search) addNodes(ctx context.Context) {
	add := func(nodes []netip.AddrPort) {
		for _, n := range nodes {
			if err := s.d.opt.Rule.Judge(netrule.Facts{Addr: n.Addr()}); err != nil {
				s.log.Debug("DHT node of the torrent is not asked", "node", n, "err", err)
				continue
			}
			s.d.dht.AddNode(n, true)
		}
	}
	var names []string
	for _, hostPort := range s.t.Nodes[:min(len(s.t.Nodes), maxTorrentNodes)] {
		if a, err := netip.ParseAddrPort(hostPort); err == nil {
			add([]netip.AddrPort{a})
		} else {
			names = append(names, hostPort)
		}
	}
	if len(names) == 0 {
		return
	}
	s.spawn(ctx, func() func() {
		nodes := dht.Resolve(ctx, names)
		return func() {
			add(nodes)
			s.retryLookup(time.Now())
		}
	})
}

// lookedUp takes the end of a lookup that answers nodes have answered.
func (s *Search) lookedUp(now time.Time, answers int) {
	s.dht.cancel()
	s.dht.cancel = nil
	if answers == 0 {
		s.dht.failures++
		s.dht.next = now.Add(tracker.Backoff(s.dht.failures, rand.Float64()))
		s.retryLookup(now)
	} else {
		s.dht.failures = 0
		s.dht.next = s.dht.last.Add(dhtInterval)
	}
}

// retryLookup makes a lookup due at once if nobody answered the last one and nodes were
// named since.
func (s *Search) retryLookup(now time.Time) {
	if s.d.dht != nil && s.dht.failures > 0 && s.dht.named != s.d.dht.Named() {
		s.dht.next = now
	}
}

// closePublic stops telling others than the trackers: the torrent is private.
func (s *Search) closePublic() {
	if s.dht.cancel != nil {
		s.dht.cancel() // the next step after its end leaves the DHT
		return
	}
	s.leavePublic()
}

// leavePublic leaves LSD and the DHT; no lookup is under way.
func (s *Search) leavePublic() {
	for _, leave := range s.leaveLSD {
		leave()
	}
	s.leaveLSD = nil
	if s.dht.joined {
		s.dht.joined = false
		s.d.dht.Leave()
	}
}
