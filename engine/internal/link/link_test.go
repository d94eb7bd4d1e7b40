package link

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

func TestOutboxBounds(t *testing.T) {
	o := newOutbox(true)
	for i := range MostBlocks {
		if !o.Queue(Request{Block: Block{i, 0, 1}}) {
			t.Fatalf("block %d is refused", i)
		}
	}
	if o.Queue(Request{Block: Block{MostBlocks, 0, 1}}) {
		t.Error("a block more than the bound is queued")
	}
	metadata := Request{Block: Block{Index: 3}, Metadata: true, ID: 1}
	if !o.Queue(metadata) || o.Queue(metadata) {
		t.Error("a piece of metadata is queued twice, or not at all")
	}
	for i := range mostHashRequests {
		if !o.Queue(Request{Hashes: &wire.HashMessage{Index: i}}) {
			t.Fatalf("request %d for hashes is refused", i)
		}
	}
	if o.Queue(Request{Hashes: &wire.HashMessage{Index: mostHashRequests}}) {
		t.Error("a request for hashes more than the bound is queued")
	}
	o.Cancel(Block{5, 0, 1})
	if !o.Queue(Request{Block: Block{MostBlocks, 0, 1}}) {
		t.Error("a cancelled block leaves no room")
	}
	// A choke takes the blocks, and the blocks alone.
	o.Choke()
	if len(o.requests) != 1+mostHashRequests || o.blocks != 0 || !o.requests[0].same(metadata) {
		t.Errorf("%d answers, %d blocks are left after a choke", len(o.requests), o.blocks)
	}
	if !o.take(metadata) || !o.Queue(metadata) {
		t.Error("what was taken cannot be asked for again")
	}
}

// TestOutboxRoom: who leaves refusals waiting is not read from until it has taken
// them, or the box is closed.
func TestOutboxRoom(t *testing.T) {
	for name, release := range map[string]func(*outbox){
		"Taken":  func(o *outbox) { o.next(nil) },
		"Closed": func(o *outbox) { o.close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(true)
				for o.refusals <= mostRefusalBytes {
					o.waitRoom() // there is some
					o.Reject(Block{1, 2, 3})
				}
				passed := false
				go func() {
					o.waitRoom()
					passed = true
				}()
				synctest.Wait()
				if passed {
					t.Error("the peer is read from")
				}
				release(o)
				synctest.Wait()
				if !passed {
					t.Error("the peer is read from no more")
				}
			})
		})
	}
}

// TestOutboxOverflow: haves and the like that nobody takes end the connection.
func TestOutboxOverflow(t *testing.T) {
	o := newOutbox(true)
	for len(o.buf) <= mostControlBytes {
		if !o.Flush() {
			t.Fatalf("%d bytes are too many", len(o.buf))
		}
		o.Send(func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) })
	}
	if o.Flush() {
		t.Errorf("%d bytes wait and the peer stays", len(o.buf))
	}
}

// TestInboxBytes: each peer has its share of the inbox by bytes, all of them have
// theirs, and taking makes room.
func TestInboxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewInbox()
		post := func(l *Link, bytes int) *bool {
			done := new(bool)
			go func() { *done = m.post(Event{Link: l, Message: wire.Message{Bytes: bytes}}) }()
			synctest.Wait()
			return done
		}
		p := &Link{}
		n := 0
		var last *bool
		for last = post(p, 16<<10); *last; last = post(p, 16<<10) {
			n++
		}
		if bytes := n * (16 << 10); bytes > postedBytes || bytes < postedBytes*9/10 {
			t.Errorf("%d bytes of one peer are let in, want %d", bytes, postedBytes)
		}
		if !*post(&Link{}, 16<<10) {
			t.Error("another peer has to wait for the first")
		}
		if !*post(&Link{}, 2*postedBytes) {
			t.Error("a message of more than a peer's share is never let in")
		}
		if !m.post(Event{Do: func() {}}) {
			t.Error("what is no message waits")
		}
		total := 0
		for *post(&Link{}, postedBytes/2) {
			if total += postedBytes / 2; total > inboxBytes {
				t.Fatalf("%d bytes are let in", total)
			}
		}
		if taken := m.Take(nil); len(taken) < n {
			t.Errorf("%d events are taken of more than %d", len(taken), n)
		}
		synctest.Wait()
		if !*last {
			t.Error("the peer waits although there is room")
		}
		m.Close()
		synctest.Wait()
	})
}

// answers answers a request for a block with so many zeros.
type answers struct{}

func (answers) Answer(_ *Link, r Request, buf []byte) ([]byte, int, bool) {
	buf = wire.AppendPieceHeader(buf, r.Index, r.Begin, r.Length)
	return append(buf, make([]byte, r.Length)...), r.Length, true
}

func newLink(conn net.Conn) *Link {
	return New(Options{
		Conn: conn, Inbox: NewInbox(), Answerer: answers{}, Pieces: func() int { return 100 }, Up: throttle.New(0), Down: throttle.New(0),
	})
}

