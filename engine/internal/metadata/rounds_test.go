package metadata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPieces(t *testing.T) {
	for size, want := range map[int]int{0: 0, 1: 1, 2: 1, PieceBytes - 1: 1, PieceBytes: 1, PieceBytes + 1: 2, 2 * PieceBytes: 2, sizeOfThree: 3} {
		if got := Pieces(size); got != want {
			t.Errorf("%d bytes are %d pieces, want %d", size, got, want)
		}
	}
}

// TestTooLargeIsWhatMostClaim: of sizes beyond the bound the one that most peers
// claim is named, of equals the smallest, in whatever order they came.
func TestTooLargeIsWhatMostClaim(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		f := New[string](100, never)
		votes := map[int]int{}
		for i := range 1 + r.IntN(12) {
			size := 99 + r.IntN(6)
			f.Claim(fmt.Sprint(i), "", size)
			if size > 100 {
				votes[size]++
			}
		}
		want := 0
		for size := 104; size > 100; size-- {
			if votes[size] > 0 && votes[size] >= votes[want] {
				want = size
			}
		}
		if got := f.TooLarge(); got != want {
			t.Fatalf("%d, want %d of %v", got, want, votes)
		}
	}
}

// steady are sizes of which each has one peer, which sends a piece each second, or
// none; Small ones don't lead.
type steady struct {
	f     *Fetch[int]
	now   time.Time
	sizes []int // peer i claims sizes[i]
	mute  map[int]bool
}

func newSteady(sizes ...int) *steady {
	w := &steady{f: New[int](64<<20, never), now: start, sizes: sizes, mute: map[int]bool{}}
	for p, size := range sizes {
		w.f.Claim(p, fmt.Sprint(p), size)
	}
	return w
}

// second lets one pass, and returns who leads after it.
func (w *steady) second() (leads []int) {
	w.f.Round(w.now)
	for p, size := range w.sizes {
		if w.f.sizes[size] == nil {
			continue
		}
		if w.f.sizes[size].leads {
			leads = append(leads, p)
		}
		for i, piece := range w.f.Ask(p, w.now) {
			if i == 0 && !w.mute[p] {
				w.f.Received(p, piece, pieceOf(size, piece), w.now)
			}
		}
		w.f.sizes[size].forget(p) // the rest does not matter
	}
	w.now = w.now.Add(time.Second)
	return leads
}

