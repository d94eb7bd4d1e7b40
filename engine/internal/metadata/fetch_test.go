package metadata

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"testing"
	"time"
)

// sizeOfThree is a dictionary of three pieces, the last of 10 bytes.
const sizeOfThree = 2*PieceBytes + 10

var start = time.Unix(1000, 0)

// pieceOf returns a piece of a dictionary of some size.
func pieceOf(size, i int) []byte {
	return bytes.Repeat([]byte{byte(i + 1)}, min(PieceBytes, size-i*PieceBytes))
}

// newFetch returns a Fetch to which the peers claim a size, each by itself.
func newFetch(size int, peers ...string) *Fetch[string] {
	f := New[string](64<<20, never)
	for _, p := range peers {
		f.Claim(p, p, size)
	}
	return f
}

func TestAsks(t *testing.T) {
	t.Run("SharedOut", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a", "b")
		if got := f.Ask("a", start); !slices.Equal(got, []int{0, 1, 2}) {
			t.Fatalf("asks %v", got)
		}
		if got := f.Ask("b", start); !slices.Equal(got, []int{0}) {
			t.Fatalf("asks %v of one that nothing is known of", got)
		}
		if got := f.Ask("b", start); got != nil {
			t.Fatalf("asks %v twice", got)
		}
		if f.Received("b", 1, pieceOf(sizeOfThree, 1), start) {
			t.Error("took what the peer was not asked for")
		}
		for _, i := range []int{2, 0, 1} {
			if !f.Received("a", i, pieceOf(sizeOfThree, i), start) {
				t.Errorf("piece %d not taken", i)
			}
		}
		size, got, from := f.Complete()
		want := slices.Concat(pieceOf(sizeOfThree, 0), pieceOf(sizeOfThree, 1), pieceOf(sizeOfThree, 2))
		if size != sizeOfThree || !bytes.Equal(got, want) || !slices.Equal(from, []string{"a"}) {
			t.Errorf("complete: %d, %d bytes from %v", size, len(got), from)
		}
		if _, again, _ := f.Complete(); again != nil {
			t.Error("complete twice")
		}
	})
	t.Run("SlowPeerIsHelped", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a", "b")
		f.Ask("a", start)
		later := start.Add(patience)
		if got := f.Ask("a", later); got != nil {
			t.Fatalf("asks %v of the same peer again", got)
		}
		if got := f.Ask("b", later); len(got) != 3 {
			t.Fatalf("asks %v of the other", got)
		}
		for i := range 3 { // late, and as good
			f.Received("a", i, pieceOf(sizeOfThree, i), later)
		}
		if _, got, _ := f.Complete(); len(got) != sizeOfThree {
			t.Error("what came late was thrown away")
		}
	})
	t.Run("WhoAnswersNeedsNotWait", func(t *testing.T) {
		f := newFetch(sizeOfThree, "silent", "b")
		f.Ask("silent", start)
		f.Ask("b", start)
		if !f.Received("b", 0, pieceOf(sizeOfThree, 0), start) {
			t.Fatal("not taken")
		}
		if got := f.Ask("b", start); !slices.Equal(got, []int{1, 2}) {
			t.Fatalf("asks %v of the one who answers", got)
		}
		if got := f.Ask("silent", start); got != nil {
			t.Fatalf("asks %v of the other", got)
		}
	})
	t.Run("SilentPeerIsLeftAlone", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a")
		f.Ask("a", start)
		if got := f.Ask("a", start.Add(giveUp)); got != nil {
			t.Fatalf("asks %v of a silent peer", got)
		}
		if got := f.Ask("a", start.Add(giveUp+suspendedFor)); len(got) != 3 {
			t.Fatalf("asks %v after the rest", got)
		}
	})
	t.Run("WrongHashThenAlone", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a", "b")
		f.Ask("a", start)
		for i := range 3 {
			f.Received("a", i, pieceOf(sizeOfThree, i), start)
		}
		f.Complete()
		f.Failed(sizeOfThree, start)
		if _, got, _ := f.Complete(); got != nil {
			t.Fatal("complete after it failed")
		}
		if got := f.Ask("b", start); len(got) != 3 {
			t.Fatalf("asks %v", got)
		}
		if got := f.Ask("a", start); got != nil {
			t.Fatalf("asks %v of a second peer", got)
		}
		f.Leave("b")
		if got := f.Ask("a", start); len(got) != 3 {
			t.Errorf("asks %v once the first is gone", got)
		}
	})
	t.Run("Refused", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a", "b")
		f.Ask("a", start)
		f.Refused("a", start)
		if got := f.Ask("a", start); got != nil {
			t.Errorf("asks %v of a peer that refused", got)
		}
		if got := f.Ask("b", start); len(got) != 3 {
			t.Errorf("asks %v of the other", got)
		}
	})
	t.Run("WrongLengthIsIgnored", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a")
		f.Ask("a", start)
		for _, i := range []int{2, 7, -1} {
			if f.Received("a", i, pieceOf(sizeOfThree, 0), start) {
				t.Errorf("took piece %d of the wrong length", i)
			}
		}
	})
	t.Run("OneClaimEach", func(t *testing.T) {
		f := newFetch(sizeOfThree, "a")
		for i := range 1000 {
			f.Claim("a", "a", 1<<20+i)
		}
		if len(f.sizes) != 1 || len(f.Ask("a", start)) != 3 {
			t.Errorf("%d sizes are assembled", len(f.sizes))
		}
	})
	t.Run("TooLarge", func(t *testing.T) {
		f := newFetch(64<<20+1, "a", "b")
		f.Claim("c", "c", 1<<62)
		f.Claim("d", "d", 0)
		f.Claim("e", "e", -5)
		if f.TooLarge() != 64<<20+1 || f.Ask("a", start) != nil || len(f.sizes) != 0 {
			t.Errorf("%d is too large; %d sizes are assembled", f.TooLarge(), len(f.sizes))
		}
		f.Leave("a")
		f.Leave("b")
		f.Leave("c")
		if f.TooLarge() != 0 {
			t.Error("too large is what nobody claims")
		}
	})
}

