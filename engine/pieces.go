package engine

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/storage"
	"github.com/weirfs/weir/engine/internal/wire"
)

// pieces are on their way from blocks that peers give to the Store. They belong to the
// swarm's owner, but for what is held.
type pieces struct {
	s       *swarm
	held    *storage.Pieces
	charged int64 // what this swarm has added to Engine.inMemory

	committed chan struct{} // closed when, in the end, no piece is put any more
}

// charge tells the engine how much memory the pieces of this swarm take, and the
// picker how much those may that are not verified.
func (c *pieces) charge() {
	s := c.s
	begun := s.pick.Begun()
	c.add(begun + c.held.Bytes() - c.charged)
	s.pick.SetMemory(begun + s.eng.opts.MemoryBytes - s.eng.inMemory.Load())
}

func (c *pieces) add(bytes int64) {
	c.s.eng.inMemory.Add(bytes)
	c.charged += bytes
}

// await waits, in the end, for those that are being put.
func (c *pieces) await() {
	c.held.Wait()
	close(c.committed)
}

// end lets all of them go.
func (c *pieces) end() {
	c.held.Close()
	c.add(-c.charged)
}

// block takes a block that a peer delivered.
func (c *pieces) block(p *peer, m *wire.Message, at time.Time) error {
	s := c.s
	if s.pick == nil {
		m.Data.Free()
		return link.ErrProtocol
	}
	b, bytes, ok := s.layout.BlockAt(m.Index, m.Begin)
	if !ok || m.Length != bytes {
		m.Data.Free()
		return link.ErrProtocol
	}
	s.t.counts.downloaded.Add(int64(m.Length))
	p.give.Received += int64(m.Length)
	if err := p.link.Answered(); err != nil {
		m.Data.Free()
		return err
	}
	m.Data.Extend(m.Begin%weir.BlockBytes, storage.BlockBytes(s.t.LoadedInfo().PieceRange(m.Index).Len(), m.Begin/weir.BlockBytes))
	if c.received(p.pk, b, m.Data, int64(m.Length), at) {
		p.give.Gave = at
	}
	return nil
}

// received takes a block that a peer or a web seed gave, and reports whether it is of
// use. bytes is what was sent; data has the padding at its ends, too.
func (c *pieces) received(from *picker.Peer, b picker.Block, data picker.Buffer, bytes int64, at time.Time) bool {
	s := c.s
	d := s.pick.Received(at, from, b, data)
	if !d.Kept {
		data.Free()
		s.t.counts.wasted.Add(bytes)
		if !d.Asked {
			s.t.counts.unasked.Add(bytes)
		}
		return false
	}
	if d.Complete != nil {
		c.verify(d.Complete)
	} else if slices.Contains(s.pick.Blocks.Wanted(b.Piece), b.Index) {
		s.reads.blocks.verify(at, b)
	}
	return true
}

// verify hashes a complete copy of a piece beside the owner, once its hash is known.
func (c *pieces) verify(whole *picker.Copy) {
	s := c.s
	meta, suspicious := s.t.meta.InMemory(), s.pick.Suspicious(whole.Index())
	if !meta.Hashes.Known(whole.Index()) {
		s.hashes.waiting = append(s.hashes.waiting, whole)
		s.hashes.need(whole.Index())
		return
	}
	blocks := whole.Buffers()
	d := storage.NewPiece(s.layout, whole.Index(), blocks)
	s.spawn(func() {
		s.eng.hashing <- struct{}{}
		right := meta.Hashes.Check(d.Index, d.Blocks())
		var digests []uint64
		if suspicious || !right {
			digests = digestsOf(blocks)
		}
		<-s.eng.hashing
		s.do(func() { c.judged(whole, d, right, digests) })
	})
}

// seed keys the digests that tell which peer sent a wrong block.
var seed = maphash.MakeSeed()

func digestsOf(blocks []picker.Buffer) []uint64 {
	d := make([]uint64, len(blocks))
	for i, b := range blocks {
		d[i] = maphash.Bytes(seed, b.Bytes())
	}
	return d
}

// judged takes the verdict on a copy of a piece; d is the same with its padding.
func (c *pieces) judged(whole *picker.Copy, d *storage.Piece, right bool, digests []uint64) {
	s := c.s
	var guilty []*picker.Peer
	senders := whole.Senders()
	if right {
		for _, from := range senders {
			from.Ref.Right(d.Index)
		}
		var first bool
		if first, guilty = s.pick.Verified(whole, digests); first {
			s.t.counts.verified.Add(1)
			c.held.Add(d)
			s.reads.release(d.Index)
			s.spread(d.Index)
			c.commit(d)
		}
	} else {
		if !s.pick.Held(d.Index) {
			s.t.counts.failed.Add(1)
			s.log.Debug("piece failed verification", "piece", d.Index)
		}
		guilty = s.pick.Failed(time.Now(), whole, digests)
	}
	for _, g := range guilty {
		g.Ref.Wrong(d.Index)
	}
}

