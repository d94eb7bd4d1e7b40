package swarmtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// Options are the settings of a swarm.
type Options struct {
	Contents []*Content
	Seeders  int         // how many; 1 when 0
	Link     simnet.Link // of each seeder, which has its rates for itself
	Faults   Faults      // of each seeder
	// Each changes the options of seeder i before it starts; nil changes nothing.
	Each func(i int, o *SeederOptions)
	// First is the address of the first seeder, the others follow it; 127.0.0.2
	// when it is not set.
	First   netip.Addr
	Tracker TrackerOptions // its Peers are the seeders unless they are set
	Trace   func(Event)    // of all seeders
}

// Swarm is a set of seeders with a tracker that knows them.
type Swarm struct {
	tracker *Tracker
	seeders []*Seeder
}

// New is Open for tests: a failure ends the test, and its end closes the swarm.
func New(tb TB, o Options) *Swarm {
	tb.Helper()
	s, err := Open(o)
	if err != nil {
		tb.Fatalf("swarm: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Logf("close swarm: %v", err)
		}
	})
	return s
}

// Open starts the seeders and the tracker. Close ends them.
func Open(o Options) (*Swarm, error) {
	s := &Swarm{}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Swarm) open(o Options) error {
	if o.Seeders == 0 {
		o.Seeders = 1
	}
	addr := o.First
	if !addr.IsValid() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 2})
	}
	for i := range o.Seeders {
		so := SeederOptions{
			Addr: netip.AddrPortFrom(addr, 0).String(), Contents: o.Contents,
			Link: o.Link, Faults: o.Faults, Trace: o.Trace,
		}
		if o.Each != nil {
			o.Each(i, &so)
		}
		sd, err := OpenSeeder(so)
		if err != nil {
			return fmt.Errorf("seeder %d: %w", i, err)
		}
		s.seeders = append(s.seeders, sd)
		addr = addr.Next()
	}
	if o.Tracker.Peers == nil {
		o.Tracker.Peers = s.Peers()
	}
	var err error
	if s.tracker, err = OpenTracker(o.Tracker); err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	return nil
}

// Close ends all seeders and the tracker and waits for them.
func (s *Swarm) Close() error {
	var errs []error
	for _, sd := range s.seeders {
		errs = append(errs, sd.Close())
	}
	if s.tracker != nil {
		errs = append(errs, s.tracker.Close())
	}
	return errors.Join(errs...)
}

// Seeder returns seeder i, from 0.
func (s *Swarm) Seeder(i int) *Seeder { return s.seeders[i] }

// Seeders returns all of them.
func (s *Swarm) Seeders() []*Seeder { return s.seeders }

// Tracker returns the swarm's tracker.
func (s *Swarm) Tracker() *Tracker { return s.tracker }

// Peers returns the host:port of every seeder.
func (s *Swarm) Peers() []string {
	var out []string
	for _, sd := range s.seeders {
		out = append(out, sd.Addr())
	}
	return out
}

// Torrent returns a .torrent of c that names the tracker.
func (s *Swarm) Torrent(c *Content) []byte {
	return c.Torrent(Hints{Trackers: [][]string{{s.tracker.URL()}}})
}

// Magnet returns a magnet of c that names the tracker.
func (s *Swarm) Magnet(c *Content) string {
	return c.Magnet(Hints{Trackers: [][]string{{s.tracker.URL()}}})
}

// PeerMagnet returns a magnet of c that names the seeders (x.pe) and no tracker.
func (s *Swarm) PeerMagnet(c *Content) string { return c.Magnet(Hints{Peers: s.Peers()}) }

// Totals returns the sum of the seeders' counters.
func (s *Swarm) Totals() Counters {
	var n Counters
	for _, sd := range s.seeders {
		n.Add(sd.Counters())
	}
	return n
}

// Violations lists what the seeders saw others do against the protocol.
func (s *Swarm) Violations() []string {
	var out []string
	for _, sd := range s.seeders {
		out = append(out, sd.Violations()...)
	}
	return out
}

// PieceBlocks returns how many blocks of each piece of c all seeders sent.
func (s *Swarm) PieceBlocks(c *Content) map[int]int {
	out := map[int]int{}
	for _, sd := range s.seeders {
		for piece, n := range sd.PieceBlocks(c) {
			out[piece] += n
		}
	}
	return out
}

// DuplicateBlocks returns how many blocks of c were sent beyond the first time,
// whichever seeders sent them.
func (s *Swarm) DuplicateBlocks(c *Content) int {
	all := map[[2]uint32]int{}
	for _, sd := range s.seeders {
		sd.mu.Lock()
		if sv := sd.served[c.InfoHash()]; sv != nil {
			for piece, blocks := range sv.sent {
				for i, n := range blocks {
					if n > 0 {
						all[[2]uint32{piece, uint32(i)}] += int(n)
					}
				}
			}
		}
		sd.mu.Unlock()
	}
	n := 0
	for _, times := range all {
		n += times - 1
	}
	return n
}

// WaitFor returns when ok holds for the totals, or with the context's error.
func (s *Swarm) WaitFor(ctx context.Context, ok func(Counters) bool) error {
	return waitFor(ctx, s.Totals, ok)
}

// Settle waits until no request came and no block left for as long as quiet,
// and returns the totals. Quiet should be longer than the links' RTT, for what
// is under way is not looked at.
func (s *Swarm) Settle(ctx context.Context, quiet time.Duration) (Counters, error) {
	last, since := s.Totals(), time.Now()
	t := time.NewTicker(max(quiet/20, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return s.Totals(), fmt.Errorf("swarm does not settle: %w", context.Cause(ctx))
		}
		now := s.Totals()
		if now.PayloadBytes != last.PayloadBytes || now.Requests != last.Requests {
			last, since = now, time.Now()
			continue
		}
		if time.Since(since) >= quiet {
			return now, nil
		}
	}
}
