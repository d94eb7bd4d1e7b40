package picker

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

const (
	ms = time.Millisecond
	mb = 1e6
)

// fourPeers is the swarm of most cases: 4 MiB pieces, 50 ms, 12.5 MB/s each.
func fourPeers(tb testing.TB, o Options) *sim {
	s := newSim(tb, 256, 4<<20, o)
	for range 4 {
		s.join(50*ms, 12.5*mb)
	}
	return s
}

func TestRandomReads(t *testing.T) {
	s := fourPeers(t, Options{})
	s.read(0, 5*time.Second)
	// A piece shared by four links takes 84 ms and a round trip.
	limit := 50*ms + 84*ms
	rng := rand.New(rand.NewPCG(1, 1))
	var took []time.Duration
	for _, i := range rng.Perm(255)[:60] {
		took = append(took, s.read(i+1, time.Second))
	}
	slices.Sort(took)
	if p50 := took[30]; p50 > limit*11/10 {
		t.Errorf("p50 %v, the links allow %v", p50, limit)
	}
	if p95 := took[57]; p95 > limit*13/10 {
		t.Errorf("p95 %v, the links allow %v", p95, limit)
	}
	if sent := s.sent(); sent != 61*4<<20 {
		t.Errorf("%d bytes sent for 61 pieces", sent)
	}
}

func TestReadBesideStream(t *testing.T) {
	s := fourPeers(t, Options{})
	w := s.k.NewWant(weir.Window)
	at := 0
	slide := func(int) {
		for s.k.Held(at) {
			at++
		}
		s.k.Set(w, []Span{{at, at + 16}})
	}
	s.onPiece = slide
	slide(0)
	s.run(time.Minute, func() bool { return at >= 20 })
	var took []time.Duration
	for i := range 20 {
		took = append(took, s.read(200+i, time.Second))
	}
	slices.Sort(took)
	// Without the stream it is 134 ms; what is on the way when the read comes, a
	// round trip's worth, can't be taken back.
	if p50 := took[10]; p50 > 134*ms*3/2 {
		t.Errorf("p50 %v beside a stream, want at most half more than 134ms", p50)
	}
	if p95 := took[19]; p95 > 2*134*ms {
		t.Errorf("p95 %v beside a stream, want at most twice 134ms", p95)
	}
	st := s.k.Stats()
	if st.Reclaimed == 0 {
		t.Error("read-ahead did not give way")
	}
	if st.Wasted > st.Received/100 {
		t.Errorf("%d blocks came twice, %d once", st.Wasted, st.Received)
	}
}

func TestSequential(t *testing.T) {
	for _, rate := range []float64{5 * mb, 20 * mb} {
		s := newSim(t, 256, 4<<20, Options{})
		for range 4 {
			s.join(50*ms, rate)
		}
		s.read(0, 5*time.Second)
		total, _ := s.stream(1, 128, 16, 10*time.Second, nil)
		if got := 127 * (4 << 20) / total.Seconds(); got < 0.97*4*rate {
			t.Errorf("%.1f MB/s from four peers of %.0f", got/mb, rate/mb)
		}
		if w := s.k.Stats().Hedged; w > 64 {
			t.Errorf("%d blocks hedged in a healthy swarm", w)
		}
	}
}

func TestFrozenPeer(t *testing.T) {
	s := newSim(t, 256, 4<<20, Options{})
	for range 4 {
		s.join(50*ms, 5*mb)
	}
	s.stream(0, 20, 8, 10*time.Second, nil)
	s.peers[2].frozen = true
	total, gap := s.stream(20, 80, 8, 10*time.Second, nil)
	if gap > 350*ms {
		t.Errorf("a frozen peer made a reader wait %v", gap)
	}
	if got := 60 * (4 << 20) / total.Seconds(); got < 0.9*15*mb {
		t.Errorf("%.1f MB/s from the other three", got/mb)
	}
	if st := s.k.Stats(); st.Hedged > st.Received/20+64 {
		t.Errorf("%d of %d blocks hedged", st.Hedged, st.Received)
	}
}

