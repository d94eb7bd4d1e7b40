package metadata

import (
	"bytes"
	"fmt"
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
	f := New[string](64 << 20)
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
		if got := f.Ask("a", start.Add(giveUp+restFor)); len(got) != 3 {
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
			if b == nil {
				break
			}
			wrong := done != size
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
			w := &world{f: New[string](64 << 20), now: start}
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
	w := &world{f: New[string](64 << 20), now: start, peers: []speaker{{name: "a", voter: "a", size: 5 << 20, speed: 32}}}
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
	f := New[string](64 << 20)
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
