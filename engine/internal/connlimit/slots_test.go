package connlimit

import (
	"fmt"
	"net/netip"
	"testing"
)

// torrent stands for one of the dialing torrents.
type torrent struct{ _ int }

var somewhere = netip.MustParseAddr("127.0.0.1")

func taken(l *Limiter) *Slot {
	s, _ := l.Incoming(somewhere)
	return s
}

func TestSlots(t *testing.T) {
	b, one := New(maxHalfOpen+3), &torrent{}
	var dials []*Slot
	for range maxHalfOpen {
		pl, _ := b.Dial(one, somewhere, 0)
		if pl == nil {
			t.Fatalf("no place for dial %d", len(dials))
		}
		dials = append(dials, pl)
	}
	if pl, full := b.Dial(one, somewhere, 0); pl != nil || full {
		t.Errorf("a dial beyond the bound: %v, full %v", pl, full)
	}
	dials[0].Connected()
	dials[0].Connected()
	dials[1].Release()
	dials[1].Release()
	for range 2 {
		if pl, _ := b.Dial(one, somewhere, 0); pl == nil {
			t.Error("a dial that ended still counts")
		}
	}
	for range 2 {
		if taken(b) == nil {
			t.Error("half-open dials keep incoming peers out")
		}
	}
	if taken(b) != nil {
		t.Error("a place beyond the bound")
	}
	dials[2].Connected()
	if pl, full := b.Dial(one, somewhere, 0); pl != nil || !full {
		t.Errorf("a dial beyond the budget: %v, full %v", pl, full)
	}
	dials[2].Release()
	if taken(b) == nil {
		t.Error("a place given back is lost")
	}
}

// TestDialsAreShared: a crowd that gets nowhere leaves room for others.
func TestDialsAreShared(t *testing.T) {
	b := New(200)
	crowd := make([]*torrent, 50)
	dials := map[*torrent]int{}
	for round := range 16 { // as many as each may have at once
		for i := range crowd {
			if crowd[i] == nil {
				crowd[i] = &torrent{}
			}
			if pl, full := b.Dial(crowd[i], somewhere, 0); pl != nil {
				dials[crowd[i]]++
			} else if full || round < minDials {
				t.Fatalf("torrent %d gets no dial in round %d, full %v", i, round, full)
			}
		}
	}
	late := &torrent{}
	for range minDials {
		if pl, _ := b.Dial(late, somewhere, 0); pl == nil {
			t.Fatal("a torrent that comes late gets no dial")
		}
	}
	if b.open > b.most*3/4 {
		t.Errorf("%d places of %d are taken by dials", b.open, b.most)
	}
	alone := New(200)
	n := 0
	for {
		if pl, _ := alone.Dial(late, somewhere, 100); pl == nil {
			break
		}
		n++
	}
	if n != maxHalfOpen/2 {
		t.Errorf("a torrent alone that reaches nobody may have %d dials, want %d", n, maxHalfOpen/2)
	}
}

// TestHopelessDials: torrents that reach nobody are no crowd.
func TestHopelessDials(t *testing.T) {
	b := New(200)
	var places []*Slot
	for range 16 {
		for range 50 {
			if pl, _ := b.Dial(&torrent{}, somewhere, hopelessAfter); pl != nil {
				places = append(places, pl)
			}
		}
		if len(places) >= 80 {
			break
		}
	}
	late := &torrent{}
	for i := range 16 {
		pl, _ := b.Dial(late, somewhere, 0)
		if pl == nil {
			t.Fatalf("%d dials of torrents that reach nobody leave room for %d", len(places), i)
		}
		if !pl.Hurried() {
			t.Error("a dial in a crowd may take as long as any")
		}
		places = append(places, pl)
	}
	if pl, _ := b.Dial(late, somewhere, hopelessAfter); pl != nil {
		t.Error("a torrent that reaches nobody has more than one dial in a crowd")
	}
	for _, pl := range places {
		pl.Release()
		pl.Release()
	}
	if b.open != 0 || b.dialing != 0 || b.hopeless != 0 || len(b.dials)+len(b.hopeful) != 0 {
		t.Errorf("left are %d places, %d dials, %d in vain, %v", b.open, b.dialing, b.hopeless, b.dials)
	}
}

