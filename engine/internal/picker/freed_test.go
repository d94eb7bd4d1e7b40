package picker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// serving adds a peer with a measured rate that has everything and serves us.
func serving(k *Picker, rate float64, fast bool) *Peer {
	p := k.Join(PeerOptions{RTT: 20 * ms, Fast: fast})
	k.HasAll(p)
	k.Unchoked(time.Time{}, p)
	p.meter.rate, p.meter.measured = rate, true
	return p
}

// requestsIn returns which blocks are asked of whom.
func requestsIn(acts []Action) map[Block][]*Peer {
	asked := map[Block][]*Peer{}
	for _, a := range acts {
		if a.Kind == Request {
			asked[a.Block] = append(asked[a.Block], a.Peer)
		}
	}
	return asked
}

// TestFreedBlocks: whatever sets blocks free, the next Pick asks somebody else for
// them, at every priority, and what is asked of others stays as it is.
func TestFreedBlocks(t *testing.T) {
	for name, free := range map[string]func(k *Picker, now time.Time, p *Peer, asked []Block){
		"HasNot": func(k *Picker, _ time.Time, p *Peer, _ []Block) {
			for i := range 4 {
				k.HasNot(p, i)
			}
		},
		"HasOthers": func(k *Picker, _ time.Time, p *Peer, _ []Block) { k.HasThese(p, make([]bool, 4)) },
		"Choked":    func(k *Picker, _ time.Time, p *Peer, _ []Block) { k.Choked(p) },
		"Left":      func(k *Picker, _ time.Time, p *Peer, _ []Block) { k.Leave(p) },
		"Rejected": func(k *Picker, _ time.Time, p *Peer, asked []Block) {
			for range maxRefusals {
				for _, b := range asked {
					k.Rejected(p, b)
				}
			}
			p.maxRequests = 0 // else it is asked again, which is no fault
		},
	} {
		for prio := weir.Background; prio <= weir.Blocked; prio++ {
			t.Run(fmt.Sprintf("%s/%s", name, prio), func(t *testing.T) {
				k := New(geometry{4, 8 * weir.BlockBytes}, make([]bool, 4), Options{})
				now := time.Unix(1000, 0)
				a, b := serving(k, 20e6, false), serving(k, 20e6, false)
				k.Set(k.NewWant(prio), []Span{{0, 4}})
				had := map[*Peer][]Block{}
				for block, peers := range requestsIn(k.Pick(now)) {
					had[peers[0]] = append(had[peers[0]], block)
				}
				if len(had[a])+len(had[b]) != 32 || len(had[a]) == 0 || len(had[b]) == 0 {
					t.Fatalf("%d and %d of 32 blocks are asked for", len(had[a]), len(had[b]))
				}
				k.Pick(now) // finds nothing to do, and remembers that
				free(k, now, a, had[a])
				if err := k.check(); err != nil {
					t.Fatal(err)
				}
				again := requestsIn(k.Pick(now.Add(ms)))
				for block, peers := range again {
					if !slices.Contains(had[a], block) || len(peers) != 1 || peers[0] != b {
						t.Errorf("%v is asked for again", block)
					}
				}
				if len(again) != len(had[a]) || a.inFlight != 0 || b.inFlight != 32 {
					t.Errorf("%d of %d freed blocks are asked for, %d and %d requests are live", len(again), len(had[a]), a.inFlight, b.inFlight)
				}
			})
		}
	}
}

