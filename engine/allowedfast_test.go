package engine_test

import (
	"slices"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// chokedPeer returns a peer that wants blocks and waits for a slot, and the pieces that
// it was granted until a rejected request showed that no more come.
func chokedPeer(t *testing.T, addr string, ih weir.InfoHash) (*barePeer, []int) {
	t.Helper()
	ctx := testContext(t, 20*time.Second)
	for range 40 {
		p := dialBare(t, addr, ih)
		p.send(wire.AppendBare(nil, pp.Interested))
		p.send(wire.AppendRequest(nil, pp.Request, 0, 0, 1)) // its answer shows that all before it was handled
		var granted []int
		for {
			m := p.expect(ctx, "an answer", func(wire.Message) bool { return true })
			if m.Type == pp.AllowedFast {
				granted = append(granted, m.Index)
			}
			if m.Type == pp.Reject || m.Type == pp.Piece {
				break
			}
		}
		if len(granted) > 0 {
			return p, granted
		}
	}
	t.Fatal("40 peers that want something, and none was granted anything")
	return nil, nil
}

// TestGrants: a choked peer that has nothing gets the pieces of its grant, and no others.
func TestGrants(t *testing.T) {
	c := newContent(t, 8<<20, 256<<10)
	for range 5 {
		if grants(t, c) {
			return
		}
	}
	t.Fatal("five times the choked peer's turn came meanwhile")
}

// grants is false if the peer was unchoked before it had asked for everything.
func grants(t *testing.T, c *swarmtest.Content) bool {
	t.Helper()
	_, _, addr := seeded(t, c)
	ctx := testContext(t, 20*time.Second)
	p, granted := chokedPeer(t, addr, c.InfoHash())
	if len(granted) != 10 {
		t.Errorf("granted %v", granted)
	}
	unchoked := false
	answer := func(index, begin int) pp.MessageType {
		p.send(wire.AppendRequest(nil, pp.Request, index, begin, weir.BlockBytes))
		return p.expect(ctx, "an answer", func(m wire.Message) bool {
			unchoked = unchoked || m.Type == pp.Unchoke
			return (m.Type == pp.Piece || m.Type == pp.Reject) && m.Index == index && m.Begin == begin
		}).Type
	}
	var got []int
	for i := range c.Info().NumPieces() {
		if answer(i, weir.BlockBytes) == pp.Piece {
			got = append(got, i)
		}
	}
	// A grant is no way around the slots: each piece of it is sent twice at most.
	left := 0
	for range 3 * len(granted) * 16 {
		if answer(granted[0], 0) == pp.Piece {
			left++
		}
	}
	if unchoked {
		return false
	}
	slices.Sort(granted)
	if !slices.Equal(got, granted) {
		t.Errorf("blocks of %v, granted were %v", got, granted)
	}
	if most := 2*len(granted)*16 - len(granted); left != most {
		t.Errorf("%d blocks more, want %d", left, most)
	}
	return true
}

// TestNoGrants: large pieces are not granted, and a peer that has enough gets no grant.
func TestNoGrants(t *testing.T) {
	none := func(t *testing.T, addr string, ih weir.InfoHash, field []bool) {
		t.Helper()
		p := dialBare(t, addr, ih)
		if field != nil {
			p.send(wire.AppendBitfield(nil, field))
		}
		p.send(wire.AppendBare(nil, pp.Interested))
		p.send(wire.AppendRequest(nil, pp.Request, 0, 0, 1))
		p.expect(testContext(t, 20*time.Second), "an answer", func(m wire.Message) bool {
			if m.Type == pp.AllowedFast {
				t.Fatalf("granted piece %d", m.Index)
			}
			return m.Type == pp.Reject || m.Type == pp.Piece
		})
	}
	t.Run("LargePieces", func(t *testing.T) {
		c := newContent(t, 16<<20, 8<<20)
		_, _, addr := seeded(t, c)
		for range 16 {
			none(t, addr, c.InfoHash(), nil)
		}
	})
	t.Run("HasMuch", func(t *testing.T) {
		c := newContent(t, 8<<20, 256<<10)
		_, _, addr := seeded(t, c)
		chokedPeer(t, addr, c.InfoHash()) // the slots are taken
		field := make([]bool, c.Info().NumPieces())
		for i := range 10 {
			field[i] = true
		}
		none(t, addr, c.InfoHash(), field)
	})
}