func TestCorruptPeers(t *testing.T) {
	for good := range 4 {
		s := newSim(t, 64, 4<<20, Options{})
		for i := range 4 {
			s.join(50*ms, 12.5*mb).corrupt = i != good
		}
		// All four at once, then two at a time: 134 ms and at most twice 302 ms.
		if d := s.read(0, 10*time.Second); d > 800*ms {
			t.Errorf("peer %d is good: the first read took %v", good, d)
		}
		if sent := s.sent(); sent > 4*4<<20+1<<20 {
			t.Errorf("peer %d is good: %d bytes sent for the first piece", good, sent)
		}
		s.stream(1, 16, 8, 10*time.Second, nil)
		for i, p := range s.peers {
			if p.gone != p.corrupt {
				t.Errorf("peer %d: corrupt %v, banned %v", i, p.corrupt, p.gone)
			}
		}
		if sent := s.sent(); sent > 2*16*4<<20 {
			t.Errorf("%d bytes sent for %d", sent, 16*4<<20)
		}
	}
}

// TestTrialPeerLeaves: the only other peer leaves during its trial.
func TestTrialPeerLeaves(t *testing.T) {
	s := newSim(t, 4, 1<<20, Options{})
	s.join(20*ms, 10*mb).corrupt = true
	honest := s.join(20*ms, 10*mb)
	w := s.k.NewWant(weir.Blocked)
	s.k.Set(w, []Span{{0, 1}})
	s.run(5*time.Second, func() bool { return s.k.Suspicious(0) })
	honest.gone = true
	s.k.Leave(honest.p)
	late := s.join(20*ms, 10*mb)
	s.run(5*time.Second, func() bool { return s.k.Held(0) })
	if !s.peers[0].gone || late.gone {
		t.Error("the wrong peer was banned")
	}
}

// TestUnwantedTrialIsDropped: a reader goes away while a piece is on trial.
func TestUnwantedTrialIsDropped(t *testing.T) {
	s := newSim(t, 4, 4<<20, Options{})
	s.join(20*ms, 10*mb).corrupt = true
	s.join(20*ms, 10*mb)
	w := s.k.NewWant(weir.Blocked)
	s.k.Set(w, []Span{{0, 1}})
	s.run(5*time.Second, func() bool { return s.k.Suspicious(0) })
	s.k.Close(w)
	s.run(5*time.Second, func() bool { return !s.k.Busy() })
	if s.k.Begun() == 0 || !s.k.pieces.dropPiece(0) || s.k.Begun() != 0 {
		t.Errorf("%d bytes begun after the drop", s.k.Begun())
	}
	if d := s.read(0, 5*time.Second); d > 2*time.Second {
		t.Errorf("the next read took %v", d)
	}
}

func TestSlowPeerDoesNotHoard(t *testing.T) {
	s := newSim(t, 64, 4<<20, Options{})
	s.join(50*ms, 12.5*mb)
	s.join(50*ms, 0.05*mb)
	s.read(0, 30*time.Second) // both are measured now
	var worst time.Duration
	for i := 1; i < 20; i++ {
		worst = max(worst, s.read(i, 30*time.Second))
	}
	if worst > 600*ms { // the fast one alone takes 386 ms
		t.Errorf("a read took %v with a slow peer in the swarm", worst)
	}
}

func TestUnwantedIsCancelled(t *testing.T) {
	s := newSim(t, 64, 4<<20, Options{})
	p := s.join(50*ms, 1*mb)
	w := s.k.NewWant(weir.Window)
	s.k.Set(w, []Span{{0, 8}})
	s.run(time.Second, func() bool { return p.sent >= 1<<18 })
	s.k.Close(w)
	at := p.sent
	s.run(time.Second, func() bool { return p.p.InFlight() == 0 })
	if extra := p.sent - at; extra > 1<<17 {
		t.Errorf("%d bytes sent after nobody wanted them", extra)
	}
	if s.k.Busy() {
		t.Error("busy with nothing wanted")
	}
	if !s.k.pieces.dropPiece(0) {
		t.Error("what was received of an unwanted piece can't be dropped")
	}
	if s.k.Begun() != 0 {
		t.Errorf("%d bytes begun after all was dropped", s.k.Begun())
	}
}

func TestMemoryBound(t *testing.T) {
	s := newSim(t, 64, 64<<20, Options{MemoryBytes: 256 << 20})
	for range 4 {
		s.join(50*ms, 50*mb)
	}
	w := s.k.NewWant(weir.Window)
	s.k.Set(w, []Span{{0, 64}})
	n := 0
	s.onPiece = func(int) { n++ }
	s.run(time.Minute, func() bool {
		if s.k.Begun() > 256<<20 {
			t.Fatalf("%d bytes begun", s.k.Begun())
		}
		return n == 12
	})
}

