package picker

import (
	"testing"

	"github.com/weirfs/weir"
)

// completed returns the copy that a peer gives of piece 0, which is on trial, with all
// its blocks, and their buffers.
func completed(t *testing.T, k *Picker, by *Peer) (*Copy, []*testBuffer) {
	t.Helper()
	c := k.pieces.open[0].trialOf(by)
	if c == nil {
		t.Fatal("the peer gives no copy")
	}
	var buffers []*testBuffer
	for i := range c.count {
		if b := c.block(i); b.from != nil {
			continue // what it gave before
		}
		buffers = append(buffers, &testBuffer{})
		d := k.Received(by.meter.last, by, Block{0, i}, buffers[len(buffers)-1])
		if !d.Kept || (d.Complete != nil) != (c.missing == 0) {
			t.Fatalf("block %d: %+v, %d are missing", i, d, c.missing)
		}
	}
	return c, buffers
}

func freed(buffers []*testBuffer) (n int) {
	for _, b := range buffers {
		n += b.freed
	}
	return n
}

// TestVerdictOnTheSecondCopy: when a copy is right, the one that is still being verified
// keeps its blocks until its verdict, which changes nothing; not even when the piece
// was evicted, and is being fetched again, by then.
func TestVerdictOnTheSecondCopy(t *testing.T) {
	for _, right := range []bool{true, false} {
		for _, evicted := range []bool{false, true} {
			k, _, now := newTrialPicker(t, weir.Blocked, 4)
			asked := trying(t, k, now)
			if len(asked) != 2 {
				t.Fatalf("%d trials", len(asked))
			}
			first, _ := completed(t, k, asked[0])
			second, buffers := completed(t, k, asked[1])
			if ok, _ := k.Verified(first, make([]uint64, 4)); !ok || !k.Held(0) {
				t.Fatal("the first copy is not taken")
			}
			if freed(buffers) > 0 || k.Begun() != 4*weir.BlockBytes {
				t.Fatalf("%d blocks are freed while they are hashed; %d bytes begun", freed(buffers), k.Begun())
			}
			if evicted {
				k.Lost(0)
				k.Pick(now)
			}
			want := 3 // with what it gave before the trial
			if right {
				if ok, guilty := k.Verified(second, make([]uint64, 4)); ok != evicted || len(guilty) > 0 {
					t.Errorf("evicted %v: first %v, %d guilty", evicted, ok, len(guilty))
				}
				if evicted {
					want = 0 // they are the caller's
				}
			} else if guilty := k.Failed(now, second, make([]uint64, 4)); len(guilty) > 0 != evicted {
				t.Errorf("evicted %v: %d guilty", evicted, len(guilty))
			}
			if k.Held(0) != (right || !evicted) || freed(buffers) != want || k.Begun() > 0 && k.Held(0) {
				t.Errorf("right %v, evicted %v: held %v, %d of %d blocks freed, %d bytes begun", right, evicted, k.Held(0), freed(buffers), want, k.Begun())
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCopyOfWhoLeft: a copy whose peer leaves while it is verified counts, also when
// the piece is wanted by nobody and forgotten by then.
func TestCopyOfWhoLeft(t *testing.T) {
	k, peers, now := newTrialPicker(t, weir.Blocked, 3)
	by := trying(t, k, now)[0]
	c, buffers := completed(t, k, by)
	k.Close(k.wants.byPriority[weir.Blocked][0])
	for _, p := range peers {
		k.Leave(p)
	}
	if len(k.pieces.open) > 0 || freed(buffers) > 0 || k.Begun() != c.bytes {
		t.Fatalf("%d pieces remembered, %d blocks freed, %d bytes begun", len(k.pieces.open), freed(buffers), k.Begun())
	}
	if first, guilty := k.Verified(c, make([]uint64, 3)); !first || len(guilty) > 0 || !k.Held(0) || k.HeldCount() != 1 || k.Begun() != 0 {
		t.Errorf("first %v, %d guilty, held %v, %d bytes begun", first, len(guilty), k.Held(0), k.Begun())
	}
	if err := k.check(); err != nil {
		t.Error(err)
	}
	if freed(buffers) > 0 {
		t.Error("blocks of the caller's are freed")
	}
}

// TestDropUnwanted: blocks of a piece that nobody wants go when none came since then,
// those of a wanted one and of one that is being verified stay.
func TestDropUnwanted(t *testing.T) {
	for name, c := range map[string]struct {
		wanted, complete, old bool
		freed                 int
	}{
		"Old": {false, false, true, 3}, "Young": {false, false, false, 0},
		"Wanted": {true, false, true, 0}, "BeingVerified": {false, true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 1, 4*weir.BlockBytes, Options{})
			k, now := s.k, s.now
			p := serving(k, 10e6, true)
			w := k.NewWant(weir.Blocked)
			k.Set(w, []Span{{0, 1}})
			k.Pick(now)
			blocks := 3
			if c.complete {
				blocks = 4
			}
			var buffers []*testBuffer
			for i := range blocks {
				buffers = append(buffers, &testBuffer{})
				k.Received(now, p, Block{0, i}, buffers[i])
			}
			if !c.wanted {
				k.Close(w)
			}
			before := now
			if c.old {
				before = now.Add(1)
			}
			k.DropUnwanted(before)
			if n := freed(buffers); n != c.freed {
				t.Errorf("%d blocks are freed, want %d", n, c.freed)
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
			k.Free()
			if n := freed(buffers); n != blocks {
				t.Errorf("%d of %d blocks are freed at the end", n, blocks)
			}
		})
	}
}
