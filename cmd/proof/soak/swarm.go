package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/attack"
)

// honest is the number of seeders that stay honest, for most of the time. The first one is
// only stopped when the whole network is.
const honest = 5

// Swarm is the seeders, the tracker and the attackers.
type Swarm struct {
	mount    *Mount
	faults   *FaultLog
	torrents []*Torrent
	contents []*swarmtest.Content
	tracker  *swarmtest.Tracker

	mu      sync.Mutex // held while seeders come and go
	seeders []*swarmtest.Seeder
	addrs   []string

	hostile atomic.Int64 // addresses used so far
}

// newSwarm starts the seeders and the tracker.
func newSwarm(torrents []*Torrent, l *FaultLog) (*Swarm, error) {
	s := &Swarm{torrents: torrents, faults: l}
	for _, b := range torrents {
		s.contents = append(s.contents, b.Content)
	}
	for i := range honest {
		sd, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{
			Addr: fmt.Sprintf("127.0.0.%d:0", i+2), Contents: s.contents, Encryption: swarmtest.EncryptionAllowed,
		})
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.seeders, s.addrs = append(s.seeders, sd), append(s.addrs, sd.Addr())
	}
	var err error
	if s.tracker, err = swarmtest.OpenTracker(swarmtest.TrackerOptions{Peers: s.addrs}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// hints returns the tracker, and the seeders for magnets.
func (s *Swarm) hints() swarmtest.Hints {
	return swarmtest.Hints{Trackers: [][]string{{s.tracker.URL()}}, Peers: s.addrs}
}

// Close ends the seeders and the tracker.
func (s *Swarm) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(0, len(s.seeders))
	if s.tracker == nil {
		return nil
	}
	return s.tracker.Close()
}

// gone closes the seeders from … to-1.
func (s *Swarm) gone(from, to int) {
	for i := from; i < to; i++ {
		if s.seeders[i] != nil {
			_ = s.seeders[i].Close() // never fails
			s.seeders[i] = nil
		}
	}
}

// back starts them again at their addresses, which others may have taken for a while.
func (s *Swarm) back(from, to int) {
	for i := from; i < to; i++ {
		for begin := time.Now(); s.seeders[i] == nil; {
			var err error
			s.seeders[i], err = swarmtest.OpenSeeder(swarmtest.SeederOptions{
				Addr: s.addrs[i], Contents: s.contents, Encryption: swarmtest.EncryptionAllowed,
			})
			if err != nil {
				s.seeders[i] = nil
				if time.Since(begin) > commandTimeout {
					s.faults.Fail("this machine: seeder %s can't listen again: %v", s.addrs[i], err)
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

// Gone stops all seeders and the tracker for a while.
func (s *Swarm) Gone(ctx context.Context, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.faults.Begin(NetworkGone, "")()
	s.tracker.SetFault(swarmtest.TrackerError)
	s.gone(0, honest)
	pause(ctx, d)
	s.back(0, honest)
	s.tracker.SetFault(swarmtest.TrackerOK)
}

// misbehaviours are faults that an honest seeder has for a while.
var misbehaviours = []swarmtest.Faults{
	{Freeze: true}, {IgnoreAll: true}, {RejectAll: true}, {Choke: true}, {ReplyDelay: 300 * time.Millisecond}, {DropAfter: 1 << 20},
	{ChokeEvery: 300 * time.Millisecond, ChokeFor: 200 * time.Millisecond}, {Mute: true}, {LateBlocks: true},
	{HashesReject: true}, {HashesSilent: true}, {MetadataReject: true}, {MetadataSilent: true}, {NoFast: true}, {NoExtended: true},
}

// Churn stops, restarts and misbehaves seeders until ctx ends.
func (s *Swarm) Churn(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(random.IntN(2000))*time.Millisecond) {
		i, d, what := 1+random.IntN(honest-1), time.Duration(500+random.IntN(3000))*time.Millisecond, random.IntN(len(misbehaviours)+8)
		s.mu.Lock()
		if what < len(misbehaviours) {
			s.faults.Count(SeederBad)
			s.seeders[i].SetFaults(misbehaviours[what])
			s.seeders[i].DropConns()
			pause(ctx, d)
			s.seeders[i].SetFaults(swarmtest.Faults{})
		} else {
			s.faults.Count(SeederGone)
			s.gone(i, i+1)
			pause(ctx, d)
			s.back(i, i+1)
		}
		s.mu.Unlock()
	}
}

// address returns one that no peer had so far, for a peer that will be banned.
func (s *Swarm) address() string {
	n := s.hostile.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+n/50000%250, n/250%200, 1+n%250)
}

// Corrupt runs seeders that flip bytes, one after another.
func (s *Swarm) Corrupt(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(500+random.IntN(4000))*time.Millisecond) {
		every := 1 + random.IntN(8) // how often a piece is wrong
		sd, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{
			Addr: s.address() + ":0", Contents: s.contents, Faults: swarmtest.Faults{Corrupt: func(piece int) bool { return piece%every == 0 }},
		})
		if err != nil {
			s.faults.Seen("corrupting seeder can't listen")
			continue
		}
		s.faults.Count(Corrupt)
		p, _ := s.mount.Process()
		for range 3 {
			dial, cancel := context.WithTimeout(ctx, 5*time.Second)
			if err := sd.Connect(dial, p.listen, s.contents[random.IntN(len(s.contents))]); err != nil {
				s.faults.Seen("corrupting seeder not let in")
			}
			cancel()
		}
		pause(ctx, time.Duration(1000+random.IntN(5000))*time.Millisecond)
		_ = sd.Close() // never fails
	}
}

// Attack runs attacks, one kind after another, until ctx ends.
func (s *Swarm) Attack(ctx context.Context, random *rand.Rand) {
	kinds := append(attack.Kinds(), attack.MagnetKinds()...)
	for pause(ctx, time.Duration(random.IntN(1000))*time.Millisecond) {
		k, b := kinds[random.IntN(len(kinds))], s.torrents[random.IntN(len(s.torrents))]
		info := b.Content.Info()
		t := attack.Target{InfoHash: b.Content.InfoHash(), Pieces: info.NumPieces(), PieceLength: int(info.PieceLength), Metadata: len(b.Content.InfoBytes())}
		if roots := b.Content.Roots(); len(roots) > 0 {
			t.Root = roots[0]
		}
		n := 1 + random.IntN(6)
		if random.IntN(10) == 0 {
			n = 80
		}
		s.faults.Count(Attack)
		s.attack(ctx, k, t, n)
	}
}

// attack runs one kind over n connections for some seconds.
func (s *Swarm) attack(ctx context.Context, k attack.Kind, t attack.Target, n int) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	p, _ := s.mount.Process()
	from := s.address()
	var all sync.WaitGroup
	defer all.Wait()
	for range n {
		all.Go(func() {
			nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp", p.listen)
			if err != nil {
				return // weir is down, or accepts nobody
			}
			defer nc.Close()
			defer context.AfterFunc(ctx, func() { nc.Close() })()
			if _, err := k.Run(ctx, nc, t); err == nil {
				pause(ctx, time.Second)
			}
		})
	}
}

// pause waits, and returns false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