func TestMemoryFullStillServesAReader(t *testing.T) {
	s := newSim(t, 64, 4<<20, Options{MemoryBytes: 4 << 20})
	s.join(50*ms, 10*mb)
	w := s.k.NewWant(weir.Window)
	s.k.Set(w, []Span{{0, 8}})
	s.run(time.Second, func() bool { return s.k.Begun() > 0 })
	if d := s.read(50, 10*time.Second); d > 5*time.Second {
		t.Errorf("read took %v", d)
	}
}

func TestBackgroundUsesOnePeerAPiece(t *testing.T) {
	s := fourPeers(t, Options{})
	w := s.k.NewWant(weir.Background)
	s.k.Set(w, []Span{{0, 16}})
	contributors := map[int]map[*Peer]bool{}
	s.run(time.Minute, func() bool {
		for i, p := range s.k.pieces.open {
			for j := range p.blocks {
				if from := p.blocks[j].from; from != nil {
					if contributors[i] == nil {
						contributors[i] = map[*Peer]bool{}
					}
					contributors[i][from] = true
				}
			}
		}
		return s.k.HeldCount() == 16
	})
	for i, c := range contributors {
		if len(c) != 1 {
			t.Errorf("piece %d came from %d peers", i, len(c))
		}
	}
}

func TestCopies(t *testing.T) {
	for _, test := range []struct {
		have []string
		want float64
	}{
		{nil, 0},
		{[]string{"1111"}, 1},
		{[]string{"1100"}, 0.5},
		{[]string{"1100", "0011"}, 1},
		{[]string{"1111", "1100", "1000"}, 1.5},
		{[]string{"0111", "1110", "1111"}, 2.5},
		{[]string{"0000", "0000"}, 0},
		{[]string{"1"}, 1},
		{[]string{"1", "0", "1"}, 2},
		{[]string{"0"}, 0},
		{[]string{"", ""}, 2}, // no pieces at all
	} {
		pieces := int64(4)
		if len(test.have) > 0 {
			pieces = int64(len(test.have[0]))
		}
		s := newSim(t, pieces, weir.BlockBytes, Options{})
		for _, have := range test.have {
			var bits []bool
			for _, c := range have {
				bits = append(bits, c == '1')
			}
			p := s.k.Join(PeerOptions{})
			s.k.HasThese(p, bits)
			if p.HasEverything() != !strings.Contains(have, "0") {
				t.Errorf("%s: a seed: %v", have, p.HasEverything())
			}
		}
		if got := s.k.DistributedCopies(); got != test.want {
			t.Errorf("%v: %v copies, want %v", test.have, got, test.want)
		}
	}
}

func TestLostPieceIsFetchedAgain(t *testing.T) {
	s := fourPeers(t, Options{})
	s.read(3, time.Second)
	s.k.Lost(3)
	s.read(3, time.Second)
	if s.asked[Block{3, 0}] != 2 {
		t.Errorf("block asked for %d times, want 2", s.asked[Block{3, 0}])
	}
}

func TestFoundPieceIsNotFetched(t *testing.T) {
	s := fourPeers(t, Options{})
	w := s.k.NewWant(weir.Window)
	s.k.Set(w, []Span{{0, 3}})
	if !s.k.Found(1) || s.k.Found(1) {
		t.Error("a piece is found once")
	}
	s.run(2*time.Second, func() bool { return s.k.HeldCount() == 3 })
	if n := s.asked[Block{1, 0}]; n != 0 {
		t.Errorf("a block of a found piece was asked for %d times", n)
	}
}

func TestPeerLeavesMidway(t *testing.T) {
	s := fourPeers(t, Options{})
	w := s.k.NewWant(weir.Blocked)
	s.k.Set(w, []Span{{0, 1}})
	s.run(time.Second, func() bool { return s.peers[0].sent > 1<<16 })
	s.peers[0].gone = true
	s.k.Leave(s.peers[0].p)
	s.run(2*time.Second, func() bool { return s.k.Held(0) })
}

