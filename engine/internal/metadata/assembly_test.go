package metadata

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// mirror knows what a Fetch should know of one size: who was asked for which piece,
// and when.
type mirror struct {
	asked  map[string]map[int]time.Time
	rest   map[string]time.Time
	proven map[string]bool
	has    map[int]bool
	from   map[string]bool
}

func (m *mirror) suspend(p string, now time.Time) {
	m.asked[p], m.rest[p], m.proven[p] = map[int]time.Time{}, now.Add(30*time.Second), false
}

// TestEveryAsk: in any stream of asks, answers, refusals and pauses, no peer is asked
// for what is there or for more than 16 pieces at a time, nor twice; of what somebody
// else was asked for less than two seconds ago only who is proven is asked, of one
// who is not, or a newcomer for a single piece; nothing that may be asked is left
// out; what was asked for is taken, and nothing else; and all of it arrives.
func TestEveryAsk(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		size := 1 + r.IntN(SmallBytes)
		peers := []string{"a", "b", "c", "d"}[:1+r.IntN(4)]
		f, now := newFetch(size, peers...), start
		m := &mirror{map[string]map[int]time.Time{}, map[string]time.Time{}, map[string]bool{}, map[int]bool{}, map[string]bool{}}
		for _, p := range peers {
			m.asked[p] = map[int]time.Time{}
		}
		for step := 0; ; step++ {
			if step == 20_000 {
				t.Fatalf("seed %d: not complete after %d steps", seed, step)
			}
			p := peers[r.IntN(len(peers))]
			switch r.IntN(8) {
			case 0:
				now = now.Add([]time.Duration{1, time.Second, patience - 1, patience, 3 * time.Second, giveUp, suspendedFor}[r.IntN(7)])
			case 1:
				if r.IntN(10) == 0 {
					f.Refused(p, now)
					m.suspend(p, now)
				}
			case 2, 3:
				m.ask(t, f, size, p, now)
			default:
				piece := r.IntN(Pieces(size)+2) - 1
				data := pieceOf(size, max(0, min(piece, Pieces(size)-1)))
				if r.IntN(5) == 0 {
					data = data[1:]
				}
				_, asked := m.asked[p][piece]
				want := asked && len(data) == min(PieceBytes, size-piece*PieceBytes)
				if got := f.Received(p, piece, data, now); got != want {
					t.Fatalf("seed %d: piece %d of %s is taken: %v", seed, piece, p, got)
				}
				if want {
					m.proven[p] = true
					m.from[p] = m.from[p] || !m.has[piece]
					m.has[piece] = true
					delete(m.asked[p], piece)
				}
			}
			// What is remembered are asks without an answer.
			for i, asks := range f.sizes[size].asked {
				open := 0
				for _, asked := range m.asked {
					if _, ok := asked[i]; ok {
						open++
					}
				}
				if open == 0 || open != len(asks) {
					t.Fatalf("seed %d: %d asks for piece %d are remembered of %d", seed, len(asks), i, open)
				}
			}
			// What is held grows with what has arrived.
			if held, come := f.Bytes(), int64(len(m.has))*PieceBytes; held > 2*come || held < min(come, int64(size)) {
				t.Fatalf("seed %d: %d bytes are held of %d", seed, held, come)
			}
			if n, got, from := f.Complete(); n != 0 {
				var want []byte
				for i := range Pieces(size) {
					want = append(want, pieceOf(size, i)...)
				}
				slices.Sort(from)
				var all []string
				for _, p := range peers {
					if m.from[p] {
						all = append(all, p)
					}
				}
				if n != size || !bytes.Equal(got, want) || len(m.has) != Pieces(size) || !slices.Equal(from, all) {
					t.Fatalf("seed %d: complete: %d bytes from %v, want %d from %v", seed, len(got), from, size, all)
				}
				break
			}
		}
	}
}

// ask asks a peer and looks at each piece.
func (m *mirror) ask(t *testing.T, f *Fetch[string], size int, p string, now time.Time) {
	t.Helper()
	got := f.Ask(p, now)
	for _, at := range m.asked[p] {
		if now.Sub(at) >= giveUp && !now.Before(m.rest[p]) {
			m.suspend(p, now)
			break
		}
	}
	if now.Before(m.rest[p]) {
		if got != nil {
			t.Fatalf("asks %v of %s, who is suspended", got, p)
		}
		return
	}
	var want []int
	newcomer := -1
	for i := range Pieces(size) {
		_, mine := m.asked[p][i]
		if m.has[i] || mine {
			continue
		}
		if newcomer < 0 {
			newcomer = i
		}
		free := true
		for o, asked := range m.asked {
			if at, ok := asked[i]; ok && o != p && now.Sub(at) < 2*time.Second && (m.proven[o] || !m.proven[p]) {
				free = false
			}
		}
		if free && len(want)+len(m.asked[p]) < 16 {
			want = append(want, i)
		}
	}
	if len(want)+len(m.asked[p]) == 0 && !m.proven[p] && newcomer >= 0 {
		want = []int{newcomer}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("asks %v of %s, want %v", got, p, want)
	}
	for _, i := range got {
		m.asked[p][i] = now
	}
}

