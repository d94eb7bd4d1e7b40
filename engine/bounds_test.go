package engine_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// metadataOf asks for a piece of the info dictionary.
func metadataOf(piece string) []byte {
	return wire.AppendExtended(nil, wire.MetadataID, []byte("d8:msg_typei0e5:piecei"+piece+"ee"))
}

// answered waits until all that was sent before has been handled: the rejection of a piece
// of metadata that does not exist comes after the answers to earlier requests, except those
// that wait for the upload limit. Each message goes to seen.
func (p *barePeer) answered(ctx context.Context, seen func(wire.Message)) {
	p.tb.Helper()
	p.send(metadataOf("999999"))
	p.expect(ctx, "refusal", func(m wire.Message) bool {
		seen(m)
		return m.Metadata != nil && m.Metadata.Type == int(pp.RejectMetadataExtensionMsgType)
	})
}

// ended waits until the engine ends the connection.
func (p *barePeer) ended(ctx context.Context) {
	p.tb.Helper()
	for {
		select {
		case _, open := <-p.in:
			if !open {
				return
			}
		case <-ctx.Done():
			p.tb.Fatal("the connection lives")
		}
	}
}

// TestMetadataIsUploaded: its pieces wait for the upload limit as blocks do, one
// asked for twice is sent once, and all asked for at once come.
func TestMetadataIsUploaded(t *testing.T) {
	c := newManyFiles(t, swarmtest.V1)
	e := openEngine(t, engine.Options{UploadLimit: 1})
	addParsed(t, e, c)
	ctx := testContext(t, time.Minute)
	p := dialBare(t, portOf(e), c.InfoHash())
	p.send(wire.AppendExtended(nil, 0, []byte("d1:md11:ut_metadatai1eee")))
	pieces := (len(c.InfoBytes()) + 16<<10 - 1) / (16 << 10)
	got := map[int]int{}
	note := func(m wire.Message) {
		if m.Metadata != nil && m.Metadata.Type == int(pp.DataMetadataExtensionMsgType) {
			got[m.Metadata.Piece]++
		}
	}
	for range 3 {
		for i := range pieces {
			p.send(metadataOf(strconv.Itoa(i)))
		}
	}
	p.answered(ctx, note)
	if len(got) > 1 {
		t.Errorf("%d pieces came, although the limit lets one pass", len(got))
	}
	e.SetLimits(0, 0)
	for len(got) < pieces {
		p.expect(ctx, "metadata", func(m wire.Message) bool { note(m); return true })
	}
	p.answered(ctx, note)
	for i, n := range got {
		if n > 2 { // one may have left when it was asked for again
			t.Errorf("piece %d came %d times", i, n)
		}
	}
}

// TestHashesAreUploaded: as many requests for hashes as a program that asks for all
// at once sends are answered, within the upload limit.
func TestHashesAreUploaded(t *testing.T) {
	a := newAttackTarget(t)
	a.e.SetLimits(1, 0)
	ctx := testContext(t, time.Minute)
	p := dialBare(t, portOf(a.e), a.c.InfoHash())
	p.send(wire.AppendExtended(nil, 0, []byte("d1:md11:ut_metadatai1eee")))
	const n = 16 // pairs of the layer's 64 hashes
	for i := range n {
		p.send(wire.AppendHashes(nil, pp.HashRequest, wire.HashMessage{Root: a.target.Root, BaseLayer: 1, Index: 4 * i, Length: 4}, nil))
	}
	got := 0
	count := func(m wire.Message) {
		if m.Type == pp.Hashes {
			got++
		}
		if m.Type == pp.HashReject {
			t.Error("hashes are refused")
		}
	}
	p.answered(ctx, count)
	if got > 1 {
		t.Errorf("%d answers came, although the limit lets one pass", got)
	}
	a.e.SetLimits(0, 0)
	for got < n {
		p.expect(ctx, "hashes", func(m wire.Message) bool { count(m); return true })
	}
}

// TestRequestsBeyondTheQueue are refused to a peer that understands that, and end the
// connection of one that would wait for ever.
func TestRequestsBeyondTheQueue(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	tor, _, addr := seeded(t, c)
	tor.SetUploadLimit(1)
	ctx := testContext(t, time.Minute)
	const queue, sent = 512, 700
	ask := func(p *barePeer) {
		p.send(wire.AppendExtended(nil, 0, []byte("d1:md11:ut_metadatai1eee")))
		p.send(wire.AppendBare(nil, pp.Interested))
		p.expect(ctx, "unchoke", func(m wire.Message) bool { return m.Type == pp.Unchoke })
		var all []byte // at once: the connection may end before the last
		for i := range sent {
			all = wire.AppendRequest(all, pp.Request, i%4, i/4%16*weir.BlockBytes, weir.BlockBytes)
		}
		p.send(all)
	}
	p := dialBare(t, addr, c.InfoHash())
	ask(p)
	rejects := 0
	p.answered(ctx, func(m wire.Message) {
		if m.Type == pp.Reject {
			rejects++
		}
	})
	if rejects < sent-queue-1 || rejects > sent-queue { // one may have been sent
		t.Errorf("%d of %d requests are refused, want those beyond %d", rejects, sent, queue)
	}
	bits := wire.OurBits()
	bits.SetBit(pp.ExtensionBitFast, false)
	p = dialBareBits(t, "127.0.0.1", addr, c.InfoHash(), bits)
	ask(p)
	p.ended(ctx)
}

// TestUnaskedAnswers: a few blocks and rejects beyond what was asked for are forgiven,
// more end the connection.
func TestUnaskedAnswers(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	block := append(wire.AppendPieceHeader(nil, 0, 0, weir.BlockBytes), make([]byte, weir.BlockBytes)...)
	for name, m := range map[string][]byte{"Block": block, "Reject": wire.AppendRequest(nil, pp.Reject, 0, 0, weir.BlockBytes)} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, engine.Options{})
			tor := addTorrent(t, e, specOf(c))
			ctx := testContext(t, time.Minute)
			p := dialBare(t, portOf(e), c.InfoHash())
			p.send(wire.AppendExtended(nil, 0, []byte("d1:md11:ut_metadatai1eee")))
			for range 64 {
				p.send(m)
			}
			p.answered(ctx, func(wire.Message) {})
			if s := tor.Stats(); name == "Block" && (s.Unasked != 64*weir.BlockBytes || s.Wasted != s.Unasked || s.Downloaded != s.Unasked) {
				t.Errorf("%d bytes were never asked for, want %d: %+v", s.Unasked, 64*weir.BlockBytes, s)
			}
			p.send(m)
			p.ended(ctx)
		})
	}
}
