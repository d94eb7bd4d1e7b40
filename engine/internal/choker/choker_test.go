package choker_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/internal/choker"
)

const sec = time.Second

// bench is a choker with peers in simulated time.
type bench struct {
	tb    testing.TB
	c     *choker.Choker
	now   time.Time
	facts choker.Facts
	peers []*choker.Peer
	last  map[*choker.Peer]time.Time // of its latest unchoke
	turns map[*choker.Peer]int
	seen  *observer
}

func newBench(tb testing.TB, f choker.Facts) *bench {
	return &bench{
		tb: tb, c: choker.New(), now: time.Unix(1000, 0), facts: f,
		last: map[*choker.Peer]time.Time{}, turns: map[*choker.Peer]int{},
		seen: &observer{tb: tb, slots: map[*choker.Peer]*slot{}},
	}
}

func (b *bench) join(gives float64) *choker.Peer {
	p := &choker.Peer{Ref: len(b.peers), Interested: true, Gives: gives}
	b.c.Join(p, b.now)
	b.seen.joined(p, b.now)
	b.peers = append(b.peers, p)
	return p
}

func (b *bench) leave(i int) {
	b.c.Leave(b.peers[i])
	b.peers = slices.Delete(slices.Clone(b.peers), i, i+1)
}

// decide checks what must hold after every choice.
func (b *bench) decide() {
	b.tb.Helper()
	had := map[*choker.Peer]bool{}
	for _, p := range b.peers {
		had[p] = p.Unchoked()
	}
	changes := b.c.Decide(b.now, b.facts)
	b.seen.decided(moment{b.now, b.facts, b.peers, had, changes, b.c.Slots(b.facts.UploadLimit)})
	for _, ch := range changes {
		if ch.Unchoke != ch.Peer.Unchoked() {
			b.tb.Fatalf("peer %v: the change says %v", ch.Peer.Ref, ch.Unchoke)
		}
		if ch.Unchoke {
			b.last[ch.Peer] = b.now
			b.turns[ch.Peer]++
		} else if held := b.now.Sub(b.last[ch.Peer]); held < choker.Round && ch.Peer.Interested {
			b.tb.Fatalf("peer %v had its slot for %v", ch.Peer.Ref, held)
		}
	}
	for _, p := range b.peers {
		if p.Unchoked() && !p.Interested {
			b.tb.Fatalf("peer %v has a slot and wants none", p.Ref)
		}
	}
}

// run decides every second, as the owner of a swarm does.
func (b *bench) run(d time.Duration, each func()) {
	b.tb.Helper()
	for end := b.now.Add(d); b.now.Before(end); b.now = b.now.Add(sec) {
		b.decide()
		if each != nil {
			each()
		}
	}
}

func TestSlots(t *testing.T) {
	for limit, want := range map[float64]int{0: 8, 1000: 2, 20e3: 3, 50e3: 5, 107e3: 8, 1e9: 8} {
		if got := choker.New().Slots(limit); got != want {
			t.Errorf("%v bytes per second: %d slots, want %d", limit, got, want)
		}
	}
}

func TestFreeSlotsAreGivenAtOnce(t *testing.T) {
	for name, f := range map[string]choker.Facts{"Seeding": {}, "Fetching": {Fetching: true}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, f)
			b.run(5*sec, nil)
			for range 8 {
				p := b.join(0)
				b.decide()
				if !p.Unchoked() {
					t.Fatalf("peer %v waits beside free slots", p.Ref)
				}
			}
			ninth := b.join(0)
			b.decide()
			if ninth.Unchoked() {
				t.Fatal("nine have slots")
			}
			b.peers[3].Interested = false
			b.decide()
			if b.peers[3].Unchoked() || !ninth.Unchoked() {
				t.Error("the slot of one who wants no more was not handed on")
			}
			gone := b.peers[0]
			b.c.Leave(gone)
			tenth := b.join(0)
			b.decide()
			if gone.Unchoked() || !tenth.Unchoked() {
				t.Error("the slot of one who left was not handed on")
			}
		})
	}
}

func TestASmallSwarmIsLeftAlone(t *testing.T) {
	b := newBench(t, choker.Facts{})
	for range 8 {
		b.join(0)
	}
	b.run(10*time.Minute, nil)
	for _, p := range b.peers {
		if b.turns[p] != 1 {
			t.Errorf("peer %v was unchoked %d times, with a slot for everybody", p.Ref, b.turns[p])
		}
	}
}

