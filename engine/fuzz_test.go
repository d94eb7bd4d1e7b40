package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// The steps of a fuzzed script, a byte each; fuzzSession.step reads what follows each.
const (
	stepRaw       = iota // a message of any type and content
	stepExtension        // an extension message of any content
	stepNumbers          // a message of three numbers, valid or nearly so
	stepMetadata         // a message of BEP 9 about a piece
	stepHas              // what the peer has: all, nothing, or a bitfield
	stepAnswer           // to the oldest request, right or wrong
	stepPause            // of a millisecond to a minute
	stepOther            // switches to the other peer; one that was closed connects again
	stepRead             // a program reads, in the background
	stepWant             // a file's window
	stepLose             // the Store loses a piece
	stepSteps
)

// FuzzPeers: whatever two peers send to a swarm, and whenever, nothing panics or hangs, each
// byte that programs read is right, one honest seeder is enough to serve them, and after
// Close nothing is left.
func FuzzPeers(f *testing.F) {
	contents := make([]*swarmtest.Content, 2)
	for i, version := range []swarmtest.Version{swarmtest.V1, swarmtest.V2} {
		var err error
		contents[i], err = swarmtest.NewContent(swarmtest.ContentOptions{
			Name: "fuzz", PieceLength: 32 << 10, Version: version,
			Files: []swarmtest.File{{Path: []string{"a"}, Length: 200_000, Seed: 1}, {Path: []string{"b"}, Length: 70_001, Seed: 2}},
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	handshake := "d1:md11:ut_metadatai3e6:ut_pexi1e11:lt_donthavei7ee13:metadata_sizei300e4:reqqi5e1:pi6881ee"
	for kind := range uint8(4) {
		f.Add(kind, []byte{stepHas, 0, stepNumbers, byte(pp.Unchoke), 0, 0, 0, stepRead, 0, stepPause, 5, stepAnswer, 0, stepAnswer, 1, stepPause, 9, stepAnswer, 1, stepOther, stepHas, 0, stepAnswer, 0})
		f.Add(kind, append([]byte{stepRead, 9, stepExtension, 0, byte(len(handshake))}, handshake...))
		f.Add(kind, []byte{stepMetadata, 1, 0, 200, stepMetadata, 0, 0, 9, stepMetadata, 2, 0, 0, stepPause, 8, stepMetadata, 1, 0, 0})
		f.Add(kind, append([]byte{stepExtension, 2, 20}, "d5:added6:abcd\x1a\xe1e...."...))
		f.Add(kind, []byte{stepExtension, 3, 4, 0, 0, 0, 2, stepHas, 2, 0xf0, stepWant, 0, 8, stepLose, 1, stepRead, 1, stepRaw, 7, 9, 0, 0, 0, 1, 0, 0, 0, 0, 1, stepRaw, 22, 3, 1, 2, 3})
	}
	for seed := range uint64(16) { // longer ones, by chance
		r := rand.New(rand.NewPCG(seed, 9))
		var script []byte
		for range 100 {
			step := []byte{byte(r.IntN(stepSteps)), byte(r.IntN(12)), byte(r.IntN(12)), byte(r.IntN(256))}
			script = append(script, step[:2+r.IntN(3)]...)
		}
		f.Add(uint8(seed), script)
	}
	f.Fuzz(func(t *testing.T, kind uint8, script []byte) {
		if len(script) > 2000 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			end := time.AfterFunc(simEnd, func() { panic("the script is not over") })
			defer end.Stop()
			newFuzzSession(t, contents[kind&1], kind&2 != 0, script).run()
		})
	})
}

// fuzzSession runs one script, in a synctest bubble.
type fuzzSession struct {
	t      *testing.T
	script []byte
	c      *swarmtest.Content
	net    simnet.Network
	store  *simStore
	e      *engine.Engine
	tor    *engine.Torrent
	want   *engine.Want
	seeder *swarmtest.Seeder
	peers  [2]*fuzzPeer
	speaks int
	reads  sync.WaitGroup
}

// fuzzPeer is one of the two peers that the script drives.
type fuzzPeer struct {
	nc net.Conn

	mu       sync.Mutex
	requests []wire.Message // requests without an answer
	closed   bool
}

func newFuzzSession(t *testing.T, c *swarmtest.Content, magnet bool, script []byte) *fuzzSession {
	s := &fuzzSession{t: t, script: script, c: c, store: newSimStore(1, simFaults{})}
	close(s.store.ready)
	s.store.contents[c.InfoHash()] = c
	link := simnet.Link{RTT: 10 * time.Millisecond}
	var err error
	s.seeder, err = swarmtest.OpenSeeder(swarmtest.SeederOptions{
		Host: s.net.Host(netip.MustParseAddr("45.0.0.1"), link), Addr: ":0", Contents: []*swarmtest.Content{c},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.e = engine.New(engine.Options{Store: s.store, Network: s.net.Host(netip.MustParseAddr("44.0.0.1"), link), Listen: ":6881"})
	if err := s.e.Open(); err != nil {
		t.Fatal(err)
	}
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if magnet {
		spec, err = source.ParseMagnet(c.Magnet(swarmtest.Hints{}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.tor, err = s.e.Add(spec); err != nil {
		t.Fatal(err)
	}
	if err := s.tor.Warm(); err != nil {
		t.Fatal(err)
	}
	s.want = s.tor.NewWant()
	return s
}

func (s *fuzzSession) run() {
	for len(s.script) > 0 {
		s.step()
	}
	s.tor.AddPeers([]string{s.seeder.Addr()})
	s.read(0, s.c.Info().Length, simReadTime)
	s.reads.Wait()
	s.want.Close()
	if err := s.e.Close(); err != nil {
		s.t.Errorf("close: %v", err)
	}
	for _, p := range s.peers {
		if p != nil {
			_ = p.nc.Close()
		}
	}
	_ = s.seeder.Close()
	synctest.Wait()
	if left := s.e.Accounts(); left != (engine.Accounts{}) {
		s.t.Errorf("after the end: %+v", left)
	}
	if len(s.store.wrong) > 0 {
		s.t.Errorf("the Store was given what is wrong: %v", s.store.wrong)
	}
}

// next takes a byte of the script; 0 when there is none.
func (s *fuzzSession) next() int {
	if len(s.script) == 0 {
		return 0
	}
	b := s.script[0]
	s.script = s.script[1:]
	return int(b)
}

// bytes takes as many bytes as the next one says.
func (s *fuzzSession) bytes() []byte {
	n := min(s.next(), len(s.script))
	b := s.script[:n]
	s.script = s.script[n:]
	return b
}

func (s *fuzzSession) step() {
	pieces := s.c.Info().NumPieces()
	switch s.next() % stepSteps {
	case stepRaw:
		b := s.raw(s.next(), s.bytes())
		s.send(b)
	case stepExtension:
		id, b := s.next()%5, s.bytes()
		s.send(wire.AppendExtended(nil, id, b))
	case stepNumbers:
		types := []pp.MessageType{pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.Have, pp.Request, pp.Cancel, pp.Reject, pp.AllowedFast, pp.Suggest, pp.HaveAll, pp.HaveNone}
		m := types[s.next()%len(types)]
		index, begin, length := s.next()%(pieces+2), s.next()%4*weir.BlockBytes, weir.BlockBytes-s.next()
		full := wire.AppendRequest(nil, m, index, begin, length)
		switch m {
		case pp.Request, pp.Cancel, pp.Reject:
			s.send(full)
		case pp.Have, pp.AllowedFast, pp.Suggest:
			s.send(s.raw(int(m), full[5:9]))
		default:
			s.send(wire.AppendBare(nil, m))
		}
	case stepMetadata:
		kind, piece, n := s.next()%4, s.next()%3, s.next()
		d := fmt.Appendf(nil, "d8:msg_typei%de5:piecei%dee", kind, piece)
		if kind == 1 {
			d = append(d, s.c.InfoBytes()[:min(n*2, len(s.c.InfoBytes()))]...)
		}
		s.send(wire.AppendExtended(nil, wire.MetadataID, d))
	case stepHas:
		switch s.next() % 3 {
		case 0:
			s.send(wire.AppendBare(nil, pp.HaveAll))
		case 1:
			s.send(wire.AppendBare(nil, pp.HaveNone))
		default:
			have, bits := make([]bool, pieces), s.next()
			for i := range have {
				have[i] = bits>>(i%8)&1 != 0
			}
			s.send(wire.AppendBitfield(nil, have))
		}
	case stepAnswer:
		s.answer(s.next()%2 == 0)
	case stepPause:
		time.Sleep(time.Millisecond << (s.next() % 17))
	case stepOther:
		s.speaks = 1 - s.speaks
		if p := s.peers[s.speaks]; p != nil && p.left() {
			_ = p.nc.Close()
			s.peers[s.speaks] = nil
		}
	case stepRead:
		length := s.c.Info().Length
		off := length * int64(s.next()) / 256
		s.read(off, min(20_000, length-off), 30*time.Second)
	case stepWant:
		first, n := s.next(), s.next()
		length := s.c.Info().Length
		off := length * int64(first) / 256
		s.want.Set([]weir.Range{{Off: off, End: min(length, off+int64(n)<<13)}})
	case stepLose:
		s.store.evict(weir.PieceID{Torrent: s.c.InfoHash(), Index: s.next() % pieces})
	}
}

// raw is a message of a type.
func (s *fuzzSession) raw(kind int, payload []byte) []byte {
	n := 1 + len(payload)
	return append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), byte(kind)}, payload...)
}

// peer returns the current peer; nil if weir has closed its connection.
func (s *fuzzSession) peer() *fuzzPeer {
	if p := s.peers[s.speaks]; p != nil {
		return p
	}
	h := s.net.Host(netip.AddrFrom4([4]byte{47, 0, byte(s.speaks), 1}), simnet.Link{RTT: 4 * time.Millisecond})
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	nc, err := h.Dial(ctx, "44.0.0.1:6881")
	if err != nil {
		return nil
	}
	p := &fuzzPeer{nc: nc}
	s.peers[s.speaks] = p
	hello := wire.Handshake{InfoHash: s.c.InfoHash(), PeerID: [20]byte{'-', 'F', 'Z', byte(s.speaks)}, Bits: wire.OurBits()}
	if _, err := nc.Write(hello.Append(nil)); err != nil {
		return p
	}
	go p.listen(s.c.Info().NumPieces())
	return p
}

// listen collects requests until the connection ends.
func (p *fuzzPeer) listen(pieces int) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = true
	}()
	if _, err := wire.ReadHandshake(p.nc); err != nil {
		return
	}
	r := wire.NewReader(p.nc, func() int { return pieces })
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		if m.Data != nil {
			m.Data.Free()
		}
		if m.Type == pp.Request && !m.Ignored {
			p.mu.Lock()
			p.requests = append(p.requests, m)
			p.mu.Unlock()
		}
	}
}

