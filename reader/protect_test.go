package reader

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
)

// TestProtect: pieces in windows are protected, held or not, until the reader moves on,
// closes or pauses for very long.
func TestProtect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProtectTest(t)
		x, y := p.open(), p.open()
		x.publish(p.window(100, 108))
		p.covers("before", 90, 100, false)
		p.covers("inside", 100, 108, true)
		p.covers("behind", 108, 120, false)
		if p.b.Protect(1 << 40)(weir.PieceID{Torrent: weir.InfoHash{'b'}, Index: 103}) {
			t.Error("another torrent's piece is protected")
		}
		x.withdraw()
		p.covers("paused", 100, 108, true)
		x.publish(append(p.window(104, 112), p.window(300, 302)...))
		p.covers("left", 100, 104, false)
		p.covers("moved", 104, 112, true)
		p.covers("in two places", 300, 302, true)
		y.publish(p.window(500, 512))
		x.withdraw()
		time.Sleep(protectTime - time.Second)
		p.covers("in a long pause", 104, 112, true)
		y.publish(p.window(501, 513))
		time.Sleep(time.Second)
		p.covers("after a very long pause", 104, 112, false)
		p.covers("who reads on", 501, 513, true)
		x.publish(p.window(104, 112))
		p.covers("at last", 104, 112, true)
		x.publish(nil)
		p.covers("who reads at random", 104, 112, false)
		x.publish(p.window(104, 112))
		x.close()
		y.close()
		p.covers("closed", 0, 1000, false)
		if n := len(p.b.protection.windows); n != 0 {
			t.Errorf("%d closed windows are remembered", n)
		}
	})
}

// TestProtectAtMost: if windows exceed what may be protected, each gets an equal share, and
// what a short one does not need goes to the others.
func TestProtectAtMost(t *testing.T) {
	p := newProtectTest(t)
	for i, n := range []int64{20, 2, 30} {
		first := int64(100 * i)
		p.open().publish(p.window(first, first+n))
	}
	for _, test := range []struct {
		most int64
		want [3]int
	}{
		{0, [3]int{}},
		{3, [3]int{1, 1, 1}},
		{12, [3]int{5, 2, 5}},
		{46, [3]int{20, 2, 24}},
		{52, [3]int{20, 2, 30}},
		{1000, [3]int{20, 2, 30}},
		{-5, [3]int{}},
	} {
		protects := p.b.Protect(test.most * protectPiece)
		for w, n := range test.want {
			for i := range 100 {
				if got := protects(p.piece(100*w + i)); got != (i < n) {
					t.Errorf("of %d pieces, window %d, piece %d: %v", test.most, w, i, got)
				}
			}
		}
	}
	// What windows have in several places is protected in the order in which it is
	// wanted.
	z := p.open()
	z.publish(append(p.window(800, 803), p.window(700, 710)...))
	protects := p.b.Protect((9 + 2 + 9 + 9) * protectPiece)
	for i, want := range map[int]bool{800: true, 802: true, 803: false, 700: true, 705: true, 706: false} {
		if got := protects(p.piece(i)); got != want {
			t.Errorf("piece %d: %v", i, got)
		}
	}
}

const protectPiece = 32 << 10

// protectTest is a torrent of a thousand pieces, of which every other one is held.
type protectTest struct {
	t    *testing.T
	info *weir.TorrentInfo
	b    *Budget
	held heldSome
}

func newProtectTest(t *testing.T) *protectTest {
	const length = 1000 * protectPiece
	p := &protectTest{t: t, b: NewBudget(20 * protectPiece), held: heldSome{}}
	p.info = &weir.TorrentInfo{InfoHash: weir.InfoHash{'a'}, PieceLength: protectPiece, Length: length, Files: []weir.FileInfo{{Path: []string{"f"}, Length: length}}}
	for i := range 1000 {
		p.held[i] = i%2 == 0
	}
	return p
}

func (p *protectTest) open() *window {
	return &window{info: p.info, cache: p.held, swarm: noSwarm{}, wanted: &wanted{pieces: map[int]charge{}}, share: share{b: p.b}}
}

func (p *protectTest) window(first, end int64) []weir.Range {
	return []weir.Range{{Off: first * protectPiece, End: end * protectPiece}}
}

func (p *protectTest) piece(i int) weir.PieceID {
	return weir.PieceID{Torrent: p.info.InfoHash, Index: i}
}

func (p *protectTest) covers(what string, first, end int, want bool) {
	p.t.Helper()
	protects := p.b.Protect(1 << 40)
	for i := first; i < end; i++ {
		if protects(p.piece(i)) != want {
			p.t.Errorf("%s: piece %d: %v", what, i, !want)
		}
	}
}

// noSwarm is a swarm without peers.
type noSwarm struct{}

func (noSwarm) Fetch(ctx context.Context, _ *weir.Miss, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}
func (noSwarm) NewWant() Want    { return noSwarm{} }
func (noSwarm) Set([]weir.Range) {}
func (noSwarm) Close()           {}
