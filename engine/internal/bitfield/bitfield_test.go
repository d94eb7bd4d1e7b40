package bitfield_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bitfield"
)

func TestFits(t *testing.T) {
	for _, test := range []struct {
		name string
		bits []byte
		n    int
		ok   bool
	}{
		{"Exact", []byte{0xff}, 8, true},
		{"Padded", []byte{0xff, 0x80}, 9, true},
		{"PaddingSet", []byte{0xff, 0xc0}, 9, false},
		{"TooShort", []byte{0xff}, 9, false},
		{"TooLong", []byte{0xff, 0}, 8, false},
		{"None", nil, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := bitfield.Fits(test.bits, test.n); got != test.ok {
				t.Errorf("fits %d pieces: %v", test.n, got)
			}
		})
	}
	if got := bitfield.Unpack([]byte{0xa0, 0x80}, 9); !slices.Equal(got, []bool{true, false, true, false, false, false, false, false, true}) {
		t.Errorf("unpacked: %v", got)
	}
}

// TestEachBit: what is claimed piece by piece is what is unpacked, at each place of a byte
// and in the bytes beside it.
func TestEachBit(t *testing.T) {
	const n = 24
	for i := range n {
		for j := range n {
			var b bitfield.Budget
			var c bitfield.Claims
			if err := c.SetBits(&b, make([]byte, n/8)); err != nil {
				t.Fatal(err)
			}
			c.Have(i)
			c.Have(j)
			for k, has := range bitfield.Unpack(c.Bits, n) {
				if has != (k == i || k == j) {
					t.Fatalf("pieces %d and %d were claimed, and of %d it is %v: %x", i, j, k, has, c.Bits)
				}
			}
			if len(c.Haves) > 0 || !bitfield.Fits(c.Bits, n) {
				t.Fatalf("%d pieces beside the bitfield, which fits: %v", len(c.Haves), bitfield.Fits(c.Bits, n))
			}
		}
	}
	for i := range n {
		one := make([]byte, n/8)
		one[i/8] = 0x80 >> (i % 8)
		for k := range n + 1 {
			if got, want := bitfield.Fits(one[:(k+7)/8], k), k%8 == 0 || i >= (k+7)/8*8 || i < k; got != want {
				t.Errorf("bit %d in a bitfield of %d pieces: fits %v", i, k, got)
			}
		}
	}
}

// TestClaims: a have is added to the bitfield where that reaches, and beside it
// otherwise; it takes back a loss; what is not judged is bounded.
func TestClaims(t *testing.T) {
	var b bitfield.Budget
	var c bitfield.Claims
	if err := c.SetBits(&b, []byte{0x80}); err != nil {
		t.Fatal(err)
	}
	c.Lost(1)
	c.Lost(2)
	c.Have(1)
	c.Have(9)
	if !slices.Equal(c.Bits, []byte{0xc0}) || !slices.Equal(c.Haves, []uint32{9}) || len(c.Losses) != 1 {
		t.Errorf("bits %x, haves %v, losses %v", c.Bits, c.Haves, c.Losses)
	}
	for i := range 1 << 20 {
		c.Have(100 + i)
		c.Lost(100 + i)
		c.Allow(i)
	}
	if len(c.Haves) != 1<<14 || len(c.Losses) > 1<<12 || len(c.Allowed) != 64 {
		t.Errorf("%d haves, %d losses, %d allowed", len(c.Haves), len(c.Losses), len(c.Allowed))
	}
	c.All = true
	c.Clear(&b)
	if !c.All || c.Bits != nil || c.Haves != nil || c.Losses != nil || c.Allowed != nil {
		t.Errorf("after clearing: %+v", c)
	}
}

// TestBudget: usual bitfields are always taken; large ones count until they are
// replaced or cleared, and are refused beyond the bound.
func TestBudget(t *testing.T) {
	var b bitfield.Budget
	const usual, large = 16 << 10, 8<<20 + 16<<10
	peers := make([]bitfield.Claims, 6)
	for i := range 4 {
		if err := peers[i].SetBits(&b, make([]byte, large)); err != nil {
			t.Fatalf("peer %d: %v", i, err)
		}
	}
	if err := peers[4].SetBits(&b, make([]byte, usual+1)); !errors.Is(err, weir.ErrNoSpace) || peers[4].Bits != nil {
		t.Errorf("beyond the bound: %v", err)
	}
	if err := peers[5].SetBits(&b, make([]byte, usual)); err != nil {
		t.Errorf("a usual one: %v", err)
	}
	if err := peers[0].SetBits(&b, make([]byte, usual)); err != nil {
		t.Errorf("a smaller one instead: %v", err)
	}
	if got := b.Bytes(); got != 3*8<<20 {
		t.Errorf("%d bytes are counted", got)
	}
	for i := range peers {
		peers[i].Clear(&b)
	}
	if got := b.Bytes(); got != 0 {
		t.Errorf("%d bytes are counted in the end", got)
	}
}

// TestTold: a loss is told at once to a peer with lt_donthave, later to one whose
// handshake is not here, and never to others.
func TestTold(t *testing.T) {
	told := bitfield.NewTold(2)
	for i := range 3 {
		if id := told.Lost(i, true); id != 0 {
			t.Errorf("told by %d before the handshake", id)
		}
	}
	if got := told.Handshake(7); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("told after the handshake: %v", got)
	}
	if id := told.Lost(5, true); id != 7 {
		t.Errorf("told by %d", id)
	}
	if got := told.Handshake(7); got != nil {
		t.Errorf("told again: %v", got)
	}
	mute := bitfield.NewTold(2)
	mute.Handshake(0)
	mute.Lost(1, true)
	if got := mute.Handshake(3); got != nil {
		t.Errorf("told later, though it could not hear: %v", got)
	}
	plain := bitfield.NewTold(2)
	plain.Lost(1, false)
	if got := plain.Handshake(3); got != nil {
		t.Errorf("told without the extension protocol: %v", got)
	}
}

// TestHavesInTurns: each piece that is held is told once, in turns of bounded size.
func TestHavesInTurns(t *testing.T) {
	held := make([]bool, 2*bitfield.MaxHavesAtOnce+100)
	var want []int
	for i := range held {
		if held[i] = i%7 != 0; held[i] {
			want = append(want, i)
		}
	}
	told := bitfield.NewTold(0)
	told.Telling = true
	var got []int
	for told.Telling {
		haves := told.Haves(held)
		if len(haves) > bitfield.MaxHavesAtOnce {
			t.Fatalf("%d at once", len(haves))
		}
		got = append(got, haves...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d haves, want %d", len(got), len(want))
	}
}