// dialAll dials for torrents by turns until nobody gets one any more, and returns how
// many each has.
func dialAll(l *Limiter, failed int, torrents ...string) []int {
	n := make([]int, len(torrents))
	for more := true; more; {
		more = false
		for i, t := range torrents {
			if s, _ := l.Dial(t, somewhere, failed); s != nil {
				n[i]++
				more = true
			}
		}
	}
	return n
}

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint("torrent ", i))
	}
	return list
}

// TestShares: how many dials each of so many torrents has at a time.
func TestShares(t *testing.T) {
	for _, test := range []struct {
		most, torrents, failed int
		each                   []int // those that come first; the others have the last figure
		all                    int
	}{
		{1000, 1, 0, []int{64}, 64},
		{1000, 2, 7, []int{32}, 64},
		{1000, 4, 7, []int{16}, 64},
		{1000, 40, 0, []int{2}, 80},
		{1000, 1000, 0, nil, 750}, // the rest is for connections
		{100, 100, 0, nil, 75},
		{80, 100, 0, nil, 64},
		{20, 1, 0, []int{20}, 20},
		{1000, 1, 8, []int{32}, 32},
		{1000, 4, 8, []int{8}, 32},
		{1000, 40, 8, []int{1}, 40},
	} {
		l := New(test.most)
		got := dialAll(l, test.failed, names(test.torrents)...)
		sum := 0
		for i, n := range got {
			sum += n
			if test.each != nil && n != test.each[min(i, len(test.each)-1)] {
				t.Errorf("%+v: torrent %d has %d dials", test, i, n)
			}
		}
		if open, dialing := l.Usage(); sum != test.all || open != sum || dialing != sum {
			t.Errorf("%+v: %d dials; %d slots are taken, %d dial", test, sum, open, dialing)
		}
	}
}

// TestLateTorrents: when one torrent has taken all the dials, each that comes later has
// two, and one if it reaches nobody.
func TestLateTorrents(t *testing.T) {
	l := New(1000)
	if n := dialAll(l, 0, "first")[0]; n != 64 {
		t.Fatalf("%d dials", n)
	}
	for i := range 5 {
		if n := dialAll(l, 0, fmt.Sprint("late ", i))[0]; n != 2 {
			t.Errorf("a torrent that comes late has %d dials", n)
		}
		if n := dialAll(l, 8, fmt.Sprint("hopeless ", i))[0]; n != 1 {
			t.Errorf("a torrent that comes late and reaches nobody has %d dials", n)
		}
	}
}

// TestSharesAreGivenBack: a torrent counts among those that share the dials as long as
// it has one under way, and no longer.
func TestSharesAreGivenBack(t *testing.T) {
	l := New(1000)
	var slots []*Slot
	for range 2 {
		s, _ := l.Dial("other", somewhere, 0)
		slots = append(slots, s)
	}
	slots[0].Connected()
	if n := dialAll(l, 0, "first")[0]; n != 32 {
		t.Errorf("%d dials beside one other torrent, want 32", n)
	}
	slots[1].Connected()
	if n := dialAll(l, 0, "first")[0]; n != 64-32 {
		t.Errorf("%d dials more when it has none left, want 32", n)
	}
}

// TestHalfIsFree: until half of the dials are taken whoever comes first has them, and
// none of these has to hurry.
func TestHalfIsFree(t *testing.T) {
	for others, want := range map[int]bool{29: true, 30: false} {
		l := New(1000)
		for i := range 32 {
			torrent := "first"
			if i >= 2 {
				torrent = fmt.Sprint("other ", i)
			}
			if i-2 >= others {
				break
			}
			if s, _ := l.Dial(torrent, somewhere, 0); s == nil || s.Hurried() {
				t.Fatalf("dial %d: %+v", i, s)
			}
		}
		if s, _ := l.Dial("first", somewhere, 0); s != nil != want {
			t.Errorf("beside %d others a third dial is allowed: %v", others, s != nil)
		}
		if others == 30 {
			if s, _ := l.Dial("new", somewhere, 0); s == nil || !s.Hurried() {
				t.Error("the dial after half of them may take as long as any")
			}
		}
	}
}
