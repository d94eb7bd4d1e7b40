package picker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// choke makes a peer refuse all that it was asked for, and serve nothing for d:
// with BEP 6 it rejects each request, without it forgets them.
func (p *simPeer) choke(d time.Duration) {
	p.choking = true
	was := p.pending
	p.pending = nil
	p.s.after(p.rtt/2, func() {
		if p.gone {
			return
		}
		p.s.k.Choked(p.p)
		for _, b := range was {
			if p.p.fast {
				p.s.k.Rejected(p.p, b)
			}
		}
	})
	p.s.after(d, func() {
		if p.choking = false; !p.gone {
			p.s.after(p.rtt/2, func() {
				if !p.gone {
					p.s.k.Unchoked(p.s.now, p.p)
				}
			})
		}
	})
}

// TestReadersShareAPiece: when one of those who want a piece goes, the others lose
// nothing: no block is cancelled, and none is asked for again.
func TestReadersShareAPiece(t *testing.T) {
	for name, prios := range map[string][2]weir.Priority{
		"TwoReaders":        {weir.Blocked, weir.Blocked},
		"ReaderAndWindow":   {weir.Blocked, weir.Window},
		"WindowAndReader":   {weir.Window, weir.Blocked},
		"TwoWindows":        {weir.Window, weir.Window},
		"WindowAndPin":      {weir.Window, weir.Background},
		"PinAndReader":      {weir.Background, weir.Blocked},
		"ReaderAndPin":      {weir.Blocked, weir.Background},
		"TwoPinsOfOnePiece": {weir.Background, weir.Background},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 4, 1<<20, Options{})
			s.join(20*ms, 10e6)
			stays, goes := s.k.NewWant(prios[1]), s.k.NewWant(prios[0])
			s.k.Set(goes, []Span{{0, 2}})
			s.k.Set(stays, []Span{{1, 2}})
			s.run(time.Second, func() bool { return s.k.pieces.open[1] != nil && s.k.pieces.open[1].inFlight > 0 })
			s.k.Close(goes)
			for _, a := range s.k.Pick(s.now) {
				if a.Kind == Cancel && a.Block.Piece == 1 {
					t.Fatalf("block %v is cancelled, and somebody wants it", a.Block)
				}
				p := a.Peer.Ref.(*simPeer)
				if a.Kind == Request {
					s.asked[a.Block]++
				}
				s.after(p.rtt/2, func() { p.hear(a) })
			}
			s.run(5*time.Second, func() bool { return s.k.Held(1) })
			for b, n := range s.asked {
				if b.Piece == 1 && n > 1 {
					t.Errorf("block %v was asked for %d times", b, n)
				}
			}
		})
	}
}

// TestChokeFreesBlocks: what a peer was asked for before it choked us is asked of
// others at once, and nothing of it until it serves again.
func TestChokeFreesBlocks(t *testing.T) {
	for _, fast := range []bool{true, false} {
		for _, prio := range []weir.Priority{weir.Background, weir.Window, weir.Blocked} {
			t.Run(fmt.Sprintf("Fast=%v/%s", fast, prio), func(t *testing.T) {
				s := newSim(t, 8, 1<<20, Options{})
				first := s.join(20*ms, 1e6)
				first.p.fast = fast
				w := s.k.NewWant(prio)
				s.k.Set(w, []Span{{0, 8}})
				s.run(time.Second, func() bool { return first.p.inFlight > 8 })
				second := s.join(20*ms, 5e6)
				second.p.fast = fast
				begin := s.now
				first.choke(time.Hour)
				s.run(20*time.Second, func() bool { return s.k.HeldCount() == 8 })
				if d := s.now.Sub(begin); d > 4*time.Second { // 8 MiB at 5 MB/s are 1.7 s
					t.Errorf("took %v beside a peer that chokes", d)
				}
				if first.p.inFlight > 0 || !first.p.choking {
					t.Errorf("%d requests at a peer that chokes", first.p.inFlight)
				}
			})
		}
	}
}