// sum is a Sum that knows what is right.
type sum struct{ got, want hash.Hash }

func (s *sum) Add(b []byte) { s.got.Write(b) }
func (s *sum) Right() bool  { return bytes.Equal(s.got.Sum(nil), s.want.Sum(nil)) }

// never is a sum that nothing has.
func never() Sum {
	want := sha256.New()
	want.Write([]byte("something else"))
	return &sum{sha256.New(), want}
}

// sumOf is the sum of the dictionary of a size that pieceOf makes.
func sumOf(size int) func() Sum {
	return func() Sum {
		want := sha256.New()
		for i := range Pieces(size) {
			want.Write(pieceOf(size, i))
		}
		return &sum{sha256.New(), want}
	}
}

// TestLarge: of a dictionary that is large nothing is kept but its hashes before they
// are right; then it is fetched again, and no piece is taken that differs.
func TestLarge(t *testing.T) {
	const size = onceBytes + PieceBytes + 10
	// turn lets a peer answer what it is asked for until nothing is complete.
	turn := func(t *testing.T, f *Fetch[string], p string, forge func(data []byte) []byte) (b []byte, from []string, done bool) {
		t.Helper()
		for range 4 * Pieces(size) {
			f.Round(start)
			asked := f.Ask(p, start)
			slices.Reverse(asked) // out of order
			for _, i := range asked {
				f.Received(p, i, forge(pieceOf(size, i)), start)
				if f.Bytes() > size+maxAhead*PieceBytes+1<<20 {
					t.Fatalf("%d bytes are held", f.Bytes())
				}
			}
			if n, b, from := f.Complete(); n != 0 {
				return b, from, true
			}
		}
		return nil, nil, false
	}
	honest := func(data []byte) []byte { return data }
	forged := func(data []byte) []byte { return append([]byte{77}, data[1:]...) }
	newFetch := func(peers ...string) *Fetch[string] {
		f := New[string](64<<20, sumOf(size))
		for _, p := range peers {
			f.Claim(p, p, size)
		}
		return f
	}
	t.Run("Wrong", func(t *testing.T) {
		f := newFetch("liar")
		b, from, done := turn(t, f, "liar", forged)
		if !done || b != nil || !slices.Equal(from, []string{"liar"}) {
			t.Fatalf("complete: %v, %d bytes from %v", done, len(b), from)
		}
		f.Failed(size, start)
		f.Leave("liar")
		f.Claim("honest", "honest", size)
		if b, _, done := turn(t, f, "honest", honest); !done || len(b) != size {
			t.Fatalf("after it was wrong once: %v, %d bytes", done, len(b))
		}
	})
	t.Run("Right", func(t *testing.T) {
		f := newFetch("a")
		b, from, done := turn(t, f, "a", honest)
		want := sumOf(size)().(*sum)
		want.Add(b)
		if !done || len(b) != size || !want.Right() || !slices.Equal(from, []string{"a"}) {
			t.Fatalf("complete: %v, %d bytes from %v", done, len(b), from)
		}
	})
	t.Run("WrongTheSecondTime", func(t *testing.T) {
		f := newFetch("a", "liar")
		var got int
		for range 2 * Pieces(size) {
			f.Round(start)
			for _, i := range f.Ask("a", start) {
				f.Received("a", i, pieceOf(size, i), start)
			}
			if f.sizes[size].hashes.right {
				break
			}
		}
		if !f.sizes[size].hashes.right || f.Bytes() > 1<<20 {
			t.Fatalf("hashed: %v, %d bytes are held", f.sizes[size].hashes.right, f.Bytes())
		}
		for _, i := range f.Ask("liar", start) {
			if f.Received("liar", i, forged(pieceOf(size, i)), start) {
				got++
			}
		}
		if got > 0 || f.Ask("liar", start) != nil {
			t.Errorf("%d forged pieces were taken", got)
		}
		if b, from, done := turn(t, f, "a", honest); !done || len(b) != size || !slices.Equal(from, []string{"a"}) {
			t.Errorf("complete: %v, %d bytes from %v", done, len(b), from)
		}
	})
	t.Run("LittleIsHeldMeanwhile", func(t *testing.T) {
		f := New[string](64<<20, never)
		for i := range 20 {
			f.Claim(fmt.Sprint(i), fmt.Sprint(i), 60<<20+i)
		}
		var peak int64
		for range 200 {
			f.Round(start)
			for i := range 20 {
				for _, piece := range f.Ask(fmt.Sprint(i), start) {
					f.Received(fmt.Sprint(i), piece, pieceOf(60<<20+i, piece), start)
				}
			}
			peak = max(peak, f.Bytes())
		}
		if peak > 1<<20 {
			t.Errorf("%d bytes are held of what may be anything", peak)
		}
	})
}

