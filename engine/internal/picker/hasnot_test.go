package picker

import (
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestHasNot: what a peer has lost is asked of others, at once, and of it no more.
func TestHasNot(t *testing.T) {
	for name, fast := range map[string]bool{"Fast": true, "NoFast": false} {
		t.Run(name, func(t *testing.T) {
			const pieces, pieceBytes = 4, 64 << 10
			k := New(geometry{pieces, pieceBytes}, make([]bool, pieces), Options{})
			now := time.Unix(1000, 0)
			a := k.Join(PeerOptions{Fast: fast})
			k.HasAll(a)
			k.Unchoked(time.Time{}, a)
			w := k.NewWant(weir.Blocked)
			k.Set(w, []Span{{0, 2}})
			if n := len(k.Pick(now)); n != 8 {
				t.Fatalf("%d requests, want 8", n)
			}
			k.HasNot(a, 0)
			if err := k.check(); err != nil {
				t.Fatal(err)
			}
			if a.inFlight != 4 {
				t.Errorf("%d requests are at the peer, want those of the other piece", a.inFlight)
			}
			if n := k.Needs(a); n != 0 {
				t.Errorf("it needs %d pieces of ours, which we don't hold", n)
			}
			now = now.Add(time.Second)
			for _, act := range k.Pick(now) {
				if act.Kind == Request && act.Block.Piece == 0 {
					t.Errorf("asked again for %v", act.Block)
				}
			}
			if k.Availability(0) != 0 || k.Availability(3) != 1 {
				t.Error("it counts as having what it has not")
			}
			b := k.Join(PeerOptions{Fast: fast})
			k.HasThese(b, []bool{true, false, false, false})
			k.Unchoked(time.Time{}, b)
			asked := 0
			for _, act := range k.Pick(now) {
				if act.Kind == Request && act.Peer == b && act.Block.Piece == 0 {
					asked++
				}
			}
			if asked != 4 {
				t.Errorf("another peer was asked for %d blocks, want 4", asked)
			}
			// A reject that crosses our knowledge, or a block that does, hurts nobody.
			k.Rejected(a, Block{0, 0})
			if d := k.Received(now, a, Block{0, 1}, nil); !d.Kept {
				t.Error("a block that was on its way is thrown away")
			}
			k.HasNot(a, 0)
			k.HasNot(a, -1)
			k.HasNot(a, pieces)
			k.Has(a, 0)
			if k.Availability(0) != 2 {
				t.Error("it can't have the piece again")
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}
