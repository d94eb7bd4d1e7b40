package picker

import (
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// newTrialPicker returns a picker whose piece 0 has failed with a block of each of n peers,
// the digest of block i being i.
func newTrialPicker(t *testing.T, prio weir.Priority, n int) (*Picker, []*Peer, time.Time) {
	t.Helper()
	k := New(geometry{2, int64(n) * weir.BlockBytes}, make([]bool, 2), Options{})
	now := time.Unix(1000, 0)
	var peers []*Peer
	k.Set(k.NewWant(weir.Blocked), []Span{{0, 1}})
	for range n {
		p := serving(k, 10e6, true)
		p.maxRequests = 1
		peers = append(peers, p)
	}
	sums := make([]uint64, n)
	for b, p := range requestsIn(k.Pick(now)) {
		sums[b.Index] = uint64(slices.Index(peers, p[0]))
		if d := k.Received(now, p[0], b, nil); !d.Kept || d.Complete != nil && d.Complete.trial {
			t.Fatalf("%+v", d)
		}
	}
	for _, p := range peers {
		p.maxRequests = 100
	}
	guilty := k.Failed(now, &k.pieces.open[0].Copy, sums)
	if len(guilty) > 0 || len(k.pieces.open[0].trials) != n || !k.Suspicious(0) {
		t.Fatalf("%d guilty, %d trials, suspicious %v", len(guilty), len(k.pieces.open[0].trials), k.Suspicious(0))
	}
	if prio != weir.Blocked {
		k.Close(k.wants.byPriority[weir.Blocked][0])
		k.Set(k.NewWant(prio), []Span{{0, 1}})
	}
	return k, peers, now
}

// trying returns the peers that are asked, each for all that its copy lacks.
func trying(t *testing.T, k *Picker, now time.Time) (asked []*Peer) {
	t.Helper()
	counts := map[*Peer]int{}
	for _, p := range requestsIn(k.Pick(now)) {
		for _, p := range p {
			counts[p]++
		}
	}
	for p, n := range counts {
		asked = append(asked, p)
		if lacks := k.pieces.open[0].trialOf(p).missing; n != lacks {
			t.Errorf("a peer is asked for %d blocks, its copy lacks %d", n, lacks)
		}
	}
	if err := k.check(); err != nil {
		t.Error(err)
	}
	return asked
}

// TestTrials: a piece on trial is asked of one peer, of two while a read waits, of
// one more for every two seconds; of peers with a good name first, and of such the
// fastest; never of one that is silent.
func TestTrials(t *testing.T) {
	for prio, first := range map[weir.Priority]int{weir.Background: 1, weir.Window: 1, weir.Blocked: 2} {
		t.Run(prio.String(), func(t *testing.T) {
			k, peers, now := newTrialPicker(t, prio, 8)
			order := []int{6, 1, 4, 0, 7, 2, 5, 3} // in which they are to be tried
			for at, i := range order {
				peers[i].proven = at < 3
				peers[i].meter.rate = float64(3e6 * (3 - at))
				if at >= 3 {
					peers[i].meter.rate = float64(1e7 * (len(order) - at)) // faster, and without a name
				}
			}
			var got []int
			for step := range 4 {
				at := now.Add(time.Duration(step)*trialEvery - 1)
				var asked []*Peer
				if step == 0 || prio > weir.Background { // which is looked at once a second
					asked = trying(t, k, at)
				}
				if step == 0 {
					asked = append(asked, trying(t, k, now)...)
				}
				if n := len(asked); step == 0 && n != first || step > 0 && n != 0 {
					t.Errorf("%d trials begin after %v", n, at.Sub(now))
				}
				more := trying(t, k, now.Add(time.Duration(step)*trialEvery))
				if step > 0 && len(more) != 1 {
					t.Errorf("%d trials begin after %v", len(more), time.Duration(step)*trialEvery)
				}
				for _, p := range append(asked, more...) {
					got = append(got, slices.Index(peers, p))
					p.meter.last = now.Add(time.Hour) // it is not silent
				}
			}
			if first == 2 && len(got) > 1 && got[0] == order[1] {
				got[0], got[1] = got[1], got[0] // asked at once
			}
			if want := order[:first+3]; !slices.Equal(got, want) {
				t.Errorf("tried %v, want %v", got, want)
			}
		})
	}
}

// TestSilentOnesAreNotTried: whoever owes answers is passed over, and for one that
// falls silent in its trial another begins.
func TestSilentOnesAreNotTried(t *testing.T) {
	k, peers, now := newTrialPicker(t, weir.Window, 4)
	peers[0].silence, peers[1].behindHedge = probed, true
	peers[0].meter.rate, peers[1].meter.rate, peers[2].meter.rate = 1e9, 1e8, 1e7
	peers[3].meter.rate = 1e6
	peers[1].meter.busySince, peers[1].meter.last = now.Add(-time.Hour), time.Time{}
	if asked := trying(t, k, now); len(asked) != 1 || asked[0] != peers[2] {
		t.Fatalf("%d peers are tried, want the third", len(asked))
	}
	if asked := trying(t, k, now.Add(peers[2].meter.patience()+ms)); len(asked) != 1 || asked[0] != peers[3] {
		t.Errorf("%d peers are tried after the third fell silent, want the fourth", len(asked))
	}
}

// TestGuilty: a copy that is right tells who gave other blocks before, each once,
// and those have no good name any more; a copy that is wrong tells its giver.
func TestGuilty(t *testing.T) {
	for name, wrong := range map[string][]int{"Nobody": nil, "One": {2}, "Two": {0, 3}, "All": {0, 1, 2, 3}} {
		t.Run(name, func(t *testing.T) {
			k, peers, now := newTrialPicker(t, weir.Blocked, 4)
			a := k.pieces.open[0].failed
			a.from, a.digests = append(a.from, a.from...), append(a.digests, a.digests...) // two blocks of each
			for _, p := range peers {
				p.proven = true
			}
			sums := slices.Clone(a.digests)
			var want []*Peer
			for i := range sums {
				if slices.Contains(wrong, int(sums[i])) {
					if p := peers[sums[i]]; !slices.Contains(want, p) {
						want = append(want, p)
					}
					sums[i] += 100
				}
			}
			by := trying(t, k, now)[0]
			cancelled := 0
			own := k.pieces.open[0].trialOf(by)
			for b := range own.blocks {
				k.Received(now, by, Block{0, b}, nil)
			}
			_, guilty := k.Verified(own, sums)
			for _, act := range k.Pick(now) {
				if act.Kind == Cancel && act.Peer != by {
					cancelled++
				}
			}
			if len(guilty) != len(want) {
				t.Errorf("%d guilty, want %d", len(guilty), len(want))
			}
			for _, p := range peers {
				if bad := slices.Contains(want, p); slices.Contains(guilty, p) != bad || p.proven == bad && p != by {
					t.Errorf("peer %d: guilty %v, proven %v", slices.Index(peers, p), slices.Contains(guilty, p), p.proven)
				}
			}
			if cancelled != 3 || !k.Held(0) || k.Begun() != 0 {
				t.Errorf("%d requests of the other trial are cancelled, want 3; held %v, %d bytes begun", cancelled, k.Held(0), k.Begun())
			}
			if err := k.check(); err != nil {
				t.Error(err)
			}
		})
	}
	k, peers, now := newTrialPicker(t, weir.Blocked, 4)
	by := trying(t, k, now)[0]
	by.proven = true
	if guilty := k.Failed(now, k.pieces.open[0].trialOf(by), nil); len(guilty) != 1 || guilty[0] != by || by.proven {
		t.Error("who gave a wrong copy alone is not told")
	}
	k.Leave(by)
	if asked := trying(t, k, now.Add(ms)); len(asked) != 1 || !slices.Contains(peers, asked[0]) {
		t.Errorf("%d trials begin after one has failed", len(asked))
	}
}

// TestPeersThatComeAndGo: a piece that failed is completed by peers of which none stays
// long enough to give all of it, once those who gave the wrong blocks have gone, and
// no block is fetched more than once in vain.
func TestPeersThatComeAndGo(t *testing.T) {
	for _, prio := range []weir.Priority{weir.Background, weir.Window, weir.Blocked} {
		t.Run(prio.String(), func(t *testing.T) {
			s := newSim(t, 2, 8*weir.BlockBytes, Options{})
			s.join(20*ms, 1e6).corrupt = true
			visits := 0
			var visit func()
			visit = func() {
				visits++
				p := s.join(20*ms, 1e6)
				s.after(90*ms, func() { // three or four blocks
					if !p.gone {
						p.gone = true
						s.k.Leave(p.p)
					}
					s.after(10*ms, visit)
				})
			}
			visit()
			s.k.Set(s.k.NewWant(weir.Blocked), []Span{{0, 1}})
			s.run(10*time.Second, func() bool { return s.k.Suspicious(0) || s.k.Held(0) })
			if !s.k.Suspicious(0) {
				t.Fatal("the piece did not fail")
			}
			s.k.Close(s.k.wants.byPriority[weir.Blocked][0])
			s.k.Set(s.k.NewWant(prio), []Span{{0, 1}})
			visits = 0
			s.run(10*time.Second, func() bool { return s.k.Held(0) })
			if visits > 8 {
				t.Errorf("it took %d visits", visits)
			}
			if !s.peers[0].gone {
				t.Error("who gave wrong blocks is still there")
			}
		})
	}
}

// TestTrialsBrokenOff: a peer that leaves in the middle of each trial, and comes again, is
// asked for the same beginning ever more seldom, and is still asked.
func TestTrialsBrokenOff(t *testing.T) {
	for _, id := range [][20]byte{{1}, {}} { // without an ID nobody is known again
		k, peers, now := newTrialPicker(t, weir.Blocked, 4)
		for _, p := range peers[1:] {
			p.silence = snubbed // they stay, and say nothing
		}
		k.Leave(peers[0])
		var begun []time.Time
		for begin := now; now.Before(begin.Add(4 * time.Minute)); now = now.Add(time.Second) {
			p := serving(k, 10e6, true)
			p.plan.id = id
			for b, of := range requestsIn(k.Pick(now)) {
				if !slices.Contains(of, p) {
					continue
				}
				if len(begun) == 0 || begun[len(begun)-1] != now {
					begun = append(begun, now)
				}
				if b.Index < 3 {
					k.Received(now, p, b, nil)
				}
			}
			k.Leave(p)
			for _, p := range peers[1:] {
				p.silence = snubbed
			}
		}
		if len(begun) < 7 || id != [20]byte{} && len(begun) > 10 || id == [20]byte{} && len(begun) < 200 {
			t.Errorf("peer %x began %d trials in four minutes", id[:1], len(begun))
		}
		if err := k.check(); err != nil {
			t.Error(err)
		}
	}
}

// TestNobodyIsLeft: a piece on trial that nobody wants is forgotten when the last of
// those who gave its blocks has gone.
func TestNobodyIsLeft(t *testing.T) {
	k, peers, _ := newTrialPicker(t, weir.Blocked, 3)
	k.Close(k.wants.byPriority[weir.Blocked][0])
	for i, p := range peers {
		if !k.Suspicious(0) {
			t.Errorf("the trial is over, and %d suspects are there", len(peers)-i)
		}
		k.Leave(p)
		if err := k.check(); err != nil {
			t.Error(err)
		}
	}
	if k.Suspicious(0) || k.Begun() != 0 || len(k.pieces.open) > 0 {
		t.Errorf("suspicious %v, %d bytes begun, %d pieces remembered", k.Suspicious(0), k.Begun(), len(k.pieces.open))
	}
}
