package picker

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestFacts: what the picker tells of peers and pieces is what a look at each of them
// tells, whatever was said in which order, nonsense included.
func TestFacts(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		pieces := 1 + r.IntN(9)
		k := New(geometry{int64(pieces), weir.BlockBytes}, make([]bool, pieces), Options{})
		type known struct {
			p   *Peer
			has []bool
		}
		var peers []known
		held := make([]bool, pieces)
		for range 200 {
			i := r.IntN(pieces+4) - 2
			in := i >= 0 && i < pieces
			if len(peers) == 0 || r.IntN(10) == 0 && len(peers) < 4 {
				peers = append(peers, known{k.Join(PeerOptions{}), make([]bool, pieces)})
			}
			c := peers[r.IntN(len(peers))]
			switch r.IntN(8) {
			case 0, 1, 2:
				if k.Has(c.p, i); in {
					c.has[i] = true
				}
			case 3, 4:
				if k.HasNot(c.p, i); in {
					c.has[i] = false
				}
			case 5:
				if r.IntN(4) == 0 {
					k.HasAll(c.p)
					for i := range c.has {
						c.has[i] = true
					}
				}
			case 6:
				for i := range c.has {
					c.has[i] = r.IntN(2) == 0
				}
				k.HasThese(c.p, slices.Clone(c.has))
			case 7:
				switch {
				case !in:
				case held[i]:
					k.Lost(i)
					held[i] = false
				default:
					held[i] = k.Found(i)
				}
			}
			for _, c := range peers {
				needs, interesting, n := 0, false, 0
				for i := range pieces {
					if c.has[i] {
						n++
						interesting = interesting || !held[i]
					} else if held[i] {
						needs++
					}
					if c.p.HasPiece(i) != c.has[i] {
						t.Fatalf("seed %d: a peer has piece %d: %v", seed, i, !c.has[i])
					}
				}
				if k.Needs(c.p) != needs || k.Interesting(c.p) != interesting {
					t.Fatalf("seed %d: needs %d, interesting %v; want %d, %v", seed, k.Needs(c.p), k.Interesting(c.p), needs, interesting)
				}
				if c.p.HasPiece(-1) || c.p.HasPiece(pieces) && !c.p.HasEverything() {
					t.Fatalf("seed %d: a peer has pieces that there are not", seed)
				}
				for m := range pieces + 1 {
					if c.p.HasAtLeast(m) != (n >= m) {
						t.Fatalf("seed %d: a peer with %d of %d has %d at least: %v", seed, n, pieces, m, n < m)
					}
				}
			}
			fewest, more := len(peers), 0
			for i := range pieces {
				n := 0
				for _, c := range peers {
					if c.has[i] {
						n++
					}
				}
				if k.Availability(i) != n {
					t.Fatalf("seed %d: %d copies of piece %d, want %d", seed, k.Availability(i), i, n)
				}
				fewest = min(fewest, n)
			}
			for i := range pieces {
				if k.Availability(i) > fewest {
					more++
				}
			}
			if want := float64(fewest) + float64(more)/float64(pieces); k.DistributedCopies() != want {
				t.Fatalf("seed %d: %v copies, want %v", seed, k.DistributedCopies(), want)
			}
			if k.HeldCount() != len(slices.DeleteFunc(slices.Clone(held), func(h bool) bool { return !h })) || !slices.Equal(k.HeldPieces(), held) {
				t.Fatalf("seed %d: holds %v, want %v", seed, k.HeldPieces(), held)
			}
		}
	}
}

