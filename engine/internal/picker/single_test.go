package picker

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// wantBlocks has a read want blocks alone.
func wantBlocks(k *Picker, blocks ...Block) *Want {
	w := k.NewWant(weir.Blocked)
	k.Blocks.Set(w, blocks)
	return w
}

// TestSingleBlocks: who tells hashes is asked for the blocks that are wanted and no
// others; where nobody does, where hashes don't come, or when there are many, the piece is.
func TestSingleBlocks(t *testing.T) {
	const count = 64
	few, many := []Block{{1, 3}, {1, 40}, {2, 63}}, []Block(nil)
	for i := range 9 {
		many = append(many, Block{0, 5 * i})
	}
	for name, c := range map[string]struct {
		blocks []Block
		tells  []bool // of the peers
		then   func(k *Picker, now time.Time, peers []*Peer)
		want   int // blocks asked for
		hashes int // with their hashes
	}{
		"Few":           {blocks: few, tells: []bool{true, true}, want: 3, hashes: 3},
		"OneTells":      {blocks: few, tells: []bool{false, true}, want: 3, hashes: 3},
		"NobodyTells":   {blocks: few, tells: []bool{false, false}, want: 2 * count},
		"Many":          {blocks: many, tells: []bool{true}, want: count},
		"Whole":         {blocks: few, tells: []bool{true}, then: func(k *Picker, _ time.Time, _ []*Peer) { k.Blocks.FetchWhole(1) }, want: count + 1, hashes: 3},
		"TellsNoMore":   {blocks: few[:2], tells: []bool{true, false}, then: func(k *Picker, _ time.Time, p []*Peer) { p[0].NoHashes() }, want: count, hashes: 2},
		"ReadAhead":     {blocks: few[:2], tells: []bool{true}, then: func(k *Picker, _ time.Time, _ []*Peer) { k.Set(k.NewWant(weir.Window), []Span{{1, 2}}) }, want: count, hashes: 2},
		"NotWantedMore": {blocks: few, tells: []bool{true}, then: func(k *Picker, _ time.Time, _ []*Peer) { k.Close(k.wants.byPriority[weir.Blocked][0]) }, want: 3, hashes: 3},
	} {
		t.Run(name, func(t *testing.T) {
			k := New(geometry{3, count * weir.BlockBytes}, make([]bool, 3), Options{})
			now := time.Unix(1000, 0)
			var peers []*Peer
			for _, tells := range c.tells {
				p := serving(k, 100e6, true)
				p.tellsHashes, p.maxRequests = tells, 500
				peers = append(peers, p)
			}
			wantBlocks(k, c.blocks...)
			asked, hashes := 0, 0
			pick := func() {
				for _, a := range k.Pick(now) {
					if a.Kind == Request {
						asked++
					}
					if a.Single {
						hashes++
					}
				}
			}
			pick()
			if c.then != nil {
				c.then(k, now, peers)
				pick()
				if name == "TellsNoMore" { // it was asked; what it leaves is anybody's
					k.Leave(peers[0])
					asked -= 2
					pick()
				}
			}
			if asked != c.want || hashes != c.hashes {
				t.Errorf("%d blocks are asked for, %d with their hashes; want %d, %d", asked, hashes, c.want, c.hashes)
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSingleBlocksTakeLittleMemory: blocks of many pieces are read at once where memory has
// room for a few pieces.
func TestSingleBlocksTakeLittleMemory(t *testing.T) {
	k := New(geometry{100, 64 * weir.BlockBytes}, make([]bool, 100), Options{MemoryBytes: 2 * 64 * weir.BlockBytes})
	p := serving(k, 100e6, true)
	p.tellsHashes, p.maxRequests = true, 500
	for i := range 100 {
		wantBlocks(k, Block{i, i % 64})
	}
	if n := len(k.Pick(time.Unix(1000, 0))); n != 100 || k.Begun() != 100*weir.BlockBytes {
		t.Errorf("%d blocks are asked for, %d bytes are begun", n, k.Begun())
	}
	wantBlocks(k, Block{0, 1})
	k.Blocks.FetchWhole(0) // 64 more blocks don't fit beside the others
	if n := len(k.Pick(time.Unix(1000, 0))); n != 0 {
		t.Errorf("%d more blocks are asked for", n)
	}
}

// TestSingleBlocksJoinTheirPiece: what came alone is not asked for again when the whole piece
// is wanted; a block that was wrong is, of somebody else.
func TestSingleBlocksJoinTheirPiece(t *testing.T) {
	k := New(geometry{1, 16 * weir.BlockBytes}, make([]bool, 1), Options{})
	now := time.Unix(1000, 0)
	a := serving(k, 100e6, true)
	a.tellsHashes = true
	w := wantBlocks(k, Block{0, 3}, Block{0, 4})
	k.Pick(now)
	for i := 3; i < 5; i++ {
		if d := k.Received(now, a, Block{0, i}, nil); !d.Kept || d.Complete != nil {
			t.Fatalf("%+v", d)
		}
	}
	k.Blocks.Right(Block{0, 3})
	if guilty := k.Blocks.Wrong(Block{0, 4}); guilty != a || !a.proven && k.Begun() != weir.BlockBytes {
		t.Errorf("guilty: %v, %d bytes are begun", guilty, k.Begun())
	}
	k.Leave(a)
	b := serving(k, 100e6, true)
	b.tellsHashes = true
	if acts := k.Pick(now); len(acts) != 1 || acts[0].Block != (Block{0, 4}) || acts[0].Peer != b || !acts[0].Single {
		t.Errorf("asked again: %v", acts)
	}
	k.Close(w)
	k.Set(k.NewWant(weir.Window), []Span{{0, 1}})
	k.Pick(now)
	if _, asked := requestsIn(k.Pick(now))[Block{0, 3}]; asked || b.inFlight != 15 {
		t.Errorf("%d blocks are asked for", b.inFlight)
	}
	var d Delivery
	for i := range 16 {
		if i != 3 {
			d = k.Received(now, b, Block{0, i}, nil)
		}
	}
	if d.Complete == nil {
		t.Fatal("the piece is not complete")
	}
	if first, _ := k.Verified(d.Complete, nil); !first || k.Begun() != 0 {
		t.Errorf("first %v, %d bytes begun", first, k.Begun())
	}
}

// TestSingleBlocksInAnyOrder: whatever happens in whichever order, the counts are right and
// what is wanted is asked for.
func TestSingleBlocksInAnyOrder(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 15))
		const pieces, count = 4, 8
		k := New(geometry{pieces, count * weir.BlockBytes}, make([]bool, pieces), Options{MemoryBytes: int64(1+r.IntN(6)) * count * weir.BlockBytes})
		now := time.Unix(1000, 0)
		var wants []*Want
		var peers []*Peer
		join := func() {
			p := serving(k, 1e6, r.IntN(2) == 0)
			p.tellsHashes = r.IntN(3) > 0
			peers = append(peers, p)
		}
		join()
		for step := range 300 {
			now = now.Add(time.Duration(r.IntN(40)) * ms)
			piece := r.IntN(pieces)
			p := peers[r.IntN(len(peers))]
			switch r.IntN(14) {
			case 0, 1, 2:
				b := Block{piece, r.IntN(count)}
				wants = append(wants, wantBlocks(k, b, Block{min(piece+1, pieces-1), (b.Index + 1) % count}))
			case 3:
				w := k.NewWant(weir.Priority(1 + r.IntN(3)))
				k.Set(w, []Span{{piece, piece + 1}})
				wants = append(wants, w)
			case 4, 5:
				if len(wants) > 0 {
					i := r.IntN(len(wants))
					k.Close(wants[i])
					wants = append(wants[:i], wants[i+1:]...)
				}
			case 6, 7, 8:
				if p.oldest == nil {
					break
				}
				b := Block{p.oldest.copy.index, p.oldest.index}
				if d := k.Received(now, p, b, nil); d.Complete != nil {
					if r.IntN(4) > 0 {
						k.Verified(d.Complete, make([]uint64, count))
					} else {
						k.Failed(now, d.Complete, make([]uint64, count))
					}
				}
			case 9:
				b := Block{piece, r.IntN(count)}
				if _, from, good := k.Blocks.Get(b); from != nil && !good {
					if r.IntN(2) == 0 {
						k.Blocks.Right(b)
					} else {
						k.Blocks.Wrong(b)
					}
				}
			case 10:
				if k.Held(piece) {
					k.Lost(piece)
				} else if r.IntN(3) == 0 {
					k.Found(piece)
				}
			case 11:
				if p.oldest != nil && p.fast {
					k.Rejected(p, Block{p.oldest.copy.index, p.oldest.index})
				} else if r.IntN(4) == 0 {
					p.NoHashes()
				}
			case 12:
				if r.IntN(3) == 0 {
					k.Blocks.FetchWhole(piece)
				}
				k.DropUnwanted(now.Add(-time.Duration(r.IntN(200)) * ms))
			case 13:
				if len(peers) > 3 {
					k.Leave(peers[0])
					peers = peers[1:]
				} else {
					join()
				}
			}
			acts := k.Pick(now)
			if err := k.promised(acts); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			for _, a := range acts {
				if a.Single && !a.Peer.tellsHashes {
					t.Fatalf("seed %d, step %d: a hash is asked of a peer that tells none", seed, step)
				}
			}
			if err := k.check(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}
