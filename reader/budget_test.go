package reader

import (
	"math/rand/v2"
	"testing"
)

func TestBudget(t *testing.T) {
	t.Run("OneTakesAllThenGivesWay", func(t *testing.T) {
		b := NewBudget(1000)
		first, second := share{b: b}, share{b: b}
		if got := first.claim(5000); got != 1000 {
			t.Errorf("alone: %d of 1000", got)
		}
		if got := second.claim(300); got != 0 {
			t.Errorf("the second got %d, and nothing was left", got)
		}
		if got := first.claim(5000); got != 500 {
			t.Errorf("the first kept %d beside a underserved second, want its half", got)
		}
		if got := second.claim(300); got != 300 {
			t.Errorf("the second got %d, want all that it wants", got)
		}
		if got := first.claim(5000); got != 500 {
			t.Errorf("the first has %d, want at most half beside another", got)
		}
		second.claim(0)
		if got := first.claim(5000); got != 1000 {
			t.Errorf("alone again: %d", got)
		}
		first.claim(0)
		if b.Used() != 0 || b.claimants != 0 || b.underserved != 0 {
			t.Errorf("left: %d used, %d claimants, %d underserved", b.used, b.claimants, b.underserved)
		}
	})
	t.Run("ManyAreEqual", func(t *testing.T) {
		b := NewBudget(1 << 20)
		shares := make([]share, 64)
		for range 4 { // each moves now and then
			for i := range shares {
				shares[i].b = b
				shares[i].claim(1 << 20)
			}
		}
		for i := range shares {
			if shares[i].held != 1<<14 {
				t.Errorf("share %d has %d, want a 64th", i, shares[i].held)
			}
		}
	})
	t.Run("NeverMoreThanAll", func(t *testing.T) {
		b := NewBudget(1000)
		rng := rand.New(rand.NewPCG(1, 1))
		shares := make([]share, 9)
		for range 20_000 {
			s := &shares[rng.IntN(len(shares))]
			s.b = b
			if got := s.claim(rng.Int64N(3) * rng.Int64N(900)); got < 0 || got > s.demand {
				t.Fatalf("got %d of %d", got, s.demand)
			}
			s.shrink(s.held - rng.Int64N(s.held+1))
			var sum int64
			for i := range shares {
				sum += shares[i].held
			}
			if sum != b.used || sum > 1000 {
				t.Fatalf("%d are held, %d counted", sum, b.used)
			}
		}
		for i := range shares {
			if shares[i].b != nil {
				shares[i].claim(0)
			}
		}
		if b.used != 0 || b.claimants != 0 || b.underserved != 0 {
			t.Errorf("left: %d used, %d claimants, %d underserved", b.used, b.claimants, b.underserved)
		}
	})
}

// TestSharedPiecesStayPaid: a piece in two windows counts once against the budget, as long
// as one of them wants it.
func TestSharedPiecesStayPaid(t *testing.T) {
	p := newProtectTest(t)
	p.held = nil
	x, y := p.open(), p.open()
	y.wanted = x.wanted // of one torrent
	used := func(what string, pieces int64) {
		t.Helper()
		if got := p.b.Used(); got != pieces*protectPiece {
			t.Errorf("%s: %d bytes are used, want %d pieces", what, got, pieces)
		}
	}
	x.publish(p.window(0, 4))
	used("one", 4)
	y.publish(p.window(0, 4))
	used("both", 4)
	x.close()
	used("the other alone", 4)
	y.publish(p.window(2, 7))
	used("moved on", 5)
	y.close()
	used("closed", 0)
}

// TestBudgetOfAByte: the least claim counts and is given back.
func TestBudgetOfAByte(t *testing.T) {
	b := NewBudget(10)
	s := share{b: b}
	for range 2 {
		if s.claim(0) != 0 || b.Used() != 0 || b.claimants != 0 {
			t.Errorf("nothing is wanted: %d used by %d", b.Used(), b.claimants)
		}
		if s.claim(1) != 1 || b.Used() != 1 || b.claimants != 1 {
			t.Errorf("a byte is wanted: %d used by %d", b.Used(), b.claimants)
		}
	}
	if s.claim(0); b.Used() != 0 || b.claimants != 0 {
		t.Errorf("in the end: %d used by %d", b.Used(), b.claimants)
	}
}

// TestBudgetEnds: budget that is given back is available to others, at its limits too.
func TestBudgetEnds(t *testing.T) {
	b := NewBudget(1000)
	one, two := share{b: b}, share{b: b}
	if got := one.claim(1); got != 1 || b.Used() != 1 || b.claimants != 1 {
		t.Errorf("a byte: %d, %d used by %d", got, b.Used(), b.claimants)
	}
	one.claim(800)
	if got := two.claim(300); got != 200 || b.underserved != 1 {
		t.Errorf("the rest: %d, %d underserved", got, b.underserved)
	}
	one.claim(800) // falls back to its half, because somebody lacks something
	if one.held != 500 {
		t.Errorf("has %d beside a underserved one", one.held)
	}
	two.claim(300)
	if two.held != 300 || b.underserved != 0 {
		t.Errorf("has %d, and %d are underserved", two.held, b.underserved)
	}
	one.shrink(499)
	if one.held != 499 || b.Used() != 799 {
		t.Errorf("shrunk to %d, %d used", one.held, b.Used())
	}
	one.refund(1, 0) // others want what it has paid for
	if one.held != 498 || b.Used() != 799 {
		t.Errorf("%d held, %d used", one.held, b.Used())
	}
	two.refund(0, 1) // what somebody else has paid for is gone
	if two.held != 300 || b.Used() != 798 {
		t.Errorf("%d held, %d used", two.held, b.Used())
	}
	for bytes, want := range map[int64]int64{0: DefaultBudgetBytes, -1: DefaultBudgetBytes, 1: 1} {
		if got := NewBudget(bytes).total; got != want {
			t.Errorf("a budget of %d is one of %d", bytes, got)
		}
	}
}