// TestTurnsOfLeaders: two sizes lead at a time. While others wait each has a turn,
// of 20 s at first and of twice as much each time; who gets nothing has 5 s.
func TestTurnsOfLeaders(t *testing.T) {
	const large = 7 << 20
	run := func(w *steady, seconds int) (turns map[int][]int) {
		turns = map[int][]int{}      // for each peer, the seconds of its turns
		since := map[int]time.Time{} // one that gives way may lead again at once
		for range seconds {
			leads := w.second()
			if len(leads) > 2 {
				t.Fatalf("%v lead", leads)
			}
			for _, p := range leads {
				if at := w.f.sizes[w.sizes[p]].since; !at.Equal(since[p]) {
					turns[p], since[p] = append(turns[p], 0), at
				}
				turns[p][len(turns[p])-1]++
			}
		}
		return turns
	}
	t.Run("Alone", func(t *testing.T) {
		if got := run(newSteady(large, large+1), 300); len(got[0]) != 1 || len(got[1]) != 1 || got[0][0] != 300 || got[1][0] != 300 {
			t.Errorf("turns %v", got)
		}
	})
	t.Run("OfThree", func(t *testing.T) {
		for p, turns := range run(newSteady(large, large+1, large+2), 300) {
			want := 20
			for i, n := range turns[:len(turns)-1] {
				if n != want {
					t.Errorf("turn %d of %d takes %d s, want %d", i+1, p, n, want)
				}
				want *= 2
			}
			if len(turns) < 3 {
				t.Errorf("%d has %d turns", p, len(turns))
			}
		}
	})
	t.Run("Silent", func(t *testing.T) {
		w := newSteady(large, large+1, large+2)
		w.mute[0], w.mute[1], w.mute[2] = true, true, true
		for p, turns := range run(w, 61) {
			for _, n := range turns[:len(turns)-1] {
				if n != 5 {
					t.Errorf("turns of %d: %v", p, turns)
				}
			}
		}
	})
	t.Run("SilentAlone", func(t *testing.T) {
		w := newSteady(large)
		w.mute[0] = true
		if got := run(w, 100); len(got[0]) != 1 || got[0][0] != 100 {
			t.Errorf("turns %v", got)
		}
	})
	t.Run("SilentWithoutRoom", func(t *testing.T) {
		w := newSteady(large)
		w.mute[0] = true
		w.f.SetRoom(1)
		if got := run(w, 30); len(got[0]) != 1 {
			t.Errorf("with room it has turns %v", got)
		}
		w.f.SetRoom(0)
		if run(w, 30); w.f.sizes[large].turns != 6 {
			t.Errorf("without room it gave way %d times in 30 s", w.f.sizes[large].turns)
		}
	})
	t.Run("SmallAndGone", func(t *testing.T) {
		w := newSteady(large, SmallBytes, SmallBytes-1)
		got := run(w, 50)
		if len(got) != 1 || got[0][0] != 50 {
			t.Errorf("turns %v: what is small waits for nobody, and nobody waits for it", got)
		}
		// Who has nobody any more leads no more, and leaves the place to others.
		w = newSteady(large, large+1, large+2)
		run(w, 3)
		w.f.Leave(0)
		if leads := w.second(); !slices.Equal(leads, []int{1, 2}) {
			t.Errorf("%v lead", leads)
		}
		if a := w.f.sizes[large]; a == nil || a.leads || a.votes != 0 || a.bytes() == 0 {
			t.Errorf("of the other is left %+v", a)
		}
		for range 100 {
			if leads := w.second(); !slices.Equal(leads, []int{1, 2}) {
				t.Fatalf("%v lead", leads)
			}
		}
	})
	t.Run("ByVotes", func(t *testing.T) {
		w := newSteady(large, large+1, large+2)
		for i, voter := range []string{"x", "x", "x", "y", "z"} {
			size := large + 1
			if i < 3 {
				size = large // three of one voter, who counts once
			}
			w.f.Claim(10+i, voter, size)
		}
		w.f.Claim(20, "z", large+2)
		w.f.Round(start)
		if a, b, c := w.f.sizes[large].votes, w.f.sizes[large+1].votes, w.f.sizes[large+2].votes; a != 2 || b != 3 || c != 2 {
			t.Errorf("votes %d, %d, %d", a, b, c)
		}
		w.f.Claim(21, "w", large+2)
		w.f.Round(start)
		if leads := w.second(); !slices.Equal(leads, []int{0, 1}) {
			t.Errorf("%v lead", leads)
		}
		w = newSteady(large, large+1, large+2)
		w.f.Claim(21, "w", large+2)
		if leads := w.second(); !slices.Equal(leads, []int{0, 2}) {
			t.Errorf("%v lead", leads)
		}
	})
	t.Run("Failed", func(t *testing.T) {
		w := newSteady(large, large+1, large+2)
		run(w, 1)
		w.f.Failed(large, w.now)
		if leads := w.second(); !slices.Equal(leads, []int{1, 2}) {
			t.Errorf("%v lead after one was wrong", leads)
		}
		w.f.Failed(large+5, w.now) // which nobody claims
	})
}

// TestGivingWay: a leader that gives way keeps nothing beyond the small beginning.
func TestGivingWay(t *testing.T) {
	const large = 7 << 20
	w := newSteady(large, large+1, large+2)
	for range 15 {
		w.second()
	}
	for _, p := range []int{0, 1} {
		if got := w.f.sizes[w.sizes[p]].prefix(); got != 15 {
			t.Fatalf("%d pieces have come", got)
		}
	}
	for range 5 {
		w.second()
	}
	if got := w.f.sizes[large].prefix(); got != 20 {
		t.Fatalf("%d pieces have come", got)
	}
	w.f.Round(w.now)
	for p := range 2 {
		if a := w.f.sizes[w.sizes[p]]; a.bytes() != 0 || a.prefix() != 0 {
			t.Errorf("%d bytes are left of %d", a.bytes(), p)
		}
	}
	// The beginning of one that leads no more, and of others, is held.
	w = newSteady(large, large+1, large+2)
	for range 17 {
		w.second()
	}
	if got := w.f.sizes[large+2].prefix(); got != SmallBytes/PieceBytes {
		t.Errorf("%d pieces have come of one that does not lead", got)
	}
	w.f.sizes[large].leads = true
	w.f.sizes[large].shrink()
	w.f.sizes[large+2].shrink()
	if w.f.sizes[large].prefix() != 0 || w.f.sizes[large+2].prefix() != 16 {
		t.Errorf("%d and %d pieces are left", w.f.sizes[large].prefix(), w.f.sizes[large+2].prefix())
	}
	// One whose hash is being looked at is not touched.
	f := newFetch(SmallBytes+1, "a")
	f.Round(start)
	for range 3 {
		for _, i := range f.Ask("a", start) {
			f.Received("a", i, pieceOf(SmallBytes+1, i), start)
		}
	}
	size, _, _ := f.Complete()
	f.Claim("b", "b", large)
	f.Claim("c", "c", large+1)
	f.Round(start.Add(time.Hour))
	if size != SmallBytes+1 || !f.sizes[size].whole() || f.Ask("a", start) != nil {
		t.Error("what is being looked at is dropped, or asked for")
	}
}