// world is peers of which each claims a size, and sends so many pieces a round.
type world struct {
	f     *Fetch[string]
	now   time.Time
	peers []speaker
	peak  int64
}

type speaker struct {
	name, voter string
	size, speed int
	wrong       bool
	queue       []int
}

// run lets rounds of 100 ms pass until the size is complete, and returns how many.
func (w *world) run(size, most int) int {
	for i := range w.peers {
		w.f.Claim(w.peers[i].name, w.peers[i].voter, w.peers[i].size)
	}
	for round := range most {
		w.now = w.now.Add(100 * time.Millisecond)
		w.f.Round(w.now)
		for i := range w.peers {
			p := &w.peers[i]
			p.queue = append(p.queue, w.f.Ask(p.name, w.now)...)
			for range min(p.speed, len(p.queue)) {
				w.f.Received(p.name, p.queue[0], pieceOf(p.size, p.queue[0]), w.now)
				p.queue = p.queue[1:]
			}
		}
		w.peak = max(w.peak, w.f.Bytes())
		for {
			done, b, from := w.f.Complete()
			if done == 0 {
				break
			}
			wrong := done != size || b == nil
			for _, p := range w.peers {
				wrong = wrong || p.wrong && slices.Contains(from, p.name)
			}
			if !wrong {
				return round
			}
			w.f.Failed(done, w.now)
			if len(from) == 1 {
				w.f.Leave(from[0])
				w.peers = slices.DeleteFunc(w.peers, func(p speaker) bool { return p.name == from[0] })
			}
		}
	}
	return most
}

