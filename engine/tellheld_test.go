package engine

import (
	"bytes"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// TestTellHeldInTurns: of a large torrent a peer hears piece by piece, each once, and
// never more at a time than the bound.
func TestTellHeldInTurns(t *testing.T) {
	const pieces = 2*mostHavesAtOnce + 1000
	held := make([]bool, pieces)
	var want []byte
	for i := range held {
		if held[i] = i != 5; held[i] {
			want = wire.AppendHave(want, i)
		}
	}
	info := &weir.TorrentInfo{PieceLength: weir.BlockBytes, Length: pieces * weir.BlockBytes}
	s := &swarm{pick: picker.New(layout{info}, held, picker.Options{})}
	p := &peer{out: newOutbox(), tellingHeld: true}
	var got []byte
	for p.tellingHeld {
		if !p.out.emptied() {
			t.Fatal("something waits")
		}
		s.tellHeld(p)
		b, _, ok := p.out.next(nil)
		if !ok || len(b) > mostHavesAtOnce*9 {
			t.Fatalf("%d bytes at once", len(b))
		}
		got = append(got, b...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of haves, want %d", len(got), len(want))
	}
}