// TestWithoutRoom: a leader without room asks for what is missing of the small
// beginning or in front of what it holds, and for no more.
func TestWithoutRoom(t *testing.T) {
	const large = 7 << 20
	highest := func(f *Fetch[string]) int {
		high := -1
		for range 40 {
			for _, i := range f.Ask("a", start) {
				f.Received("a", i, pieceOf(large, i), start)
				high = max(high, i)
			}
		}
		return high
	}
	f := newFetch(large, "a")
	f.SetRoom(0)
	f.Round(start)
	if got := highest(f); got != SmallBytes/PieceBytes-1 {
		t.Errorf("without room piece %d is asked for", got)
	}
	f.SetRoom(1)
	if got := highest(f); got != Pieces(large)-1 {
		t.Errorf("with room piece %d is asked for", got)
	}
	f = newFetch(large, "a")
	f.Round(start)
	for range 2 {
		for _, i := range f.Ask("a", start) {
			f.Received("a", i, pieceOf(large, i), start)
		}
	}
	before := f.Bytes()
	f.SetRoom(-5)
	if highest(f); f.Bytes() != before {
		t.Errorf("%d bytes are held, and were %d when there was no room any more", f.Bytes(), before)
	}
	// The small ones and others go on.
	if f.Claim("b", "b", SmallBytes); len(f.Ask("b", start)) != 16 {
		t.Error("a small one waits for room")
	}
	// Of what is only hashed nothing is held: it needs no room.
	f = New[string](64<<20, never)
	f.Claim("a", "a", onceBytes+1)
	f.SetRoom(0)
	f.Round(start)
	for range 10 {
		for _, i := range f.Ask("a", start) {
			f.Received("a", i, pieceOf(onceBytes+1, i), start)
		}
	}
	if got := f.sizes[onceBytes+1].prefix(); got != 160 {
		t.Errorf("%d pieces were hashed without room", got)
	}
}

// TestLeaveKeepsTheLongest: of the sizes that nobody claims any more, the one of which
// most has arrived is kept, with what can go on from it.
func TestLeaveKeepsTheLongest(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		w := newSteady(200<<10, 210<<10, 220<<10, 230<<10)
		for p, pieces := range []int{3, 7, 5, 0} {
			w.f.sizes[w.sizes[p]].received(p, 0, nil, start) // nothing was asked for
			for i := range pieces {
				w.f.Ask(p, start)
				w.f.Received(p, i, pieceOf(w.sizes[p], i), start)
			}
		}
		for _, p := range order {
			w.f.Leave(p)
			w.f.Leave(p)
		}
		if a := w.f.sizes[210<<10]; len(w.f.sizes) != 1 || a == nil || a.prefix() != 7 || len(a.asked) != 0 || a.leads {
			t.Errorf("left are %d sizes, %+v", len(w.f.sizes), a)
		}
		if w.f.Claimed(9) {
			t.Error("a peer that said nothing has claimed a size")
		}
		if w.f.Claim(9, "", 210<<10); !w.f.Claimed(9) || !slices.Equal(w.f.Ask(9, start), []int{7, 8, 9, 10, 11, 12, 13}) {
			t.Error("it does not go on")
		}
		w.f.Claim(10, "", 64<<20+1)
		if w.f.Claimed(10) || w.f.Claimed(11) {
			t.Error("what is too large can be fetched")
		}
	}
}
