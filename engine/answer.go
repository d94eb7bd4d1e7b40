package engine

import (
	"context"
	"log/slog"
	"slices"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connector"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/metadata"
	"github.com/weirfs/weir/engine/internal/storage"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

var _ link.Answerer = (*content)(nil)

// content is what peers can ask of a warm torrent: blocks, metadata and hashes. It is
// safe for concurrent use, and not for the owner: it may read the disk.
type content struct {
	t    *Torrent
	ctx  context.Context // ends with the swarm
	log  *slog.Logger
	held *storage.Pieces
}

// CheckPiece hashes a piece, given as consecutive slices. The error wraps weir.ErrCorrupt
// when it is another piece, and weir.ErrNotFound when its hash is not known.
func (t *Torrent) CheckPiece(index int, blocks [][]byte) error {
	m := t.meta.Load()
	if m == nil {
		return weir.Errorf(weir.ErrNotFound, "the metadata of %s is not known", t.ih)
	}
	return m.CheckPiece(index, blocks)
}

// heldBlock fills p from a piece that we have.
func (c *content) heldBlock(index int, p []byte, off int64) bool {
	info := c.t.LoadedInfo()
	if info == nil || index < 0 || index >= info.NumPieces() || !c.t.eng.storeReady() {
		return false
	}
	begin := info.PieceRange(index).Off + off
	part, off := partOf(info, index, weir.Range{Off: begin, End: begin + int64(len(p))}, p)
	if len(part) < len(p) {
		clear(p) // padding is in no piece
	}
	if len(part) == 0 {
		return true
	}
	ok, err := c.held.ReadAt(index, part, off)
	return ok && err == nil
}

// Answer makes what a peer asked for.
func (c *content) Answer(l *link.Link, r link.Request, buf []byte) (answer []byte, payload int, ok bool) {
	switch {
	case r.Hashes != nil:
		answer, payload = c.hashes(*r.Hashes, buf)
		return answer, payload, true
	case r.Metadata:
		answer, payload = c.metadata(r, buf)
		return answer, payload, true
	}
	return c.block(l, r.Block, buf)
}

// metadata is a piece of the info dictionary, or its refusal.
func (c *content) metadata(r link.Request, buf []byte) (answer []byte, payload int) {
	b := c.t.meta.Dictionary()
	off := r.Index * metadata.PieceBytes
	if off >= len(b) {
		return wire.AppendMetadataReject(buf, r.ID, r.Index), 0
	}
	data := b[off:min(off+metadata.PieceBytes, len(b))]
	return wire.AppendMetadata(buf, r.ID, r.Index, len(b), data), len(data)
}

// hashes are what a peer asked for of a hash tree, or the refusal.
func (c *content) hashes(req wire.HashMessage, buf []byte) (answer []byte, payload int) {
	if h := c.t.meta.V2Hashes(); h != nil {
		hashes, ok := h.Answer(verify.HashRequest(req))
		if !ok {
			hashes, ok = c.hashBelow(h, verify.HashRequest(req))
		}
		if ok {
			return wire.AppendHashes(buf, pp.Hashes, req, hashes), 32 * len(hashes)
		}
	}
	return wire.AppendHashes(buf, pp.HashReject, req, nil), 0
}

// hashBelow makes hashes below the layer of pieces, for which a piece is read and
// hashed: a request is small, so that is done for one at a time, whoever asks.
func (c *content) hashBelow(h *verify.Hashes, req verify.HashRequest) ([][32]byte, bool) {
	select {
	case c.t.eng.belowLayer <- struct{}{}:
		defer func() { <-c.t.eng.belowLayer }()
		return h.AnswerBelow(req, c.heldBlock)
	case <-c.ctx.Done():
		return nil, false
	}
}

// block is a block, or its refusal. It reports false if there is nothing to send.
func (c *content) block(l *link.Link, b link.Block, buf []byte) (answer []byte, payload int, ok bool) {
	buf = wire.AppendPieceHeader(buf, b.Index, b.Begin, b.Length)
	head := len(buf)
	buf = slices.Grow(buf, b.Length)[:head+b.Length]
	real := buf[head:]
	if n := c.t.LoadedInfo().PieceRange(b.Index).Len() - int64(b.Begin); n < int64(b.Length) {
		real = real[:max(0, n)]
		clear(buf[head+len(real):]) // padding, or the gap behind a file of a v2 torrent
	}
	if ok = len(real) == 0; !ok {
		var err error
		if ok, err = c.held.ReadAt(b.Index, real, int64(b.Begin)); err != nil {
			c.log.Debug("piece not read for a peer", "piece", b.Index, "peer", l.Remote().String(), "err", err)
			ok = false
		}
	}
	if !ok {
		if !l.Fast() {
			return nil, 0, false
		}
		return wire.AppendRequest(buf[:0], pp.Reject, b.Index, b.Begin, b.Length), 0, true
	}
	c.t.counts.uploaded.Add(int64(b.Length))
	return buf, b.Length, true
}

var _ connector.Torrents = (*incoming)(nil)

// incoming is an Engine for peers that connect.
type incoming Engine

// InfoHashes calls yield with those of all torrents until it returns false.
func (in *incoming) InfoHashes(yield func(weir.InfoHash) bool) {
	for _, t := range (*Engine)(in).Torrents() {
		if !yield(t.ih) {
			return
		}
		if n := t.meta.Names(); n.Hybrid() && !yield(n.Other(t.ih)) {
			return
		}
	}
}

// Names returns the info hashes of the torrent that has ih.
func (in *incoming) Names(ih weir.InfoHash) (source.Names, bool) {
	if t, ok := (*Engine)(in).named(ih); ok {
		return t.meta.Names(), true
	}
	return source.Names{}, false
}

// Connector returns that of the torrent that has ih, warming it if there are not too many
// that are warm.
func (in *incoming) Connector(ih weir.InfoHash) (*connector.Connector, error) {
	t, ok := (*Engine)(in).named(ih)
	if !ok {
		return nil, weir.Errorf(weir.ErrNotFound, "torrent %s was removed while a peer connected", ih)
	}
	sw, err := t.warmForPeer()
	if err != nil {
		return nil, err
	}
	return sw.conns, nil
}