// TestSeedingIsFair: 30 leeches share 8 slots, and a line that more slots don't make faster.
func TestSeedingIsFair(t *testing.T) {
	const line = 8e6 // bytes per second
	for name, rate := range map[string]func(i int) float64{
		"SameRates": func(int) float64 { return line },
		// What a slow one leaves of its slot is the others': it gets the same time.
		"OneInThreeIsSlow": func(i int) float64 {
			if i%3 == 0 {
				return line / 30
			}
			return line
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, choker.Facts{})
			got, held := make([]float64, 30), make([]float64, 30)
			for range got {
				b.join(0)
			}
			b.run(10*time.Minute, func() {
				b.facts.UploadRate = share(b.peers, got, line, rate)
				for i, p := range b.peers {
					if p.Unchoked() {
						held[i]++
					}
				}
			})
			if slices.Max(held) > 2*slices.Min(held) {
				t.Errorf("the luckiest had a slot for %v s, the unluckiest for %v", slices.Max(held), slices.Min(held))
			}
			if name == "SameRates" && slices.Max(got) > 2*slices.Min(got) {
				t.Errorf("the luckiest got %.0f MB, the unluckiest %.0f", slices.Max(got)/1e6, slices.Min(got)/1e6)
			}
			t.Logf("%.0f to %.0f MB, %.0f to %.0f s, %d slots at the end",
				slices.Min(got)/1e6, slices.Max(got)/1e6, slices.Min(held), slices.Max(held), b.c.Slots(0))
		})
	}
}

// share gives each unchoked peer a second's worth of the line, evenly as far as
// they can take it, and returns the rate.
func share(peers []*choker.Peer, got []float64, line float64, rate func(int) float64) float64 {
	open := map[int]bool{}
	for i, p := range peers {
		p.Takes = 0
		if p.Unchoked() {
			open[i] = true
		}
	}
	left := line
	for len(open) > 0 && left > 1 {
		part := left / float64(len(open))
		for i := range open {
			n := min(part, rate(i)-peers[i].Takes)
			peers[i].Takes += n
			got[i] += n
			left -= n
			if n < part {
				delete(open, i)
			}
		}
	}
	return line - left
}

// TestFreeloadersWhileFetching: twelve peers give and four don't.
func TestFreeloadersWhileFetching(t *testing.T) {
	b := newBench(t, choker.Facts{Fetching: true, UploadRate: 1e6})
	slots := map[*choker.Peer]time.Duration{}
	for i := range 12 {
		b.join(float64(100e3 * (i + 1)))
	}
	var free []*choker.Peer
	for range 4 {
		free = append(free, b.join(0))
	}
	b.run(time.Minute, nil) // until the ranks stand
	b.run(10*time.Minute, func() {
		for _, p := range b.peers {
			if p.Unchoked() {
				slots[p] += sec
			}
		}
		n := 0
		for _, p := range free {
			if p.Unchoked() {
				n++
			}
		}
		if n > 1 {
			t.Fatalf("%d freeloaders have slots at a time", n)
		}
	})
	for _, p := range b.peers[5:12] { // the best seven: always
		if slots[p] < 10*time.Minute {
			t.Errorf("peer %v, among the best, had a slot for %v of 10m", p.Ref, slots[p])
		}
	}
	for _, p := range free { // nine share one slot
		if slots[p] == 0 || slots[p] > 2*time.Minute {
			t.Errorf("freeloader %v had a slot for %v of 10m", p.Ref, slots[p])
		}
	}
}

// TestRanksDoNotFlap: rates that wobble by less than a fifth move nobody.
func TestRanksDoNotFlap(t *testing.T) {
	b := newBench(t, choker.Facts{Fetching: true, UploadRate: 1e6, UploadLimit: 1e6}) // no slot more
	for range 10 {
		b.join(100e3)
	}
	b.run(time.Minute, nil)
	ranked := map[*choker.Peer]int{}
	for _, p := range b.peers {
		ranked[p] = b.turns[p]
	}
	tick := 0
	b.run(5*time.Minute, func() {
		tick++
		for i, p := range b.peers {
			p.Gives = 100e3 * (1 + 0.1*math.Sin(float64(tick*(i+1))))
		}
	})
	steady := 0
	for _, p := range b.peers {
		if b.turns[p] == ranked[p] {
			steady++
		}
	}
	if steady < 7 {
		t.Errorf("%d of 10 kept their slots, want the 7 that are ranked", steady)
	}
	b.peers[9].Gives, b.peers[8].Gives = 1e6, 1e6
	b.run(2*choker.Round, nil)
	if !b.peers[9].Unchoked() || !b.peers[8].Unchoked() {
		t.Error("who gives ten times as much waits for longer than a round")
	}
}