// TestIdlePeerStays: a peer that sends nothing but keep-alives stays, gets ours, and
// the owner hears nothing of it; of one that is silent it hears.
func TestIdlePeerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours)
		l.Run(t.Context(), func(fn func()) { go fn() })
		var keepAlives atomic.Int32
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := wire.NewReader(theirs, func() int { return 0 })
			for {
				m, err := r.Next()
				if err != nil {
					return
				}
				if m.Ignored && m.Bytes == 0 {
					keepAlives.Add(1)
				}
			}
		}()
		for range 30 {
			time.Sleep(2 * time.Minute)
			if _, err := theirs.Write(wire.AppendKeepAlive(nil)); err != nil {
				t.Fatal("an idle peer is lost: ", err)
			}
		}
		if e := l.Inbox.Take(nil); len(e) != 0 {
			t.Errorf("the owner hears of an idle peer: %v", e)
		}
		if n := keepAlives.Load(); n < 30 {
			t.Errorf("%d keep-alives came in an hour", n)
		}
		time.Sleep(silentAfter + time.Minute)
		if e := l.Inbox.Take(nil); len(e) != 1 || e[0].Link != l || !errors.Is(e[0].Err, ErrSilent) {
			t.Errorf("of a silent peer the owner hears %v", e)
		}
		l.Close()
		<-ended
		_ = theirs.Close()
	})
}

// TestLink: messages come out and go in, and what was asked for is answered and
// counted.
func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours)
		l.Run(t.Context(), func(fn func()) { go fn() })
		r := wire.NewReader(theirs, func() int { return 100 })
		if _, err := theirs.Write(wire.AppendRequest(wire.AppendHave(nil, 7), pp.Request, 3, 0, 1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		<-l.Inbox.Wake()
		events := l.Inbox.Take(nil)
		if len(events) != 2 || events[0].Message.Type != pp.Have || events[0].Message.Index != 7 || events[1].Message.Type != pp.Request {
			t.Fatalf("events %v", events)
		}
		if m := events[1].Message; !l.Queue(Request{Block: Block{m.Index, m.Begin, m.Length}}) {
			t.Fatal("a request is refused")
		}
		l.SendBare(pp.Unchoke)
		l.Flush()
		if m, err := r.Next(); err != nil || m.Type != pp.Unchoke {
			t.Errorf("first comes %v, %v, want an unchoke", m.Type, err)
		}
		if m, err := r.Next(); err != nil || m.Type != pp.Piece || m.Index != 3 || m.Length != 1000 {
			t.Errorf("then comes %v, %v, want the block", m.Type, err)
		}
		synctest.Wait()
		if l.Sent() != 1000 || l.Up.Total() != 1000 {
			t.Errorf("%d bytes are counted, and %d under the limit, want 1000", l.Sent(), l.Up.Total())
		}
		_ = theirs.Close()
		synctest.Wait()
		if events := l.Inbox.Take(nil); len(events) == 0 || events[0].Err == nil {
			t.Errorf("of the end of the connection the owner hears %v", events)
		}
		l.Close()
	})
}

// TestSlowPeerStays: who takes nothing of what waits for it fails, who takes a little
// in time does not.
func TestSlowPeerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _ = theirs.Close() }()
		l := newLink(ours)
		l.SendBare(pp.Unchoke)
		begin := time.Now()
		w := writer{l: l}
		if _, _, _, err := w.drain(); err == nil || time.Since(begin) != writeTimeout {
			t.Errorf("%v after %v, want a failure after %v", err, time.Since(begin), writeTimeout)
		}
		ours, theirs = net.Pipe()
		l.Conn = ours
		l.Send(func(b []byte) []byte { return append(b, make([]byte, 4*writeStep)...) })
		go func() {
			for range 4 {
				time.Sleep(writeTimeout - time.Second)
				if _, err := io.ReadFull(theirs, make([]byte, writeStep)); err != nil {
					return
				}
			}
		}()
		if _, _, wrote, err := w.drain(); err != nil || !wrote {
			t.Errorf("a slow peer: %v", err)
		}
	})
}

// TestAllowance: a flood is noticed, what honest peers send is not.
func TestAllowance(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		m      wire.Message
		pieces int
		every  time.Duration
		n      int
		ok     bool
	}{
		{"keep-alives", wire.Message{Ignored: true}, 100, 0, 9000, false},
		{"keep-alives of an hour", wire.Message{Ignored: true}, 100, time.Second / 10, 36000, true},
		{"cancels in the endgame", wire.Message{Type: pp.Cancel}, 100, time.Microsecond, 4000, true},
		{"chokes", wire.Message{Type: pp.Choke}, 100, 0, 9000, false},
		{"large unknown messages", wire.Message{Type: 99, Ignored: true, Bytes: 1 << 20}, 100, 0, 10, false},
		{"haves of all pieces", wire.Message{Type: pp.Have}, 100_000, 0, 200_000, true},
		{"haves again and again", wire.Message{Type: pp.Have}, 1000, 0, 20_000, false},
		{"haves before the metadata", wire.Message{Type: pp.Have}, 0, 0, 100_000, true},
		{"blocks", wire.Message{Type: pp.Piece, Bytes: 16 << 10}, 100, 0, 100_000, true},
		{"requests", wire.Message{Type: pp.Request}, 100, 0, 100_000, true},
	} {
		l, at := &Link{Options: Options{Pieces: func() int { return c.pieces }}}, now
		failed := slices.ContainsFunc(make([]struct{}, c.n), func(struct{}) bool {
			at = at.Add(c.every)
			return l.charge(&c.m, at) != nil
		})
		if failed == c.ok {
			t.Errorf("%s: ended: %v", c.name, failed)
		}
	}
}