// TestEarlyRequestsAreWhatIsMissing: exactly the blocks that reads wait for, that have not come
// and that nobody is asked for are guessed, in order; none of a piece on trial, and
// none of a piece that memory has no room for.
func TestEarlyRequestsAreWhatIsMissing(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		const blocks = 4
		k := New(geometry{6, blocks * weir.BlockBytes}, make([]bool, 6), Options{MemoryBytes: 3 * blocks * weir.BlockBytes})
		now := time.Unix(1000, 0)
		a, b := serving(k, 20e6, true), serving(k, 20e6, true)
		a.maxRequests, b.maxRequests = r.IntN(8), r.IntN(8)
		first := r.IntN(4)
		k.Set(k.NewWant(weir.Blocked), []Span{{first, first + 3}})
		for _, act := range slices.Clone(k.Pick(now)) {
			if r.IntN(3) == 0 {
				continue
			}
			if d := k.Received(now, act.Peer, act.Block, nil); d.Complete != nil && r.IntN(2) == 0 {
				k.Failed(now, d.Complete, make([]uint64, blocks))
			}
		}
		k.Choked(a) // with BEP 6 what was asked for stays so
		k.Choked(b)
		memory := int64(3 * blocks * weir.BlockBytes)
		if r.IntN(2) == 0 {
			memory = weir.BlockBytes
			k.SetMemory(memory)
		}
		taken := map[Block]bool{{first, 1}: true}
		var want []Block
		for i := first; i < first+3; i++ {
			p := k.pieces.open[i]
			if p.onTrial() || !p.started() && k.Begun()+p.bytes > memory {
				continue
			}
			for j := range p.count {
				missing := p.blocks == nil || p.blocks[j].from == nil && p.blocks[j].reqs == [2]*request{}
				if missing && !taken[Block{i, j}] {
					want = append(want, Block{i, j})
				}
			}
		}
		if got := k.EarlyRequests(100, taken); !slices.Equal(got, want) {
			t.Errorf("seed %d: guessed %v, want %v", seed, got, want)
		}
		most := r.IntN(5)
		got := k.EarlyRequests(most, taken)
		if !slices.Equal(got, want[:min(most, len(want))]) {
			t.Errorf("seed %d: guessed %v, want %d of %v", seed, got, most, want)
		}
		// Meanwhile nobody wants some of it any more.
		k.Set(k.wants.byPriority[weir.Blocked][0], []Span{{first + 1, first + 2}})
		c := k.Join(PeerOptions{Fast: true})
		k.SentEarly(c, want, now)
		for _, block := range want {
			if live := block.Piece == first+1; (k.pieces.open[block.Piece] != nil && k.pieces.open[block.Piece].blocks != nil &&
				k.pieces.open[block.Piece].blocks[block.Index].at(c) != nil) != live && (k.pieces.open[block.Piece] == nil || live) {
				t.Errorf("seed %d: %v is asked for: %v", seed, block, !live)
			}
			if !k.Received(now, c, block, nil).Asked {
				t.Errorf("seed %d: %v counts as never asked for", seed, block)
			}
		}
		if err := k.check(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestChokesAfterEarlyRequests: whoever has served us once, and chokes with BEP 6, is left to
// reject what it was asked for.
func TestChokesAfterEarlyRequests(t *testing.T) {
	k := New(geometry{1, 4 * weir.BlockBytes}, make([]bool, 1), Options{})
	now := time.Unix(1000, 0)
	reading(k, 0, 1)
	a := k.Join(PeerOptions{Fast: true, RTT: 200 * ms})
	k.HasAll(a)
	k.SentEarly(a, k.EarlyRequests(4, nil), now)
	k.Unchoked(now, a)
	k.Choked(a)
	b := serving(k, 1e6, true)
	asked := requestsIn(k.Pick(now.Add(500 * ms)))
	if a.inFlight != 4 || len(asked) > 0 {
		t.Errorf("%d requests are left at it, %d are made again of another peer", a.inFlight, b.inFlight)
	}
}

// TestMovesOn: a piece that one peer gives alone is given by another one when the first
// falls silent, chokes, leaves, loses the piece or refuses it.
func TestMovesOn(t *testing.T) {
	for name, end := range map[string]func(s *sim, p *simPeer){
		"Silent":  func(_ *sim, p *simPeer) { p.frozen = true },
		"Chokes":  func(_ *sim, p *simPeer) { p.choke(time.Hour) },
		"Leaves":  func(s *sim, p *simPeer) { p.gone = true; s.k.Leave(p.p) },
		"LosesIt": func(s *sim, p *simPeer) { s.k.HasNot(p.p, 0) },
	} {
		for _, prio := range []weir.Priority{weir.Background, weir.Window} {
			t.Run(name+"/"+prio.String(), func(t *testing.T) {
				s := newSim(t, 1, 64*weir.BlockBytes, Options{})
				first := s.join(20*ms, 1e6)
				s.k.Set(s.k.NewWant(prio), []Span{{0, 1}})
				s.run(time.Second, func() bool { return first.sent > 10*weir.BlockBytes })
				s.join(20*ms, 1e6)
				if s.k.pieces.open[0].solo != first.p {
					t.Fatal("the piece is not given by one peer alone")
				}
				end(s, first)
				s.run(10*time.Second, func() bool { return s.k.Held(0) })
				for b, n := range s.asked {
					if n > 2 {
						t.Errorf("%v was asked for %d times", b, n)
					}
				}
			})
		}
	}
}

// TestBestPeer: a block is asked of the peer with room from which it comes first, be
// its name good or not.
func TestBestPeer(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		prio := weir.Priority(1 + r.IntN(3))
		begun := r.IntN(2) == 0
		k := New(geometry{2, 40 * weir.BlockBytes}, make([]bool, 2), Options{})
		now := time.Unix(1000, 0)
		if begun { // by somebody who has gone since
			p := serving(k, 1e6, false)
			w := k.NewWant(prio)
			k.Set(w, []Span{{0, 1}})
			p.maxRequests = 1
			for b := range requestsIn(k.Pick(now)) {
				k.Received(now, p, b, nil)
			}
			k.Leave(p)
		} else {
			k.Set(k.NewWant(prio), []Span{{0, 1}})
		}
		proven := r.IntN(2) == 0
		var best *Peer
		for range 2 + r.IntN(4) {
			p := serving(k, 1e6+9e6*r.Float64(), true)
			p.meter.rtt = time.Duration(1+r.IntN(100)) * ms
			p.proven = proven
			if r.IntN(4) == 0 {
				k.Choked(p)
			} else if best == nil || p.eta(prio) < best.eta(prio) {
				best = p
			}
		}
		acts := k.Pick(now)
		if best == nil {
			if len(acts) > 0 {
				t.Errorf("seed %d: %v", seed, acts)
			}
			continue
		}
		if len(acts) == 0 || acts[0].Peer != best {
			t.Errorf("seed %d, %s, begun %v, proven %v: the first block is not asked of the one who gives it first", seed, prio, begun, proven)
		}
	}
}

// TestTurnsAtOnce: where there is room for many requests at a time, windows share it.
func TestTurnsAtOnce(t *testing.T) {
	for windows := 1; windows <= 5; windows++ {
		const each = 20 // pieces of 16 blocks
		k := New(geometry{int64(windows) * each, 16 * weir.BlockBytes}, make([]bool, windows*each), Options{})
		p := serving(k, 100e6, true)
		p.proven, p.maxRequests = true, 300
		for i := range windows {
			k.Set(k.NewWant(weir.Window), []Span{{i * each, (i + 1) * each}})
		}
		got := make([]int, windows)
		for b := range requestsIn(k.Pick(time.Unix(1000, 0))) {
			got[b.Piece/(each)]++
		}
		if slices.Max(got)-slices.Min(got) > blocksPerTurn || p.inFlight != 300 && windows > 0 {
			t.Errorf("windows are given %v of %d requests", got, p.inFlight)
		}
	}
}

// TestHurry: for three seconds after a read of what no window had, beside a window, the
// queues are short; after reads within windows, or without any, they are not.
func TestHurry(t *testing.T) {
	const long, short = 73, 30 // blocks: 10 MB/s, 20 ms and 100 ms or 30
	for name, c := range map[string]struct {
		window, read Span
		short        bool
	}{
		"OutOfTheBlue": {Span{0, 40}, Span{50, 51}, true},
		"InTheWindow":  {Span{0, 40}, Span{39, 40}, false},
		"NoWindow":     {Span{}, Span{50, 51}, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := New(geometry{100, 8 * weir.BlockBytes}, make([]bool, 100), Options{})
			now := time.Unix(1000, 0)
			p := serving(k, 10e6, true)
			p.proven = true
			r := k.NewWant(weir.Blocked)
			if c.window.End > 0 {
				k.Set(k.NewWant(weir.Window), []Span{c.window})
			}
			k.Set(r, []Span{c.read})
			k.Pick(now)
			for i := range 8 {
				k.Received(now, p, Block{c.read.First, i}, nil)
			}
			k.Verified(&k.pieces.open[c.read.First].Copy, nil)
			k.Close(r)
			if c.window.End == 0 {
				k.Set(k.NewWant(weir.Window), []Span{{0, 40}})
			}
			for step := range 40 { // 100 ms each
				at := now.Add(time.Duration(step) * 100 * ms)
				for p.oldest != nil && p.inFlight > 1 {
					b := Block{p.oldest.copy.index, p.oldest.index}
					k.Received(at, p, b, nil)
					if k.pieces.open[b.Piece] != nil && k.pieces.open[b.Piece].missing == 0 {
						k.Verified(&k.pieces.open[b.Piece].Copy, nil)
						k.Lost(b.Piece)
					}
				}
				p.meter.rate, p.meter.rtt, p.meter.pauses = 10e6, 20*ms, pauses{}
				k.Pick(at)
				want := long
				if c.short && step < 30 {
					want = short
				}
				if step > 0 && (p.inFlight < want-1 || p.inFlight > want+1) {
					t.Errorf("%d requests after %v, want %d", p.inFlight, at.Sub(now), want)
				}
			}
		})
	}
}