// TestGaps: nothing is asked for that is further than 128 pieces behind the first
// that is missing, and what came behind it counts as held.
func TestGaps(t *testing.T) {
	for _, large := range []int{7 << 20, onceBytes + 5*PieceBytes} {
		f := New[string](64<<20, sumOf(large))
		f.Claim("a", "a", large)
		f.Claim("b", "b", large)
		f.Round(start)
		high := 0
		for range 20 {
			for _, i := range f.Ask("a", start) {
				if high = max(high, i); i == 0 {
					continue
				}
				f.Received("a", i, pieceOf(large, i), start)
			}
		}
		if high != 127 || f.Bytes() != 127*PieceBytes {
			t.Errorf("piece %d was asked for, %d bytes are held", high, f.Bytes())
		}
		f.Received("a", 0, pieceOf(large, 0), start)
		a := f.sizes[large]
		if a.prefix() != 128 || len(a.behind) != 0 {
			t.Errorf("%d pieces without a gap, %d behind", a.prefix(), len(a.behind))
		}
		switch held := f.Bytes(); {
		case large > onceBytes && held != 128*32, large <= onceBytes && held < 128*PieceBytes, held > 2*128*PieceBytes:
			t.Errorf("of %d, %d bytes are held", large, held)
		}
		if large > onceBytes { // one that gives way keeps its hashes and no piece
			f.Received("a", f.Ask("b", start)[3], pieceOf(large, 131), start)
			for _, i := range f.Ask("a", start)[1:] {
				f.Received("a", i, pieceOf(large, i), start)
			}
			if a.shrink(); f.Bytes() != 128*32 {
				t.Errorf("%d bytes are left", f.Bytes())
			}
		}
	}
}

// TestOneSuspect: after a hash was wrong one peer alone is asked, from the start;
// after it is wrong again, the next one; and all that came before is gone.
func TestOneSuspect(t *testing.T) {
	f := newFetch(sizeOfThree, "a", "b", "c")
	now := start
	send := func(p string) {
		t.Helper()
		for _, i := range f.Ask(p, now) {
			if !f.Received(p, i, pieceOf(sizeOfThree, i), now) {
				t.Fatalf("%s: piece %d is not taken", p, i)
			}
		}
	}
	send("a")
	for i, p := range []string{"b", "a", "c", "a"} {
		if size, _, _ := f.Complete(); size != sizeOfThree {
			t.Fatalf("%d: not complete", i)
		}
		if got := f.Ask("c", now); got != nil {
			t.Fatalf("asks %v while the hash is looked at", got)
		}
		f.Failed(sizeOfThree, now)
		if f.Bytes() != 0 {
			t.Fatalf("%d bytes are left of what is wrong", f.Bytes())
		}
		now = now.Add(time.Second)
		if p == "a" && i > 1 {
			now = now.Add(suspendedFor) // its suspension is over
		}
		send(p)
		for _, o := range []string{"a", "b", "c"} {
			if got := f.Ask(o, now); got != nil {
				t.Fatalf("asks %v of %s, it is %s's turn", got, o, p)
			}
		}
	}
	if _, _, from := f.Complete(); !slices.Equal(from, []string{"a"}) {
		t.Fatalf("from %v", from)
	}
	// Who stands alone and says nothing makes way.
	f.Failed(sizeOfThree, now)
	if got := f.Ask("b", now); len(got) != 3 {
		t.Fatalf("asks %v", got)
	}
	f.Received("b", 0, pieceOf(sizeOfThree, 0), now)
	now = now.Add(giveUp)
	if got := f.Ask("b", now); got != nil {
		t.Fatalf("asks %v of a silent peer", got)
	}
	if got := f.Ask("c", now); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("asks %v of the next", got)
	}
}

// TestForgedTheSecondTime: of a dictionary that is known by its hashes each peer
// may send pieces, and one that forges them rests.
func TestForgedTheSecondTime(t *testing.T) {
	const size = onceBytes + 3*PieceBytes
	f := New[string](64<<20, sumOf(size))
	for i := range 3 {
		f.Claim(fmt.Sprint(i), fmt.Sprint(i), size)
	}
	f.Failed(size, start) // of the first time: one alone
	for range 100 {
		f.Round(start)
		for _, i := range f.Ask("0", start) {
			f.Received("0", i, pieceOf(size, i), start)
		}
		if f.sizes[size].hashes.right {
			break
		}
	}
	if n, _, _ := f.Complete(); n != 0 || !f.sizes[size].hashes.right {
		t.Fatalf("complete with its hashes alone: %d", n)
	}
	if f.Received("1", 0, pieceOf(size, 0), start) {
		t.Error("took what nobody asked for")
	}
	got := f.Ask("1", start)
	if len(got) != share {
		t.Fatalf("asks %v of a second peer", got)
	}
	forged := slices.Clone(pieceOf(size, got[0]))
	forged[7]++
	if f.Received("1", got[0], forged, start) || f.Received("1", got[1], pieceOf(size, got[1]), start) || f.Ask("1", start.Add(suspendedFor-1)) != nil {
		t.Error("a peer that forges does not rest")
	}
	for _, i := range f.Ask("2", start) {
		if !f.Received("2", i, pieceOf(size, i), start) {
			t.Errorf("the right piece %d is not taken", i)
		}
	}
	// What was right stays so when the kept copy is dropped.
	f.sizes[size].clear()
	if !f.sizes[size].hashes.right || len(f.sizes[size].hashes.pieces) != Pieces(size) {
		t.Error("the hashes are gone")
	}
}

// TestRestIsForgotten: of a peer that has left nothing is remembered, its rest neither.
func TestRestIsForgotten(t *testing.T) {
	f := newFetch(sizeOfThree, "stays")
	for i := range 10 {
		p := fmt.Sprint(i)
		f.Claim(p, p, sizeOfThree)
		f.Ask(p, start)
		f.Refused(p, start)
		f.Leave(p)
	}
	if a := f.sizes[sizeOfThree]; len(a.suspended) != 0 || len(a.asked) != 0 || len(a.proven) != 0 || len(f.claims) != 1 {
		t.Errorf("remembered are %v, %v, %v of %d peers", a.suspended, a.asked, a.proven, len(f.claims))
	}
}