// TestSilence: a peer that is silent beyond its patience gets one block at a time,
// and after three times of it all is taken back. What nobody wants is forgotten.
func TestSilence(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		t.Run(fmt.Sprintf("Wanted=%v", wanted), func(t *testing.T) {
			k := New(geometry{4, 8 * weir.BlockBytes}, make([]bool, 4), Options{})
			now := time.Unix(1000, 0)
			p := serving(k, 2e6, true)
			w := k.NewWant(weir.Window)
			k.Set(w, []Span{{0, 1}})
			if n := len(k.Pick(now)); n != 8 {
				t.Fatalf("%d requests", n)
			}
			if !wanted {
				k.Close(w)
			}
			patience := p.meter.patience()
			k.Pick(now.Add(patience))
			if p.silence != answering || p.inFlight != 8 {
				t.Errorf("silence %v, %d requests, at the end of its patience", p.silence, p.inFlight)
			}
			k.Set(k.NewWant(weir.Window), []Span{{1, 4}})
			k.Pick(now.Add(patience + 1))
			if p.silence != slow || p.inFlight != 8 {
				t.Errorf("silence %v, %d requests, beyond its patience", p.silence, p.inFlight)
			}
			k.Pick(now.Add(3*patience - 1))
			if p.silence.isSnubbed() || p.inFlight != 8 {
				t.Errorf("silence %v, %d requests, before three times its patience", p.silence, p.inFlight)
			}
			cancels := 0
			for _, a := range k.Pick(now.Add(3 * patience)) {
				if a.Kind == Cancel {
					cancels++
				}
			}
			if want := map[bool]int{true: 8, false: 0}[wanted]; !p.silence.isSnubbed() || p.inFlight != 1 || cancels != want {
				t.Errorf("silence %v, %d requests, %d cancels, want a probe and %d", p.silence, p.inFlight, cancels, want)
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
			// What comes after all is of use, and it is asked for all again.
			if wanted {
				if d := k.Received(now.Add(4*patience), p, Block{0, 7}, nil); !d.Kept || p.silence != answering {
					t.Errorf("%+v, silence %v", d, p.silence)
				}
			}
		})
	}
}

// TestForgottenRequests: a peer that speaks and leaves one request unanswered loses
// that one alone, ten seconds after it was due.
func TestForgottenRequests(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second} { // ours, under a limit
		forgottenRequest(t, delay)
	}
}

func forgottenRequest(t *testing.T, delay time.Duration) {
	t.Helper()
	k := New(geometry{64, 4 * weir.BlockBytes}, make([]bool, 64), Options{})
	begin := time.Unix(1000, 0)
	p := serving(k, 1e6, true)
	k.SetDelay(delay)
	k.Set(k.NewWant(weir.Window), []Span{{0, 64}})
	k.Pick(begin)
	lost := p.oldest
	block := Block{lost.copy.index, lost.index}
	for now := begin; now.Before(begin.Add(12*time.Second + delay)); now = now.Add(50 * ms) {
		if r := p.newest; r != lost && r != nil {
			k.Received(now, p, Block{r.copy.index, r.index}, nil)
		}
		late := now.Sub(lost.due) > forgottenAfter+delay
		cancelled := false
		for _, a := range k.Pick(now) {
			if a.Kind == Cancel {
				if cancelled = true; a.Block != block {
					t.Fatalf("%v is cancelled after %v", a.Block, now.Sub(begin))
				}
			}
		}
		if cancelled != late {
			t.Fatalf("cancelled %v at %v, due at %v", cancelled, now.Sub(begin), lost.due.Sub(begin))
		}
		if late {
			return
		}
	}
	t.Error("a request is waited for without end")
}

// shortLast is a geometry whose last piece has one block.
type shortLast struct{ geometry }

func (g shortLast) PieceRange(i int) weir.Range {
	r := g.geometry.PieceRange(i)
	if i == g.NumPieces()-1 {
		r.End = r.Off + weir.BlockBytes
	}
	return r
}

