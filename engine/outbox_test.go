package engine

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// noStore is a Store that has nothing and takes nothing.
type noStore struct{}

func (noStore) Put(weir.PieceID, [][]byte) error                 { return weir.ErrNoSpace }
func (noStore) ReadAt(weir.PieceID, []byte, int64) (bool, error) { return false, nil }
func (noStore) Has(weir.PieceID) bool                            { return false }
func (noStore) Held(_ weir.InfoHash, n int) []bool               { return make([]bool, n) }
func (noStore) PutRecord(string, []byte, []byte) error           { return nil }
func (noStore) Record(string, []byte) ([]byte, error)            { return nil, weir.ErrNotFound }

func TestOutboxBounds(t *testing.T) {
	o := newOutbox()
	for i := range mostUploads {
		if !o.push(answer{upload: upload{i, 0, 1}}) {
			t.Fatalf("block %d is refused", i)
		}
	}
	if o.push(answer{upload: upload{mostUploads, 0, 1}}) {
		t.Error("a block more than the bound is queued")
	}
	metadata := answer{upload: upload{index: 3}, metadata: true, id: 1}
	if !o.push(metadata) || o.push(metadata) {
		t.Error("a piece of metadata is queued twice, or not at all")
	}
	for i := range mostHashAsks {
		if !o.push(answer{hashes: &wire.HashMessage{Index: i}}) {
			t.Fatalf("request %d for hashes is refused", i)
		}
	}
	if o.push(answer{hashes: &wire.HashMessage{Index: mostHashAsks}}) {
		t.Error("a request for hashes more than the bound is queued")
	}
	o.cancel(upload{5, 0, 1}, true)
	if !o.push(answer{upload: upload{mostUploads, 0, 1}}) {
		t.Error("a cancelled block leaves no room")
	}
	// A choke takes the blocks, and the blocks alone.
	o.choke(true)
	if len(o.answers) != 1+mostHashAsks || o.blocks != 0 || !o.answers[0].same(metadata) {
		t.Errorf("%d answers, %d blocks are left after a choke", len(o.answers), o.blocks)
	}
	if !o.take(metadata) || !o.push(metadata) {
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
				o := newOutbox()
				for o.refusals <= mostRefusals {
					o.waitRoom() // there is some
					o.reject(upload{1, 2, 3})
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
	o := newOutbox()
	for len(o.buf) <= mostControl {
		if !o.flush() {
			t.Fatalf("%d bytes are too many", len(o.buf))
		}
		o.control(func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) })
	}
	if o.flush() {
		t.Errorf("%d bytes wait and the peer stays", len(o.buf))
	}
}

// TestMailboxBytes: each peer has its share of the mailbox by bytes, all of them have
// theirs, and taking makes room.
func TestMailboxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox()
		post := func(p *peer, bytes int) *bool {
			done := new(bool)
			go func() { *done = m.post(event{peer: p, msg: wire.Message{Bytes: bytes}}) }()
			synctest.Wait()
			return done
		}
		p := &peer{}
		n := 0
		var last *bool
		for last = post(p, 16<<10); *last; last = post(p, 16<<10) {
			n++
		}
		if bytes := n * (16 << 10); bytes > postedBytes || bytes < postedBytes*9/10 {
			t.Errorf("%d bytes of one peer are let in, want %d", bytes, postedBytes)
		}
		if !*post(&peer{}, 16<<10) {
			t.Error("another peer has to wait for the first")
		}
		if !*post(&peer{}, 2*postedBytes) {
			t.Error("a message of more than a peer's share is never let in")
		}
		if !m.post(event{fn: func() {}}) {
			t.Error("what is no message waits")
		}
		total := 0
		for *post(&peer{}, postedBytes/2) {
			if total += postedBytes / 2; total > mailboxBytes {
				t.Fatalf("%d bytes are let in", total)
			}
		}
		if taken := m.take(nil); len(taken) < n {
			t.Errorf("%d events are taken of more than %d", len(taken), n)
		}
		synctest.Wait()
		if !*last {
			t.Error("the peer waits although there is room")
		}
		m.close()
		synctest.Wait()
	})
}

// TestIdlePeerStays: a peer that sends nothing but keep-alives stays, gets ours, and
// is of no more use for them; one that is silent goes.
func TestIdlePeerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Store: noStore{}, Idle: 100 * time.Hour})
		tor, err := e.Add(&source.Spec{InfoHash: weir.InfoHash{1}})
		if err != nil {
			t.Fatal(err)
		}
		sw, err := tor.warm()
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		slot, err := e.incomingSlot(sw, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		joined := sw.hand(func() { err = sw.join(ours, slot, "127.0.0.1:1", wire.Hello{PeerID: [20]byte{1}}, 0, false, nil) })
		if !joined || err != nil {
			t.Fatal(joined, err)
		}
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
		here := func() (n int, moved time.Time) {
			sw.hand(func() {
				n = len(sw.peers)
				for p := range sw.peers {
					moved = p.trade.moved
				}
			})
			return n, moved
		}
		_, moved := here()
		for range 30 {
			time.Sleep(2 * time.Minute)
			if _, err := theirs.Write(wire.AppendKeepAlive(nil)); err != nil {
				t.Fatal("an idle peer is lost: ", err)
			}
		}
		if n, now := here(); n != 1 || !now.Equal(moved) {
			t.Errorf("%d peers; a block moved at %v, want %v", n, now, moved)
		}
		if n := keepAlives.Load(); n < 30 {
			t.Errorf("%d keep-alives came in an hour", n)
		}
		time.Sleep(silentAfter + time.Minute)
		<-ended
		if n, _ := here(); n != 0 {
			t.Error("a silent peer stays")
		}
		_ = theirs.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDeafPeerGoes: who takes nothing of what waits for it is dropped, and not read
// from before.
func TestDeafPeerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _ = theirs.Close() }()
		e := New(Options{Store: noStore{}})
		tor, err := e.Add(&source.Spec{InfoHash: weir.InfoHash{1}})
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{sw: newSwarm(tor, nil, nil), conn: ours, out: newOutbox()}
		p.quickAck = wire.NewQuickAck(ours, func() bool { return false })
		p.out.bare(pp.Unchoke)
		begin := time.Now()
		w := writer{p: p}
		if _, _, _, err := w.drain(); err == nil || time.Since(begin) != writeTimeout {
			t.Errorf("%v after %v, want a failure after %v", err, time.Since(begin), writeTimeout)
		}
		// One that takes a little in that time stays.
		ours, theirs = net.Pipe()
		p.conn = ours
		p.out.control(func(b []byte) []byte { return append(b, make([]byte, 4*writeStep)...) })
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
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTolerance: a flood is noticed, what honest peers send is not.
func TestTolerance(t *testing.T) {
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
		p, at := &peer{}, now
		failed := slices.ContainsFunc(make([]struct{}, c.n), func(struct{}) bool {
			at = at.Add(c.every)
			return p.tolerate(&c.m, at, c.pieces) != nil
		})
		if failed == c.ok {
			t.Errorf("%s: ended: %v", c.name, failed)
		}
	}
}
