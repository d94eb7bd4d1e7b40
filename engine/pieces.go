package engine

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// pieceData is a whole piece in memory.
type pieceData struct {
	index  int
	bytes  int64
	blocks []picker.Buffer
}

// newPieceData puts the blocks that peers gave and those that are all padding together.
func newPieceData(l picker.Layout, index int, blocks []picker.Buffer) *pieceData {
	d := &pieceData{index: index, bytes: l.Info.PieceRange(index).Len(), blocks: blocks}
	asked := l.AskedBlocks(index)
	if asked == nil {
		return d
	}
	all := make([]picker.Buffer, (d.bytes+weir.BlockBytes-1)/weir.BlockBytes)
	for i := range all {
		all[i] = zeros(blockBytes(d.bytes, i))
	}
	for i, at := range asked {
		all[at] = blocks[i]
	}
	d.blocks = all
	return d
}

// zeros is a block of padding.
type zeros int

var zeroBlock [weir.BlockBytes]byte

// Bytes implements picker.Buffer.
func (z zeros) Bytes() []byte { return zeroBlock[:z] }

// Free implements picker.Buffer.
func (zeros) Free() {}

// blockBytes is the length of block i of a piece.
func blockBytes(pieceBytes int64, i int) int {
	return int(min(weir.BlockBytes, pieceBytes-int64(i)*weir.BlockBytes))
}

func (d *pieceData) free() {
	for _, b := range d.blocks {
		b.Free()
	}
}

func (d *pieceData) slices() [][]byte {
	out := make([][]byte, len(d.blocks))
	for i, b := range d.blocks {
		out[i] = b.Bytes()
	}
	return out
}

// copyTo fills p from the piece at off.
func (d *pieceData) copyTo(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, d.blocks[off/weir.BlockBytes].Bytes()[off%weir.BlockBytes:])
		p, off = p[n:], off+int64(n)
	}
}

// memory holds the pieces that are verified and not yet committed. Reads are
// served from here meanwhile.
type memory struct {
	mu       sync.RWMutex
	pieces   map[int]*pieceData
	bytes    int64            // of pieces
	uncached map[int]struct{} // of them, those that the Store did not take
}

func newMemory() memory {
	return memory{pieces: map[int]*pieceData{}, uncached: map[int]struct{}{}}
}

func (m *memory) has(index int) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pieces[index] != nil
}

// committing returns how many pieces are on their way to the Store.
func (m *memory) committing() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.pieces) - len(m.uncached)
}

// size returns the bytes of the pieces.
func (m *memory) size() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.bytes
}

// readAt holds the lock while it copies: that is what keeps the blocks alive.
func (m *memory) readAt(index int, p []byte, off int64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d := m.pieces[index]
	if d == nil {
		return false
	}
	d.copyTo(p, off)
	return true
}

func (m *memory) put(d *pieceData) {
	m.mu.Lock()
	m.pieces[d.index] = d
	m.bytes += d.bytes
	m.mu.Unlock()
}

func (m *memory) remove(index int) {
	m.mu.Lock()
	d := m.pieces[index]
	delete(m.pieces, index)
	delete(m.uncached, index)
	if d != nil {
		m.bytes -= d.bytes
	}
	m.mu.Unlock()
	if d != nil {
		d.free()
	}
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.pieces {
		d.free()
	}
	clear(m.pieces)
	clear(m.uncached)
	m.bytes = 0
}

// block takes a block that a peer delivered.
func (s *swarm) block(p *peer, m *wire.Message, at time.Time) error {
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
	m.Data.Extend(m.Begin%weir.BlockBytes, blockBytes(s.t.LoadedInfo().PieceRange(m.Index).Len(), m.Begin/weir.BlockBytes))
	if s.received(p.pk, b, m.Data, int64(m.Length), at) {
		p.give.Gave = at
	}
	return nil
}

// received takes a block that a peer or a web seed gave, and reports whether it is of
// use. bytes is what was sent; data has the padding at its ends, too.
func (s *swarm) received(from *picker.Peer, b picker.Block, data picker.Buffer, bytes int64, at time.Time) bool {
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
		s.verify(d.Complete)
	}
	return true
}

// verify hashes a complete copy of a piece beside the owner, once its hash is known.
func (s *swarm) verify(c *picker.Copy) {
	meta, suspicious := s.t.meta.InMemory(), s.pick.Suspicious(c.Index())
	if !meta.Hashes.Known(c.Index()) {
		s.hashes.waiting = append(s.hashes.waiting, c)
		s.hashes.need(c.Index())
		return
	}
	blocks := c.Buffers()
	d := newPieceData(s.layout, c.Index(), blocks)
	s.spawn(func() {
		s.eng.hashing <- struct{}{}
		right := meta.Hashes.Check(d.index, d.slices())
		var digests []uint64
		if suspicious || !right {
			digests = digestsOf(blocks)
		}
		<-s.eng.hashing
		s.do(func() { s.judged(c, d, right, digests) })
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
func (s *swarm) judged(c *picker.Copy, d *pieceData, right bool, digests []uint64) {
	var guilty []*picker.Peer
	senders := c.Senders()
	if right {
		for _, from := range senders {
			from.Ref.Right(d.index)
		}
		var first bool
		if first, guilty = s.pick.Verified(c, digests); first {
			s.t.counts.verified.Add(1)
			s.content.mem.put(d)
			s.reads.release(d.index)
			s.spread(d.index)
			s.commit(d)
		}
	} else {
		if !s.pick.Held(d.index) {
			s.t.counts.failed.Add(1)
			s.log.Debug("piece failed verification", "piece", d.index)
		}
		guilty = s.pick.Failed(time.Now(), c, digests)
	}
	for _, g := range guilty {
		g.Ref.Wrong(d.index)
	}
}

// commit puts a verified piece into the Store behind the readers' backs.
func (s *swarm) commit(d *pieceData) {
	s.commits.Add(1)
	s.spawn(func() {
		defer s.commits.Done()
		weight := commitWeight(d.bytes)
		_ = s.eng.committing.Acquire(context.Background(), weight) // without a deadline it can't fail
		err := s.put(d)
		s.eng.committing.Release(weight)
		if err == nil {
			s.content.mem.remove(d.index)
			s.do(func() { s.evicted(d.index) }) // if it was, as soon as it was put
			return
		}
		s.do(func() { s.retainUncached(d.index, err) })
	})
}

// Two large pieces are put at a time, and up to commitSlots small ones, so that a
// Store can write them together.
const commitSlots = 16

func commitWeight(bytes int64) int64 {
	return min(max(bytes/(128<<10), 1), commitSlots/2)
}

// unwantedFor is how long blocks of a piece that nobody wants any more are kept: a
// reader often comes back.
const unwantedFor = 30 * time.Second

// dropUnwanted frees what was received of pieces that nobody wants any more; all of it
// when memory is short.
func (s *swarm) dropUnwanted(now time.Time) {
	if s.pick == nil {
		return
	}
	before := now.Add(-unwantedFor)
	if s.eng.inMemory.Load() > s.eng.opts.MemoryBytes*3/4 {
		before = now.Add(time.Nanosecond)
	}
	s.pick.DropUnwanted(before)
}