// TestInOrder: where memory is short, pieces are begun in the order of the want and
// none is passed over for a smaller one, at every priority.
func TestInOrder(t *testing.T) {
	for prio := weir.Background; prio <= weir.Blocked; prio++ {
		t.Run(prio.String(), func(t *testing.T) {
			const pieceBytes = 8 * weir.BlockBytes
			const memory = 2*pieceBytes + 3*weir.BlockBytes
			k := New(shortLast{geometry{8, pieceBytes}}, make([]bool, 8), Options{MemoryBytes: memory})
			now := time.Unix(1000, 0)
			p := serving(k, 100e6, true)
			k.Set(k.NewWant(prio), []Span{{3, 8}, {0, 2}})
			begun := func(want ...int) {
				t.Helper()
				k.Pick(now)
				var got []int
				for i, p := range k.pieces.open {
					if p.begun() {
						got = append(got, i)
					}
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("pieces %v are begun, want %v", got, want)
				}
				if k.Begun() > memory {
					t.Errorf("%d bytes are begun", k.Begun())
				}
			}
			finish := func(index, blocks int) {
				for i := range blocks {
					if now = now.Add(ms); !k.Received(now, p, Block{index, i}, nil).Kept {
						t.Fatalf("block %d of piece %d was not asked for", i, index)
					}
				}
				k.Verified(&k.pieces.open[index].Copy, nil)
			}
			begun(3, 4)
			finish(3, 8)
			k.SetMemory(memory - pieceBytes)
			begun(4) // the memory is in use until the piece is committed
			k.SetMemory(memory)
			begun(4, 5)
			finish(4, 8)
			finish(5, 8)
			begun(0, 6, 7)
		})
	}
}

// TestAllowedPieces: what a choking peer allows is taken from it, 64 pieces at most,
// and nonsense takes the place of none.
func TestAllowedPieces(t *testing.T) {
	const pieces = 100
	k := New(geometry{pieces, weir.BlockBytes}, make([]bool, pieces), Options{})
	p := k.Join(PeerOptions{Fast: true, MaxRequests: 1000})
	k.HasAll(p)
	p.meter.rate, p.meter.measured = 1e9, true
	for i := range 200 {
		k.Allowed(p, -1-i)
		k.Allowed(p, pieces+i)
	}
	k.Set(k.NewWant(weir.Blocked), []Span{{0, pieces}})
	if n := len(k.Pick(time.Unix(1000, 0))); n > 0 {
		t.Errorf("%d requests to a peer that allows what there is not", n)
	}
	for i := range 70 {
		k.Allowed(p, i)
	}
	asked := requestsIn(k.Pick(time.Unix(1000, 0)))
	for i := range pieces {
		if got := len(asked[Block{i, 0}]) > 0; got != (i < 64) {
			t.Errorf("piece %d is asked for: %v", i, got)
		}
	}
}

// TestSilentReadAhead: while a read waits, what a silent peer was asked for is asked
// of another as well, once, read-ahead too; without a read that waits it is not.
func TestSilentReadAhead(t *testing.T) {
	for _, reading := range []bool{true, false} {
		t.Run(fmt.Sprintf("Reading=%v", reading), func(t *testing.T) {
			k := New(geometry{16, 4 * weir.BlockBytes}, make([]bool, 16), Options{})
			now := time.Unix(1000, 0)
			silent := serving(k, 4e6, true)
			silent.proven = true
			k.Set(k.NewWant(weir.Window), []Span{{0, 4}})
			k.Set(k.NewWant(weir.Background), []Span{{8, 9}})
			before := requestsIn(k.Pick(now))
			if len(before) != 20 {
				t.Fatalf("%d blocks are asked for", len(before))
			}
			other := serving(k, 20e6, true)
			other.proven = true
			if reading {
				k.Set(k.NewWant(weir.Blocked), []Span{{12, 13}})
			}
			again := map[Block]int{}
			limit := 3*silent.meter.patience() - ms
			for at := time.Duration(0); at < limit; at += 10 * ms {
				for b, peers := range requestsIn(k.Pick(now.Add(at))) {
					if _, ok := before[b]; ok {
						again[b] += len(peers)
						if at <= silent.meter.patience() {
							t.Errorf("%v is asked for again after %v", b, at)
						}
					}
				}
				for other.oldest != nil { // it answers at once
					k.Received(now.Add(at), other, Block{other.oldest.copy.index, other.oldest.index}, nil)
				}
			}
			for b := range before {
				want := 0
				if reading && b.Piece < 4 {
					want = 1
				}
				if again[b] != want {
					t.Errorf("%v is asked for again %d times, want %d", b, again[b], want)
				}
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}