func TestNewcomersGoFirst(t *testing.T) {
	b := newBench(t, choker.Facts{})
	for range 16 {
		b.join(0)
	}
	b.run(5*time.Minute, nil)
	joined := b.now
	p := b.join(0)
	var waited time.Duration
	b.run(2*time.Minute, func() {
		if p.Unchoked() && waited == 0 {
			waited = b.now.Sub(joined) + 1
		}
	})
	if waited == 0 || waited > 30*sec {
		t.Errorf("a newcomer waited %v among 16 on 8 slots", waited)
	}
}

// TestNearlyDone: the turn of a peer that a few blocks make a seed goes on, once.
func TestNearlyDone(t *testing.T) {
	b := newBench(t, choker.Facts{})
	for range 20 {
		b.join(0)
	}
	p := b.peers[0]
	b.run(5*sec, nil)
	for !p.Unchoked() {
		b.run(sec, nil)
	}
	since := b.now
	p.Takes, p.Needs = 1e6, 5e6
	b.run(choker.Turn, nil)
	if !p.Unchoked() {
		t.Error("choked just before its end")
	}
	b.run(2*time.Minute, nil)
	if b.last[p].Equal(since) && p.Unchoked() {
		t.Error("it keeps its slot for ever by being nearly done")
	}
}

func TestSlotsGrow(t *testing.T) {
	for name, c := range map[string]struct {
		limit   float64
		rate    func(slots int) float64
		atLeast int
		atMost  int
	}{
		"LimitReached":   {1e6, func(int) float64 { return 1e6 }, 8, 8},
		"LimitNever":     {1e9, func(n int) float64 { return float64(n) * 1e5 }, 32, 32},
		"LimitAtTwelve":  {1.2e6, func(n int) float64 { return min(1.2e6, float64(n)*1e5) }, 11, 12},
		"LineIsFull":     {0, func(int) float64 { return 1e6 }, 8, 9},
		"EachTakesMore":  {0, func(n int) float64 { return float64(n) * 1e5 }, 32, 32},
		"LineOfSixteen":  {0, func(n int) float64 { return min(1.6e6, float64(n)*1e5) }, 15, 18},
		"NobodyTakesAny": {0, func(int) float64 { return 0 }, 32, 32},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, choker.Facts{UploadLimit: c.limit})
			for range 60 {
				b.join(0)
			}
			b.run(20*time.Minute, func() {
				b.facts.UploadRate = c.rate(b.c.Slots(c.limit))
			})
			if got := b.c.Slots(c.limit); got < c.atLeast || got > c.atMost {
				t.Errorf("%d slots, want %d to %d", got, c.atLeast, c.atMost)
			}
			for _, p := range b.peers[4:] {
				p.Interested = false
			}
			b.run(time.Minute, nil)
			if got := b.c.Slots(c.limit); got != 8 {
				t.Errorf("%d slots when nobody waits, want 8", got)
			}
		})
	}
}

// FuzzChoker: whatever peers do, the bounds of decide hold.
func FuzzChoker(f *testing.F) {
	f.Add([]byte("abcdefghijklmnop"))
	f.Add([]byte{0, 0, 0, 0, 5, 5, 200, 200, 3, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, choker.Facts{})
		for i, d := range data {
			var p *choker.Peer
			if len(b.peers) > 0 {
				p = b.peers[i%len(b.peers)]
			}
			switch d % 8 {
			case 0, 1:
				b.join(float64(d) * 100)
			case 2:
				if p != nil {
					p.Interested = !p.Interested
				}
			case 3:
				if p != nil {
					p.Gives, p.Takes, p.Needs = float64(d)*float64(i), float64(d), int64(d)*100
				}
			case 4:
				b.facts.Fetching = !b.facts.Fetching
			case 5:
				b.facts.UploadRate = float64(d) * 1000
			case 6:
				if p != nil {
					b.leave(i % len(b.peers))
				}
			default:
				b.now = b.now.Add(time.Duration(d) * 100 * time.Millisecond)
			}
			b.decide()
		}
	})
}

func ExampleChoker() {
	c := choker.New()
	p := &choker.Peer{Ref: "127.0.0.2:6881", Interested: true}
	c.Join(p, time.Unix(0, 0))
	for _, ch := range c.Decide(time.Unix(1, 0), choker.Facts{}) {
		fmt.Println(ch.Peer.Ref, ch.Unchoke)
	}
	// Output: 127.0.0.2:6881 true
}