func TestChokedPeerIsNotAsked(t *testing.T) {
	s := newSim(t, 4, 1<<20, Options{})
	p := s.k.Join(PeerOptions{Fast: true})
	s.k.HasAll(p)
	w := s.k.NewWant(weir.Blocked)
	s.k.Set(w, []Span{{0, 2}})
	if a := s.k.Pick(s.now); len(a) != 0 {
		t.Errorf("%d requests to a peer that chokes", len(a))
	}
	s.k.Allowed(p, 1)
	for _, a := range s.k.Pick(s.now) {
		if a.Block.Piece != 1 {
			t.Errorf("asked for piece %d, only 1 is allowed", a.Block.Piece)
		}
	}
	if p.InFlight() == 0 {
		t.Error("the allowed piece was not asked for")
	}
}

// FuzzPicker throws facts at a picker in any order; its counts must never
// contradict each other.
func FuzzPicker(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	rng := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const pieces = 6
		k := New(geometry{pieces, 5 * weir.BlockBytes}, make([]bool, pieces), Options{MemoryBytes: 3 * 5 * weir.BlockBytes})
		now := time.Unix(0, 0)
		var peers []*Peer
		var wants []*Want
		verifying := map[*Copy]bool{}
		var buffers []*testBuffer
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		for len(data) > 0 {
			op := next() % 20
			if op > 2 && len(peers) == 0 {
				op = 0
			}
			var p *Peer
			if len(peers) > 0 {
				p = peers[next()%len(peers)]
			}
			b := Block{next() % pieces, next() % 5}
			switch op {
			case 0:
				if len(peers) < 4 {
					p := k.Join(PeerOptions{Fast: next()%2 == 0, MaxRequests: next() % 16})
					k.HasAll(p)
					k.Unchoked(time.Time{}, p)
					peers = append(peers, p)
				}
			case 1:
				wants = append(wants, k.NewWant(weir.Priority(1+next()%3)))
			case 2:
				if len(wants) > 0 {
					first := next() % pieces
					k.Set(wants[next()%len(wants)], []Span{{first, first + next()%(pieces-first) + 1}})
				}
			case 3:
				if len(wants) > 0 {
					i := next() % len(wants)
					k.Close(wants[i])
					wants = slices.Delete(wants, i, i+1)
				}
			case 4, 5, 6, 7:
				if p.oldest != nil {
					b = Block{p.oldest.copy.index, p.oldest.index}
				}
				data := &testBuffer{}
				d := k.Received(now, p, b, data)
				if d.Kept {
					buffers = append(buffers, data)
				}
				if d.Complete != nil {
					verifying[d.Complete] = true
				}
			case 8:
				k.Rejected(p, b)
			case 9:
				k.Choked(p)
			case 10:
				k.Unchoked(time.Time{}, p)
			case 11:
				k.Leave(p)
				peers = slices.DeleteFunc(peers, func(o *Peer) bool { return o == p })
			case 12:
				k.Lost(b.Piece)
			case 13:
				k.pieces.dropPiece(b.Piece)
			case 14:
				for c := range verifying {
					delete(verifying, c)
					own := c.Buffers()
					sums := []uint64{uint64(next()), 1, 2, 3, 4}
					if next()%2 == 1 {
						k.Failed(now, c, sums)
						continue
					}
					if first, _ := k.Verified(c, sums); first {
						for _, b := range own {
							b.Free()
						}
					}
				}
			case 19:
				have, bits := make([]bool, pieces), next()
				for i := range have {
					have[i] = bits>>i&1 == 1
				}
				k.HasThese(p, have)
			case 18:
				if len(peers) < 4 {
					guess := k.EarlyRequests(next()%5, nil)
					p := k.Join(PeerOptions{Fast: next()%2 == 0})
					k.SentEarly(p, guess, now)
					peers = append(peers, p)
				}
			case 17:
				if k.Found(b.Piece) && !k.Held(b.Piece) {
					t.Fatal("found and not held")
				}
			case 16:
				k.HasNot(p, b.Piece)
				k.Needs(p)
			case 15:
				now = now.Add(time.Duration(next()) * 10 * ms)
				if err := k.promised(k.Pick(now)); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.check(); err != nil {
				t.Fatalf("after operation %d: %v", op, err)
			}
		}
		k.Free()
		for _, b := range buffers {
			if b.freed != 1 {
				t.Fatalf("the buffer of a block is freed %d times", b.freed)
			}
		}
	})
}

// testBuffer counts how often it is freed.
type testBuffer struct{ freed int }

func (b *testBuffer) Bytes() []byte { return nil }
func (b *testBuffer) Free()         { b.freed++ }