// TestLiars: whatever others claim and send, one honest peer is enough, memory
// follows what arrives, and a small dictionary comes as fast as without them.
func TestLiars(t *testing.T) {
	const small, large = 100 << 10, 5 << 20
	for name, liar := range map[string]func(i int) speaker{
		"NoneThere":          nil,
		"ClaimMuch":          func(i int) speaker { return speaker{size: 60<<20 + i} },
		"ClaimTooMuch":       func(i int) speaker { return speaker{size: 256<<20 + i} },
		"ClaimLittle":        func(i int) speaker { return speaker{size: 1 + i, speed: 1} },
		"ClaimTheSame":       func(int) speaker { return speaker{size: -1} },
		"SendSlowly":         func(i int) speaker { return speaker{size: 300<<10 + i, speed: 1} },
		"SendMuch":           func(i int) speaker { return speaker{size: 60<<20 + i, speed: 100} },
		"SendWrong":          func(int) speaker { return speaker{size: -1, speed: 100, wrong: true} },
		"OneAddressClaimsIt": func(int) speaker { return speaker{size: 50 << 20, voter: "liars"} },
	} {
		for _, size := range []int{small, large} {
			w := &world{f: New[string](64<<20, never), now: start}
			for i := range 20 {
				if liar == nil {
					break
				}
				p := liar(i)
				p.name = fmt.Sprint("liar", i)
				if p.voter == "" {
					p.voter = p.name
				}
				if p.size < 0 {
					p.size = size
				}
				w.peers = append(w.peers, p)
			}
			w.peers = append(w.peers, speaker{name: "honest", voter: "honest", size: size, speed: 32})
			took, bound := w.run(size, 40_000), 20
			switch {
			case name == "NoneThere":
			case name == "SendWrong":
				bound = 20 * 450 // each of twenty is asked alone until it gives up, and rests
			case size == large:
				bound = 20 * 250 // they have their turns
			}
			if took > bound {
				t.Errorf("%s: %d bytes take %d rounds", name, size, took)
			}
			if w.peak > 2*(64<<20)+21*SmallBytes {
				t.Errorf("%s: %d bytes are held", name, w.peak)
			}
			if name == "ClaimMuch" && w.peak > 2*int64(size)+SmallBytes {
				t.Errorf("%d bytes are held on the word of peers that send nothing", w.peak)
			}
		}
	}
}

// TestRoom: without room for more, large dictionaries wait, and small ones don't.
func TestRoom(t *testing.T) {
	w := &world{f: New[string](64<<20, never), now: start, peers: []speaker{{name: "a", voter: "a", size: 5 << 20, speed: 32}}}
	w.f.SetRoom(0)
	if w.run(5<<20, 100) != 100 || w.f.Bytes() > SmallBytes {
		t.Errorf("%d bytes are held without room", w.f.Bytes())
	}
	w.f.SetRoom(64 << 20)
	if w.run(5<<20, 100) == 100 {
		t.Error("it does not go on when there is room")
	}
	w.f.SetRoom(0)
	w.peers = []speaker{{name: "b", voter: "b", size: SmallBytes, speed: 32}}
	if w.run(SmallBytes, 100) == 100 {
		t.Error("a small one waits")
	}
}

// TestLeave: peers that come and go leave little behind.
func TestLeave(t *testing.T) {
	f := New[string](64<<20, never)
	for i := range 500 {
		name := fmt.Sprint(i)
		f.Claim(name, name, 1<<20+i)
		f.Round(start)
		for _, piece := range f.Ask(name, start) {
			f.Received(name, piece, pieceOf(1<<20+i, piece), start)
		}
		f.Leave(name)
	}
	if len(f.sizes) > 1 || f.Bytes() > SmallBytes || len(f.claims) != 0 {
		t.Errorf("left are %d sizes, %d bytes", len(f.sizes), f.Bytes())
	}
	// The one that is kept goes on with the next peer.
	for _, a := range f.sizes {
		f.Claim("next", "next", a.size)
		f.Round(start)
		if got := f.Ask("next", start); len(got) == 0 || got[0] != SmallBytes/PieceBytes {
			t.Errorf("goes on with %v", got)
		}
	}
}
