package connlimit

import (
	"slices"
	"testing"
	"time"
)

const never = time.Duration(-1)

// samplePeers are all combinations of what a peer can be.
func samplePeers() []Peer {
	var out []Peer
	bools := []bool{false, true}
	for _, ours := range bools {
		for _, theirs := range bools {
			for _, silent := range bools {
				for _, dialed := range bools {
					for _, served := range bools {
						for _, gave := range []time.Duration{never, 0, earnedFor, time.Hour} {
							for _, idle := range []time.Duration{0, 5 * time.Second, idleSilent, idleUninterested, idleInterested} {
								for _, crowd := range []int{1, 2, 4, 50} {
									out = append(out, Peer{
										Interesting: ours, Interested: theirs, Silent: silent, Dialed: dialed, Served: served,
										LastBlock: gave, Idle: idle, Age: idle, FromNetwork: crowd,
									})
								}
							}
						}
					}
				}
			}
		}
	}
	return out
}

// TestGivesWay: blocks keep a slot, claims don't.
func TestGivesWay(t *testing.T) {
	for _, a := range samplePeers() {
		one, dial := a.GivesWay(Newcomer{}), a.GivesWay(Newcomer{Awaited: true})
		alike := a.GivesWay(Newcomer{FromNetwork: a.FromNetwork - 1})
		switch {
		case a.Useless():
			if !one || !dial || !alike {
				t.Errorf("useless and stays: %+v", a)
			}
		case a.Earned():
			if one || dial || alike {
				t.Errorf("has earned its slot and gives way: %+v", a)
			}
		case alike:
			t.Errorf("gives way to one of its own network: %+v", a)
		case one != (a.FromNetwork >= networkMargin && a.Age >= networkGrace):
			t.Errorf("gives way to a stranger: %v: %+v", one, a)
		case !dial && !(a.Dialed && a.Age < patience):
			t.Errorf("gives nothing and keeps its slot from what is awaited: %+v", a)
		}
		if a.Useless() && a.Interesting {
			t.Errorf("has what we lack and is useless: %+v", a)
		}
	}
}

// TestLess: worth is a strict order; the useless are worth least, who earns most.
func TestLess(t *testing.T) {
	all := samplePeers()
	for i, a := range all {
		for j := i % 7; j < len(all); j += 7 {
			b := all[j]
			if a.Less(b) && b.Less(a) {
				t.Fatalf("each is worth less:\n%+v\n%+v", a, b)
			}
			if a.Useless() && !b.Useless() && !a.Less(b) || !a.Useless() && !b.Useless() && b.Earned() && !a.Earned() && !a.Less(b) {
				t.Fatalf("%+v\nis worth no less than\n%+v", a, b)
			}
		}
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Peer) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	for i := range sorted {
		for _, j := range []int{i + 1, i + 50, i + 500} {
			if j < len(sorted) && sorted[j].Less(sorted[i]) {
				t.Fatalf("no order:\n%+v\n%+v", sorted[i], sorted[j])
			}
		}
	}
}

func TestUseless(t *testing.T) {
	const min = time.Minute
	for _, c := range []struct {
		peer Peer
		want bool
	}{
		{Peer{Idle: 2 * min}, true}, {Peer{Idle: 20 * time.Second}, false}, {Peer{Idle: 20 * time.Second, Silent: true}, true},
		{Peer{Idle: 5 * time.Second, Silent: true}, false}, {Peer{Interested: true, Idle: 6 * min}, true},
		{Peer{Interested: true, Idle: min}, false}, {Peer{Interesting: true, Idle: 60 * min}, false},
	} {
		if got := c.peer.Useless(); got != c.want {
			t.Errorf("%+v is useless: %v", c.peer, got)
		}
	}
}
