package swarmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// Encryption says what a seeder does with message stream encryption.
type Encryption int

// The choices of a seeder.
const (
	EncryptionOff      Encryption = iota // takes plaintext only
	EncryptionAllowed                    // takes both, and prefers a plain stream after an obfuscated handshake
	EncryptionRequired                   // takes RC4 only
)

// DefaultRequestQueue is how many requests a seeder keeps per connection when
// nothing else is said: what libtorrent 2 advertises.
const DefaultRequestQueue = 2000

// SeederOptions are the settings of one seeder.
type SeederOptions struct {
	Addr     string       // to listen on; "127.0.0.2:0" when empty
	Host     *simnet.Host // of a Network, to be at instead of Addr; Link is then the host's
	Contents []*Content
	// Only is the one info hash that handshakes may have; zero for all.
	Only weir.InfoHash
	// Have says which pieces the seeder has at the start; nil is all of them.
	Have   func(c *Content, piece int) bool
	Link   simnet.Link
	Faults Faults
	// RequestQueue is advertised as reqq (BEP 10) and enforced as libtorrent does:
	// a request that comes while so many wait is rejected, or forgotten when the
	// fast extension is off. 0 is DefaultRequestQueue.
	RequestQueue int
	Encryption   Encryption
	Client       string // name in the extended handshake; "swarmtest" when empty
	// Trace is called for each event, from several goroutines, and must be quick.
	Trace func(Event)
}

// Seeder serves contents to whoever connects. Its methods are safe for
// concurrent use.
type Seeder struct {
	opt      SeederOptions
	listener net.Listener
	shaper   *simnet.Shaper
	peerID   [20]byte
	addr     string
	ctx      context.Context // of the seeder's life
	cancel   context.CancelFunc
	running  sync.WaitGroup
	faults   atomic.Pointer[Faults]
	served   map[weir.InfoHash]*served

	mu       sync.Mutex // guards what follows; never held over I/O or a callback
	closed   bool
	conns    map[*conn]struct{}
	raw      map[net.Conn]struct{} // open, from before the handshake on
	counters Counters
	faulty   []string // violations, the first of them
}

// served is one content of a seeder.
type served struct {
	c *Content
	// Guarded by Seeder.mu.
	have  bitfield
	count int // of bits in have
	sent  tally
}

// maxViolations bounds what Violations remembers.
const maxViolations = 100

// OpenSeeder starts a seeder. Close ends it.
func OpenSeeder(o SeederOptions) (*Seeder, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.2:0"
	}
	if o.RequestQueue == 0 {
		o.RequestQueue = DefaultRequestQueue
	}
	if o.Client == "" {
		o.Client = "swarmtest"
	}
	s := &Seeder{
		opt: o, shaper: simnet.NewShaper(o.Link),
		served: map[weir.InfoHash]*served{},
		conns:  map[*conn]struct{}{}, raw: map[net.Conn]struct{}{},
	}
	for _, c := range o.Contents {
		sv := &served{c: c, have: newBitfield(c.info.NumPieces()), sent: tally{}}
		for i := range c.info.NumPieces() {
			if o.Have == nil || o.Have(c, i) {
				sv.have.set(i)
				sv.count++
			}
		}
		for _, ih := range c.names() {
			if o.Only.IsZero() || o.Only == ih {
				s.served[ih] = sv
			}
		}
	}
	l, err := simnet.Listen(o.Host, o.Addr)
	if err != nil {
		return nil, err
	}
	s.listener, s.addr = l, l.Addr().String()
	copy(s.peerID[:], "-ZW0001-")
	Fill(s.peerID[8:], uint64(time.Now().UnixNano()), int64(l.Addr().(*net.TCPAddr).Port)*16)
	s.SetFaults(o.Faults)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	return s, nil
}

// Addr returns the host:port that the seeder listens on.
func (s *Seeder) Addr() string { return s.addr }

