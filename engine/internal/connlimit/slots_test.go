package connlimit

import (
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
			} else if full || round < fewDials {
				t.Fatalf("torrent %d gets no dial in round %d, full %v", i, round, full)
			}
		}
	}
	late := &torrent{}
	for range fewDials {
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
			if pl, _ := b.Dial(&torrent{}, somewhere, failedDials); pl != nil {
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
		if !pl.Crowded() {
			t.Error("a dial in a crowd may take as long as any")
		}
		places = append(places, pl)
	}
	if pl, _ := b.Dial(late, somewhere, failedDials); pl != nil {
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
