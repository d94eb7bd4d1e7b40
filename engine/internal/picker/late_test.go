package picker

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestSlowLine: a peer whose line takes longer for a block than anybody is patient
// sends each block once, whatever the priority: what is on the line is not asked for
// again. Where that takes about as long as answerTime, one may come twice.
func TestSlowLine(t *testing.T) {
	for _, rate := range []float64{5000, 8000, 20_000} {
		for prio := weir.Background; prio <= weir.Blocked; prio++ {
			t.Run(fmt.Sprintf("%.0f/%s", rate, prio), func(t *testing.T) {
				s := newSim(t, 2, 5*weir.BlockBytes, Options{})
				p := s.join(100*ms, rate)
				s.k.Set(s.k.NewWant(prio), []Span{{0, 2}})
				took := s.run(time.Hour, func() bool { return s.k.HeldCount() == 2 })
				most := int64(10 * weir.BlockBytes)
				if rate < 20_000 {
					most += weir.BlockBytes
				}
				if p.sent > most {
					t.Errorf("%d bytes were sent for %d", p.sent, 10*weir.BlockBytes)
				}
				if most := time.Duration(1.3*10*weir.BlockBytes/rate*float64(time.Second)) + 2*time.Second; took > most {
					t.Errorf("took %v, the line %v", took, most)
				}
			})
		}
	}
}

// TestNeverAnswered: a peer that spoke of nothing it was asked for is asked for the
// same again once it has had the time to answer, and not before; another one at once.
func TestNeverAnswered(t *testing.T) {
	for _, fast := range []bool{true, false} {
		t.Run(fmt.Sprintf("Fast=%v", fast), func(t *testing.T) {
			k := New(geometry{1, 2 * weir.BlockBytes}, make([]bool, 1), Options{})
			begin := time.Unix(1000, 0)
			p := serving(k, 1e6, fast)
			k.Set(k.NewWant(weir.Blocked), []Span{{0, 1}})
			k.Pick(begin)
			p.maxRequests = 1
			at := begin.Add(3 * p.meter.patience())
			again := len(requestsIn(k.Pick(at)))
			if want := map[bool]int{true: 0, false: 1}[fast]; again != want { // one without BEP 6 has dropped what was cancelled
				t.Errorf("asked for %d blocks again at once, want %d", again, want)
			}
			if !fast {
				return
			}
			if again := requestsIn(k.Pick(at.Add(askAgainAfter - 1))); len(again) > 0 {
				t.Error("asked for a block again before the time to answer was over")
			}
			if again := requestsIn(k.Pick(at.Add(askAgainAfter))); len(again) != 1 {
				t.Errorf("asked for %d blocks again, want a probe", len(again))
			}
			q := serving(k, 1e6, true)
			if asked := requestsIn(k.Pick(at.Add(askAgainAfter + ms))); len(asked) != 1 || q.inFlight != 1 {
				t.Errorf("another peer is asked for %d blocks, want the one that nobody is asked for", q.inFlight)
			}
		})
	}
}

// TestAnswersInOrder: a peer that was asked for a block again, after the first request
// was taken back, answers both, the first one first.
func TestAnswersInOrder(t *testing.T) {
	b := Block{0, 0}
	for name, c := range map[string]struct {
		answers string // of both requests: a block or a reject
		keep    int    // which of them is of use, none is 2
	}{
		"RejectThenBlock":  {"rb", 1},
		"BlockThenReject":  {"br", 0},
		"BlockThenBlock":   {"bb", 0},
		"RejectThenReject": {"rr", 2},
	} {
		t.Run(name, func(t *testing.T) {
			k := New(geometry{1, weir.BlockBytes}, make([]bool, 1), Options{})
			now := time.Unix(1000, 0)
			p := serving(k, 1e6, true)
			k.Set(k.NewWant(weir.Blocked), []Span{{0, 1}})
			k.Pick(now)
			now = now.Add(3 * p.meter.patience())
			k.Pick(now) // takes it back
			now = now.Add(askAgainAfter)
			if k.Pick(now); p.inFlight != 1 || k.Busy() != true {
				t.Fatalf("%d requests", p.inFlight)
			}
			for i, a := range c.answers {
				now = now.Add(ms)
				if a == 'r' {
					k.Rejected(p, b)
					if want := map[bool]int{true: 1}[i == 0 && c.answers != "br"]; p.inFlight != want {
						t.Errorf("%d requests after the %dth answer, want %d", p.inFlight, i+1, want)
					}
					continue
				}
				if d := k.Received(now, p, b, nil); d.Kept != (i == c.keep) || !d.Asked {
					t.Errorf("answer %d: %+v", i+1, d)
				}
			}
			if k.Received(now, p, b, nil).Asked {
				t.Error("a third answer counts as asked for")
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTakenBackTwice: a peer that is asked for a block three times, and twice given up
// before it answers, answers three times.
func TestTakenBackTwice(t *testing.T) {
	for _, reject := range []bool{false, true} {
		k := New(geometry{1, weir.BlockBytes}, make([]bool, 1), Options{})
		now, b := time.Unix(1000, 0), Block{0, 0}
		p := serving(k, 1e6, true)
		k.Set(k.NewWant(weir.Blocked), []Span{{0, 1}})
		for range 3 {
			if asked := requestsIn(k.Pick(now)); len(asked) != 1 {
				t.Fatalf("%d requests, want one", len(asked))
			}
			now = now.Add(maxGiveUp)
			k.Pick(now) // takes it back
			now = now.Add(askAgainAfter)
		}
		for i := range 3 {
			if reject && i < 2 {
				k.Rejected(p, b)
			} else if d := k.Received(now, p, b, nil); !d.Asked {
				t.Errorf("answer %d was not asked for: %+v", i+1, d)
			}
		}
		if k.Received(now, p, b, nil).Asked {
			t.Error("a fourth answer counts as asked for")
		}
		if err := k.check(); err != nil {
			t.Error(err)
		}
	}
}

// TestAsked: blocks that came for a reason are told from those that a peer pushes.
func TestAsked(t *testing.T) {
	k := New(geometry{2, 4 * weir.BlockBytes}, make([]bool, 2), Options{})
	now := time.Unix(1000, 0)
	a, b := serving(k, 1e6, true), serving(k, 1e6, true)
	asked := func(p *Peer, block Block, want, keep bool) {
		t.Helper()
		if d := k.Received(now, p, block, nil); d.Asked != want || d.Kept != keep {
			t.Errorf("%+v", d)
		}
	}
	asked(a, Block{0, 0}, false, false) // nobody wants the piece
	w := k.NewWant(weir.Blocked)
	k.Set(w, []Span{{0, 1}})
	asked(a, Block{0, 0}, false, false) // nobody was asked for it
	k.Pick(now)
	k.Leave(b) // so that all is asked of a
	k.Pick(now)
	asked(a, Block{0, 0}, true, true)
	asked(a, Block{0, 0}, false, false)
	b = serving(k, 1e6, true)
	now = now.Add(2 * a.meter.patience())
	k.Pick(now) // hedges
	if b.inFlight == 0 {
		t.Fatal("nothing is asked of the other one")
	}
	block := Block{0, b.oldest.index}
	asked(b, block, true, true)
	asked(a, block, true, false) // both had been asked
	asked(a, block, false, false)
	if st := k.Stats(); st.Received != 2 || st.Wasted != 5 {
		t.Errorf("%d blocks were of use and %d not, want 2 and 5", st.Received, st.Wasted)
	}
	block = Block{0, a.oldest.index}
	k.Close(w)
	asked(a, block, true, true) // it was on its way when nobody wanted it any more
}
