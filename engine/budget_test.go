package engine

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	b := &budget{most: mostHalfOpen + 3}
	var dials []*place
	for range mostHalfOpen {
		pl, _ := b.dial()
		if pl == nil {
			t.Fatalf("no place for dial %d", len(dials))
		}
		dials = append(dials, pl)
	}
	if pl, full := b.dial(); pl != nil || full {
		t.Errorf("a dial beyond the bound: %v, full %v", pl, full)
	}
	dials[0].connected()
	dials[0].connected()
	dials[1].release()
	dials[1].release()
	for range 2 {
		if pl, _ := b.dial(); pl == nil {
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
	if pl, full := b.dial(); pl != nil || !full {
		t.Errorf("a dial beyond the budget: %v, full %v", pl, full)
	}
	dials[2].release()
	if b.take() == nil {
		t.Error("a place given back is lost")
	}
}

func TestStanding(t *testing.T) {
	const min = time.Minute
	// From worth least to worth most.
	order := []standing{
		{idle: 2 * min}, {idle: 20 * time.Second},
		{theirs: true, idle: 6 * min}, {theirs: true, idle: min},
		{ours: true, idle: 60 * min}, {ours: true, idle: 0},
		{ours: true, theirs: true, idle: 60 * min}, {ours: true, theirs: true},
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
