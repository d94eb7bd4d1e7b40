package engine

import (
	"testing"
	"time"

	"github.com/weirfs/weir/engine/internal/peerbook"
)

func TestBudget(t *testing.T) {
	b, one := &budget{most: mostHalfOpen + 3}, &swarm{}
	var dials []*place
	for range mostHalfOpen {
		pl, _ := b.dial(one, 0)
		if pl == nil {
			t.Fatalf("no place for dial %d", len(dials))
		}
		dials = append(dials, pl)
	}
	if pl, full := b.dial(one, 0); pl != nil || full {
		t.Errorf("a dial beyond the bound: %v, full %v", pl, full)
	}
	dials[0].connected()
	dials[0].connected()
	dials[1].release()
	dials[1].release()
	for range 2 {
		if pl, _ := b.dial(one, 0); pl == nil {
			t.Error("a dial that ended still counts")
		}
	}
	for range 2 {
		if b.take() == nil {
			t.Error("half-open dials keep incoming peers out")
		}
	}
	if b.take() != nil {
		t.Error("a place beyond the bound")
	}
	dials[2].connected()
	if pl, full := b.dial(one, 0); pl != nil || !full {
		t.Errorf("a dial beyond the budget: %v, full %v", pl, full)
	}
	dials[2].release()
	if b.take() == nil {
		t.Error("a place given back is lost")
	}
}

// TestDialsAreShared: a crowd that gets nowhere leaves room for others.
func TestDialsAreShared(t *testing.T) {
	b := &budget{most: 200}
	crowd := make([]*swarm, 50)
	dials := map[*swarm]int{}
	for round := range 16 { // as many as each may have at once
		for i := range crowd {
			if crowd[i] == nil {
				crowd[i] = &swarm{}
			}
			if pl, full := b.dial(crowd[i], 0); pl != nil {
				dials[crowd[i]]++
			} else if full || round < fewDials {
				t.Fatalf("torrent %d gets no dial in round %d, full %v", i, round, full)
			}
		}
	}
	late := &swarm{}
	for range fewDials {
		if pl, _ := b.dial(late, 0); pl == nil {
			t.Fatal("a torrent that comes late gets no dial")
		}
	}
	if b.open > b.most*3/4 {
		t.Errorf("%d places of %d are taken by dials", b.open, b.most)
	}
	alone := &budget{most: 200}
	n := 0
	for {
		if pl, _ := alone.dial(late, 100); pl == nil {
			break
		}
		n++
	}
	if n != mostHalfOpen/2 {
		t.Errorf("a torrent alone that reaches nobody may have %d dials, want %d", n, mostHalfOpen/2)
	}
}

// TestDialsInVain: torrents that reach nobody are no crowd.
func TestDialsInVain(t *testing.T) {
	b := &budget{most: 200}
	var places []*place
	for range 16 {
		for range 50 {
			if pl, _ := b.dial(&swarm{}, vainDials); pl != nil {
				places = append(places, pl)
			}
		}
		if len(places) >= 80 {
			break
		}
	}
	late := &swarm{}
	for i := range peerbook.MaxDials {
		pl, _ := b.dial(late, 0)
		if pl == nil {
			t.Fatalf("%d dials of torrents that reach nobody leave room for %d", len(places), i)
		}
		if pl.timeout != crowdedTimeout {
			t.Errorf("a dial in a crowd may take %v", pl.timeout)
		}
		places = append(places, pl)
	}
	if pl, _ := b.dial(late, vainDials); pl != nil {
		t.Error("a torrent that reaches nobody has more than one dial in a crowd")
	}
	for _, pl := range places {
		pl.release()
		pl.release()
	}
	if b.open != 0 || b.dialing != 0 || b.vain != 0 || len(b.dials)+len(b.hopeful) != 0 {
		t.Errorf("left are %d places, %d dials, %d in vain, %v", b.open, b.dialing, b.vain, b.dials)
	}
}

func TestStanding(t *testing.T) {
	const min = time.Minute
	// From worth least to worth most.
	order := []standing{
		{idle: 2 * min, priority: 9}, {idle: 20 * time.Second},
		{theirs: true, idle: 6 * min}, {theirs: true, idle: min},
		{ours: true, idle: 60 * min}, {ours: true, idle: 0},
		{ours: true, theirs: true, idle: 60 * min}, {ours: true, theirs: true, idle: 20 * time.Second, priority: 5},
		{ours: true, theirs: true, priority: 6},
	}
	for i, a := range order {
		for j, b := range order {
			if got := a.less(b); got != (i < j) {
				t.Errorf("%+v is worth less than %+v: %v", a, b, got)
			}
		}
		if got, want := a.useless(), i == 0 || i == 2; got != want {
			t.Errorf("%+v is useless: %v", a, got)
		}
	}
}