// AddrPort returns the same parsed.
func (s *Seeder) AddrPort() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close drops all connections, stops listening, and waits for the goroutines.
func (s *Seeder) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.listener.Close()
	s.DropConns()
	s.shaper.Close()
	s.running.Wait()
	return nil
}

// DropConns closes all connections, as a client that restarts does.
func (s *Seeder) DropConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.raw {
		nc.Close()
	}
}

// SetFaults replaces the faults, for open connections too.
func (s *Seeder) SetFaults(f Faults) {
	s.faults.Store(&f)
	s.wakeAll()
}

// SetRate changes the rates of the link (0 is unlimited). A seeder that was
// started without a link gets it for connections to come.
func (s *Seeder) SetRate(bytesPerSec, reverseBytesPerSec int64) {
	s.shaper.SetRate(bytesPerSec, reverseBytesPerSec)
}

// Give adds pieces to what the seeder has of c, and announces them.
func (s *Seeder) Give(c *Content, pieces ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sv := s.served[c.InfoHash()]
	for _, i := range pieces {
		if sv.have.has(i) {
			continue
		}
		sv.have.set(i)
		sv.count++
		for cn := range s.conns {
			if cn.sv == sv {
				cn.say(func(b []byte) []byte { return appendHave(b, uint32(i)) })
			}
		}
	}
}

// Counters returns what happened so far.
func (s *Seeder) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// PieceBlocks returns how many blocks of each piece of c were sent; pieces of
// which none was sent are not in the map.
func (s *Seeder) PieceBlocks(c *Content) map[int]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int]int{}
	if sv := s.served[c.InfoHash()]; sv != nil {
		for piece, blocks := range sv.sent {
			for _, n := range blocks {
				out[int(piece)] += int(n)
			}
		}
	}
	return out
}

// Violations describes the first hundred breaches of the protocol by others.
func (s *Seeder) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.faulty...)
}

// WaitFor returns when ok holds for the counters, or with the context's error.
func (s *Seeder) WaitFor(ctx context.Context, ok func(Counters) bool) error {
	return waitFor(ctx, s.Counters, ok)
}

func waitFor(ctx context.Context, get func() Counters, ok func(Counters) bool) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for !ok(get()) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a swarm: %w; counters %+v", context.Cause(ctx), get())
		}
	}
	return nil
}

// Connect makes a connection to addr for c, from the seeder's own address, and
// returns when the handshake is done. The connection lives on by itself.
func (s *Seeder) Connect(ctx context.Context, addr string, c *Content) error {
	sv := s.served[c.InfoHash()]
	if sv == nil {
		return weir.Errorf(weir.ErrNotFound, "seeder %s doesn't serve %s", s.addr, c.info.Name)
	}
	dial := s.opt.Host.Dial
	if s.opt.Host == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return s.shaper.Dial(ctx, s.AddrPort().Addr().String(), addr)
		}
	}
	nc, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	if !s.enter(nc) {
		nc.Close()
		return weir.ErrClosed
	}
	ready := make(chan error, 1)
	go func() {
		defer s.leave(nc)
		newConn(s, nc).run(sv, ready)
	}()
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		nc.Close()
		return context.Cause(ctx)
	}
}

func (s *Seeder) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		nc = s.shaper.Conn(nc)
		if !s.enter(nc) {
			nc.Close()
			return
		}
		go func() {
			defer s.leave(nc)
			newConn(s, nc).run(nil, make(chan error, 1))
		}()
	}
}

// enter registers a connection, unless the seeder is closed.
func (s *Seeder) enter(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.counters.ConnsTotal++
	s.raw[nc] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Seeder) leave(nc net.Conn) {
	nc.Close()
	s.mu.Lock()
	delete(s.raw, nc)
	s.mu.Unlock()
	s.running.Done()
}

func (s *Seeder) count(f func(*Counters)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counters)
}

func (s *Seeder) has(sv *served, index int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sv.have.has(index)
}

func (s *Seeder) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		signal(c.wake)
	}
}