// TestShortPatience: what a read lacks, when it is all asked of one peer, is asked of another
// one after a shorter silence than when others are yet to deliver.
func TestShortPatience(t *testing.T) {
	for _, alone := range []bool{true, false} {
		k := New(geometry{1, 4 * weir.BlockBytes}, make([]bool, 1), Options{})
		now := time.Unix(1000, 0)
		a := serving(k, 4e6, true)
		a.meter.jitter = time.Minute
		if !alone {
			a.maxRequests = 2
		}
		reading(k, 0, 1)
		k.Pick(now)
		if !alone {
			c := serving(k, 4e6, true)
			k.Pick(now.Add(ms))
			c.meter.jitter = time.Hour
			c.meter.busySince = now.Add(time.Hour) // it is busy
		}
		serving(k, 40e6, true)
		at := now.Add(a.meter.shortPatience())
		if n := len(requestsIn(k.Pick(at))); n > 0 {
			t.Errorf("alone %v: %d blocks are asked for again after %v", alone, n, at.Sub(now))
		}
		at = at.Add(hedgeEvery)
		want := 0
		if alone {
			want = 4
		}
		if n := len(requestsIn(k.Pick(at))); n != want {
			t.Errorf("alone %v: %d blocks are asked for again after %v, want %d", alone, n, at.Sub(now), want)
		}
	}
}

