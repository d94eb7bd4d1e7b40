package engine

import (
	"bytes"
	"net"
	"testing"
	"testing/synctest"

	"github.com/weirfs/weir/engine/internal/bitfield"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

// TestHavesInTurns: of a large torrent a peer is told of each piece once, and never of more
// at a time than the bound.
func TestHavesInTurns(t *testing.T) {
	const pieces = 2*bitfield.MaxHavesAtOnce + 1000
	held := make([]bool, pieces)
	var want []byte
	for i := range held {
		if held[i] = i != 5; held[i] {
			want = wire.AppendHave(want, i)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		p := &peer{told: bitfield.Told{Telling: true}, link: link.New(link.Options{
			Conn: ours, Inbox: link.NewInbox(), Pieces: func() int { return pieces }, Up: throttle.New(0), Down: throttle.New(0),
		})}
		p.link.Run(t.Context(), func(fn func()) { go fn() })
		var got []byte
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, err := theirs.Read(b)
				if got = append(got, b[:n]...); err != nil {
					return
				}
			}
		}()
		for p.told.Telling {
			if !p.link.Drained() {
				t.Fatal("something waits")
			}
			before := len(got)
			p.sendHaves(held)
			p.link.Flush()
			synctest.Wait()
			if n := len(got) - before; n > bitfield.MaxHavesAtOnce*9 {
				t.Fatalf("%d bytes at once", n)
			}
		}
		p.link.Close()
		synctest.Wait()
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes of haves, want %d", len(got), len(want))
		}
	})
}