// TestQueueLimit: nobody is asked for more at a time than it has said, whatever its
// line would take, and who has a long line is asked for all that it takes.
func TestQueueLimit(t *testing.T) {
	for said, most := range map[int]int{1: 1, 7: 7, 0: 250, 500: 500, 1 << 30: 2048} {
		for _, prio := range []weir.Priority{weir.Window, weir.Blocked} {
			t.Run(fmt.Sprintf("%d/%s", said, prio), func(t *testing.T) {
				s := newSim(t, 32, 4<<20, Options{MemoryBytes: 1 << 40})
				p := s.join(time.Second, 40e6) // a window of 2,685 blocks
				p.p.SetMaxRequests(said)
				w := s.k.NewWant(prio)
				s.k.Set(w, []Span{{0, 32}})
				highest := 0
				s.run(time.Hour, func() bool {
					if p.p.inFlight > most {
						t.Fatalf("%d requests at a peer that takes %d", p.p.inFlight, most)
					}
					highest = max(highest, p.p.inFlight)
					return s.k.HeldCount() == min(32, most)
				})
				// Read-ahead grows with what was measured, a read asks for all that it needs.
				if prio == weir.Window && highest < min(most, 250)*9/10 || prio == weir.Blocked && highest < min(most, 1500)*9/10 {
					t.Errorf("at most %d requests at a peer that takes %d", highest, most)
				}
			})
		}
	}
}

// TestWindowsTakeTurns: windows get the same, whichever came first and however
// long they are.
func TestWindowsTakeTurns(t *testing.T) {
	for _, windows := range []int{2, 3, 7} {
		t.Run(fmt.Sprint(windows), func(t *testing.T) {
			const long = 40 // pieces of a window
			s := newSim(t, int64(windows)*long, 256<<10, Options{})
			for range 2 {
				p := s.join(30*ms, 2e6)
				p.p.proven = true
			}
			for i := range windows {
				w := s.k.NewWant(weir.Window)
				s.k.Set(w, []Span{{i * long, (i + 1) * long}})
			}
			got := make([]int, windows)
			s.onPiece = func(i int) { got[i/long]++ }
			s.run(time.Hour, func() bool {
				least, most := got[0], got[0]
				for _, n := range got {
					least, most = min(least, n), max(most, n)
				}
				if most-least > 6 { // a turn is two pieces
					t.Fatalf("windows have got %v pieces", got)
				}
				return most == long
			})
		})
	}
}

// TestHardSwarms: peers that are slow, choke, have half of the pieces, leave or
// lie. A reader gets everything, in a time that the good part of the swarm
// explains, and little is fetched twice.
func TestHardSwarms(t *testing.T) {
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 5))
		const pieces, pieceBytes = 48, 512 << 10
		s := newSim(t, pieces, pieceBytes, Options{})
		steady := s.join(time.Duration(5+r.IntN(100))*ms, 0.5e6+r.Float64()*2e6)
		for range 2 + r.IntN(8) {
			p := s.join(time.Duration(5+r.IntN(300))*ms, []float64{10e3, 100e3, 1e6, 5e6}[r.IntN(4)])
			p.p.fast = r.IntN(2) == 0
			p.p.SetMaxRequests([]int{0, 4, 2000}[r.IntN(3)])
			switch r.IntN(6) {
			case 0:
				have := make([]bool, pieces)
				for i := range have {
					have[i] = r.IntN(2) == 0
				}
				s.k.HasThese(p.p, have)
			case 1, 2:
				var cycle func()
				every, pause := time.Duration(1+r.IntN(8))*time.Second, time.Duration(1+r.IntN(20))*time.Second
				cycle = func() {
					if !p.gone {
						p.choke(pause)
						s.after(pause+every, cycle)
					}
				}
				s.after(every, cycle)
			case 3:
				s.after(time.Duration(r.IntN(4000))*ms, func() {
					if !p.gone {
						p.gone = true
						s.k.Leave(p.p)
					}
				})
			case 4:
				s.after(time.Duration(r.IntN(4000))*ms, func() { p.frozen = true })
			case 5:
				p.corrupt = true
			}
		}
		total, gap := s.stream(0, pieces, 16, 10*time.Minute, nil)
		alone := time.Duration(pieces * pieceBytes / steady.rate * float64(time.Second))
		if total > alone*5/2+5*time.Second {
			t.Errorf("seed %d: took %v, the steady peer alone %v", seed, total, alone)
		}
		// A block may be forgotten for ten seconds by a peer that speaks.
		if limit := forgottenAfter + 2*time.Second + 2*time.Duration(pieceBytes/steady.rate*float64(time.Second)); gap > limit {
			t.Errorf("seed %d: a piece took %v of at most %v", seed, gap, limit)
		}
		if err := s.k.check(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if s.k.HeldCount() != pieces {
			t.Errorf("seed %d: %d pieces of %d", seed, s.k.HeldCount(), pieces)
		}
		t.Logf("seed %d: %v of %v, longest wait %v", seed, total, alone, gap)
		for b, n := range s.asked {
			if n > 100 { // each choke of each peer gives some back
				t.Errorf("seed %d: block %v was asked for %d times", seed, b, n)
			}
		}
	}
}