// TestHedgedAgain: when one of two who were asked leaves, the block is asked of a third
// if the other one is silent, whichever of them it was.
func TestHedgedAgain(t *testing.T) {
	for _, first := range []bool{true, false} {
		k := New(geometry{1, weir.BlockBytes}, make([]bool, 1), Options{})
		now := time.Unix(1000, 0)
		a := serving(k, 4e6, true)
		reading(k, 0, 1)
		k.Pick(now)
		b := serving(k, 4e6, true)
		now = now.Add(a.meter.patience() + ms)
		k.Pick(now)
		if a.inFlight != 1 || b.inFlight != 1 {
			t.Fatalf("%d and %d requests", a.inFlight, b.inFlight)
		}
		c := serving(k, 4e6, true)
		now = now.Add(b.meter.patience() + ms)
		if k.Pick(now); c.inFlight > 0 {
			t.Error("a block is asked for three times")
		}
		k.Leave(map[bool]*Peer{true: a, false: b}[first])
		now = now.Add(hedgeEvery)
		if k.Pick(now); c.inFlight != 1 {
			t.Errorf("the first leaves %v: the third is asked for %d blocks", first, c.inFlight)
		}
	}
}

// TestTrialOfASilentOne: a copy whose peer was silent and may still be sending is not
// asked for twice, and goes on when it speaks.
func TestTrialOfASilentOne(t *testing.T) {
	k, peers, now := newTrialPicker(t, weir.Window, 2)
	for _, p := range peers[1:] {
		k.Leave(p)
	}
	p := peers[0]
	if asked := trying(t, k, now); len(asked) != 1 {
		t.Fatalf("%d trials", len(asked))
	}
	now = now.Add(3 * p.meter.patience())
	if n := len(requestsIn(k.Pick(now))); n > 0 || p.inFlight > 0 {
		t.Errorf("%d blocks are asked for again", n)
	}
	if d := k.Received(now, p, Block{0, 1}, nil); !d.Kept || d.Complete == nil || !d.Complete.trial {
		t.Errorf("%+v", d)
	}
}