// commit puts a verified piece into the Store behind the readers' backs.
func (c *pieces) commit(d *storage.Piece) {
	s := c.s
	hash := func() []byte {
		if m := s.t.meta.Load(); m != nil {
			return m.Hashes.Hash(d.Index)
		}
		return nil
	}
	c.held.Commit(d, hash, func(err error) {
		if err == nil {
			info := s.layout.Info
			if first, ok := info.BlockID(d.Index, 0); ok {
				c.held.ForgetBlocks(first, d.NumBlocks())
			}
			s.do(func() { c.evicted(d.Index) }) // if it was, as soon as it was put
			return
		}
		s.do(func() {
			if errors.Is(err, weir.ErrNoSpace) {
				s.log.Debug("piece not cached", "piece", d.Index, "err", err)
			} else {
				s.log.Warn("piece not cached", "piece", d.Index, "err", err)
			}
			c.held.Retain(d.Index)
		})
	})
}

// dropped says that a piece which the Store refused makes room for a newer one.
func (c *pieces) dropped(index int) {
	c.s.do(func() {
		c.held.Remove(index)
		c.s.pick.Lost(index)
	})
}

// adoptAtOnce is how long the owner looks for pieces that other torrents have
// before it goes on and comes back.
const adoptAtOnce = 10 * time.Millisecond

// adopt takes those pieces of spans from the Store that it has under another name.
func (c *pieces) adopt(spans []picker.Span) {
	s := c.s
	m := s.t.meta.InMemory()
	if m == nil || s.pick == nil {
		return
	}
	begin := time.Now()
	for n, span := range spans {
		for i := span.First; i < span.End; i++ {
			if i%64 == 63 && time.Since(begin) > adoptAtOnce {
				rest := append([]picker.Span{{First: i, End: span.End}}, spans[n+1:]...)
				s.do(func() { c.adopt(rest) })
				return
			}
			if s.pick.Held(i) {
				continue
			}
			if c.held.Adopt(i, m.Hashes.Hash(i), m.Info.PieceRange(i).Len()) && s.pick.Found(i) {
				s.reads.release(i)
				s.spread(i)
			}
		}
	}
}

// Evicted says that the Store has dropped a verified piece. Peers are told, and if
// the piece is wanted it is fetched again. It does not wait.
func (t *Torrent) Evicted(index int) {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	if sw != nil {
		sw.do(func() { sw.pieces.evicted(index) })
	}
}

// Rescan has the swarm look for pieces that the Store has got from elsewhere. It does not
// wait.
func (t *Torrent) Rescan() {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	if sw != nil {
		sw.do(sw.pieces.rescan)
	}
}

func (c *pieces) rescan() {
	s := c.s
	if s.pick == nil {
		return
	}
	for i := range s.t.LoadedInfo().NumPieces() {
		if !s.pick.Held(i) && c.held.Has(i) && s.pick.Found(i) {
			s.reads.release(i)
			s.spread(i)
		}
	}
}

func (c *pieces) evicted(index int) {
	s := c.s
	if s.pick == nil || index < 0 || index >= s.t.LoadedInfo().NumPieces() || !s.pick.Held(index) {
		return
	}
	if c.held.Has(index) {
		return // it is back already
	}
	s.pick.Lost(index)
	for _, p := range s.peers {
		p.lost(index)
	}
}

// unwantedFor is how long blocks of a piece that nobody wants any more are kept: a
// reader often comes back.
const unwantedFor = 30 * time.Second

// dropUnwanted frees what was received of pieces that nobody wants any more; all of it
// when memory is short.
func (c *pieces) dropUnwanted(now time.Time) {
	s := c.s
	if s.pick == nil {
		return
	}
	before := now.Add(-unwantedFor)
	if s.eng.inMemory.Load() > s.eng.opts.MemoryBytes*3/4 {
		before = now.Add(time.Nanosecond)
	}
	s.pick.DropUnwanted(before)
}

// sendHaves tells a peer that was greeted before we knew what we hold.
func (p *peer) sendHaves(held []bool) {
	for _, index := range p.told.Haves(held) {
		p.link.Send(func(b []byte) []byte { return wire.AppendHave(b, index) })
	}
}

// lost tells the peer that we have the piece no longer, if it understands that.
func (p *peer) lost(index int) {
	if id := p.told.Lost(index, p.link.Extended()); id != 0 {
		payload := binary.BigEndian.AppendUint32(nil, uint32(index))
		p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, id, payload) })
	}
}

// dontHave takes a message of lt_donthave (BEP 54).
func (p *peer) dontHave(payload []byte) error {
	if len(payload) != 4 {
		return link.ErrProtocol
	}
	index := int(binary.BigEndian.Uint32(payload))
	switch {
	case p.pk == nil:
		p.claims.Lost(index)
	case index >= p.sw.t.LoadedInfo().NumPieces():
		return link.ErrProtocol
	default:
		p.sw.pick.HasNot(p.pk, index)
	}
	return nil
}