func (p *fuzzPeer) left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (s *fuzzSession) send(b []byte) {
	if p := s.peer(); p != nil {
		_, _ = p.nc.Write(b) // it may have been thrown out
	}
}

// answer sends the block that was asked for first, or one like it.
func (s *fuzzSession) answer(right bool) {
	p := s.peer()
	if p == nil {
		return
	}
	synctest.Wait()
	p.mu.Lock()
	if len(p.requests) == 0 {
		p.mu.Unlock()
		return
	}
	m := p.requests[0]
	p.requests = p.requests[1:]
	p.mu.Unlock()
	block := make([]byte, m.Length)
	_, _ = s.c.ReadAt(block, s.c.Info().PieceRange(m.Index).Off+int64(m.Begin))
	if !right {
		block[len(block)/2]++
	}
	s.send(append(wire.AppendPieceHeader(nil, m.Index, m.Begin, len(block)), block...))
}

// read reads in the background: what it gets must be right, and of one that has
// much time everything must come.
func (s *fuzzSession) read(off, n int64, within time.Duration) {
	s.reads.Go(func() {
		ctx, cancel := context.WithTimeout(s.t.Context(), within)
		defer cancel()
		got, want := make([]byte, n), make([]byte, n)
		if err := s.tor.ReadAt(ctx, got, off); err != nil {
			if within == simReadTime {
				s.t.Errorf("an honest seeder has it, and a read ends with %v: %s", err, s.tor.Stats().Why)
			}
			return
		}
		if _, err := s.c.ReadAt(want, off); err != nil || !bytes.Equal(got, want) {
			s.t.Errorf("%d bytes at %d are wrong (%v)", n, off, err)
		}
	})
}
