package upload

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

// zeros answers each request with zeros.
type zeros struct{}

func (zeros) Answer(_ *link.Link, r link.Request, buf []byte) ([]byte, int, bool) {
	buf = wire.AppendPieceHeader(buf, r.Index, r.Begin, r.Length)
	return append(buf, make([]byte, r.Length)...), r.Length, true
}

// TestUploads: a peer that wants blocks is served, one that has ceased to want them or
// asks while it is choked is refused, and nonsense ends the connection.
func TestUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		up := throttle.New(0)
		l := link.New(link.Options{
			Conn: ours, Hello: wire.Handshake{Bits: wire.OurBits()}, Inbox: link.NewInbox(), Answerer: zeros{},
			Pieces: func() int { return 4 }, Up: up, Down: throttle.New(0),
		})
		l.Run(t.Context(), func(fn func()) { go fn() })
		var got []pp.MessageType
		go func() {
			r := wire.NewReader(theirs, func() int { return 4 })
			for {
				m, err := r.Next()
				if err != nil {
					return
				}
				got = append(got, m.Type)
			}
		}()
		heard := func() []pp.MessageType {
			l.Flush()
			synctest.Wait()
			out := got
			got = nil
			return out
		}
		expect := func(what string, want pp.MessageType) {
			t.Helper()
			if h := heard(); len(h) != 1 || h[0] != want {
				t.Errorf("%s: heard %v, want %v", what, h, want)
			}
		}

		info := &weir.TorrentInfo{PieceLength: weir.BlockBytes, Length: 4 * weir.BlockBytes}
		u := New(weir.InfoHash{1}, up)
		p := u.Join(l, time.Now())
		request := wire.Message{Type: pp.Request, Index: 1, Length: weir.BlockBytes}
		if err := u.Request(p, &request, time.Now()); err != nil {
			t.Fatal(err)
		}
		expect("before the metadata", pp.Reject)

		picks := picker.New(picker.Layout{Info: info}, []bool{true, true, true, false}, picker.Options{MemoryBytes: 1 << 20})
		u.Begin(info, picks)
		p.Introduce(picks.Join(picker.PeerOptions{Fast: true}))
		u.SetInterested(p, true, time.Now())
		if h := heard(); len(h) == 0 || h[0] != pp.Unchoke || !p.Wants() {
			t.Fatalf("an interested peer heard %v, want an unchoke", h)
		}
		if err := u.Request(p, &request, time.Now()); err != nil {
			t.Fatal(err)
		}
		expect("a piece that is held", pp.Piece)
		missing := request
		missing.Index = 3
		if err := u.Request(p, &missing, time.Now()); err != nil {
			t.Fatal(err)
		}
		expect("a piece that is not held", pp.Reject)
		beyond := request
		beyond.Index = 4
		if err := u.Request(p, &beyond, time.Now()); err == nil {
			t.Error("a piece that does not exist is not held against the peer")
		}

		time.Sleep(2 * time.Second)
		u.Round(time.Now())
		if p.Took.IsZero() || p.Moved != p.Took {
			t.Errorf("took %v, moved %v: want the moment of the measure", p.Took, p.Moved)
		}
		u.SetUploadOnly(p, true, time.Now())
		if p.Wants() {
			t.Error("a peer that only uploads wants blocks")
		}
		u.Leave(p, time.Now())
		l.Close()
		_ = theirs.Close()
	})
}
