package engine

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// assembly is a piece in memory: its blocks as they came from peers.
type assembly struct {
	index  int
	by     *peer // who gave all of it, when the piece is on parole; nil otherwise
	bytes  int64
	blocks []*wire.Block
	touch  time.Time // the latest block
	waits  bool      // complete, and its hash is not known yet
}

// copyID names an assembly: on parole there is one for each peer.
type copyID struct {
	index int
	by    *peer
}

// newAssembly begins a piece. Of its blocks those are there that are all padding.
func newAssembly(id copyID, info *weir.TorrentInfo) *assembly {
	a := &assembly{index: id.index, by: id.by, bytes: info.PieceRange(id.index).Len()}
	a.blocks = make([]*wire.Block, (a.bytes+weir.BlockBytes-1)/weir.BlockBytes)
	for i := range a.blocks {
		if info.Padded && info.BlockRange(id.index, i).Empty() {
			a.blocks[i] = wire.NewBlock(0)
			a.blocks[i].Extend(0, a.blockBytes(i))
		}
	}
	return a
}

func (a *assembly) blockBytes(i int) int {
	return int(min(weir.BlockBytes, a.bytes-int64(i)*weir.BlockBytes))
}

func (a *assembly) id() copyID { return copyID{a.index, a.by} }

func (a *assembly) complete() bool { return !slices.Contains(a.blocks, nil) }

func (a *assembly) free() {
	for i, b := range a.blocks {
		if b != nil {
			b.Free()
			a.blocks[i] = nil
		}
	}
}

func (a *assembly) slices() [][]byte {
	out := make([][]byte, len(a.blocks))
	for i, b := range a.blocks {
		out[i] = b.Bytes()
	}
	return out
}

// copyTo fills p from the piece at off.
func (a *assembly) copyTo(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, a.blocks[off/weir.BlockBytes].Bytes()[off%weir.BlockBytes:])
		p, off = p[n:], off+int64(n)
	}
}

// memory holds the pieces that are verified and not yet committed. Reads are
// served from here meanwhile.
type memory struct {
	mu       sync.RWMutex
	pieces   map[int]*assembly
	uncached map[int]struct{} // of them, those that the Store did not take
}

func (m *memory) has(index int) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pieces[index] != nil
}

func (m *memory) size() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.pieces) - len(m.uncached)
}

// readAt holds the lock while it copies: that is what keeps the blocks alive.
func (m *memory) readAt(index int, p []byte, off int64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.pieces[index]
	if a == nil {
		return false
	}
	a.copyTo(p, off)
	return true
}

func (m *memory) put(a *assembly) {
	m.mu.Lock()
	m.pieces[a.index] = a
	m.mu.Unlock()
}

func (m *memory) remove(index int) {
	m.mu.Lock()
	a := m.pieces[index]
	delete(m.pieces, index)
	delete(m.uncached, index)
	m.mu.Unlock()
	if a != nil {
		a.free()
	}
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range m.pieces {
		a.free()
		delete(m.pieces, i)
	}
	clear(m.uncached)
}

// readHeld fills p from a piece at off if it is in memory or in the Store.
func (s *swarm) readHeld(index int, p []byte, off int64) (bool, error) {
	if s.mem.readAt(index, p, off) {
		return true, nil
	}
	return s.eng.opts.Store.ReadAt(weir.PieceID{Torrent: s.t.ih, Index: index}, p, off)
}

// block takes a block that a peer delivered.
func (s *swarm) block(p *peer, m *wire.Message, at time.Time) error {
	info := s.t.Info()
	if s.pick == nil {
		m.Data.Free()
		return errNonsense
	}
	b, bytes, ok := s.layout.blockAt(m.Index, m.Begin)
	if !ok || m.Length != bytes {
		m.Data.Free()
		return errNonsense
	}
	s.t.counts.downloaded.Add(int64(m.Length))
	p.received += int64(m.Length)
	if err := p.answers(); err != nil {
		m.Data.Free()
		return err
	}
	d := s.pick.Received(at, p.pk, b)
	if !d.Keep {
		s.t.counts.wasted.Add(int64(m.Length))
		if !d.Asked {
			s.t.counts.unasked.Add(int64(m.Length))
		}
		m.Data.Free()
		return nil
	}
	p.trade.gave = at
	id := copyID{index: m.Index}
	if d.Own {
		id.by = p
	}
	a := s.pieces[id]
	if a == nil {
		a = newAssembly(id, info)
		s.pieces[id] = a
	}
	a.touch = at
	place := m.Begin / weir.BlockBytes
	m.Data.Extend(m.Begin%weir.BlockBytes, a.blockBytes(place))
	a.blocks[place] = m.Data
	if d.Complete {
		s.verify(a)
	}
	return nil
}

// verify hashes a complete piece beside the owner.
func (s *swarm) verify(a *assembly) {
	meta, sums := s.t.meta.Load(), s.pick.Suspicious(a.index)
	wired := s.layout.wired(a.index)
	if !meta.hashes.Known(a.index) {
		a.waits = true
		s.needHash(a.index)
		return
	}
	s.spawn(func() {
		s.eng.hashing <- struct{}{}
		right := meta.hashes.Check(a.index, a.slices())
		var digests []uint64
		if sums || !right {
			digests = digestsOf(a, wired)
		}
		<-s.eng.hashing
		if !s.do(func() { s.judged(a, right, digests) }) {
			return // the swarm ends; it frees s.pieces
		}
	})
}

// seed keys the digests that tell which peer sent a wrong block.
var seed = maphash.MakeSeed()

// digestsOf returns a digest for each block that peers gave; wired as layout has it.
func digestsOf(a *assembly, wired []int) []uint64 {
	d := make([]uint64, 0, len(a.blocks))
	for i, b := range a.blocks {
		if wired == nil || slices.Contains(wired, i) {
			d = append(d, maphash.Bytes(seed, b.Bytes()))
		}
	}
	return d
}

// judged takes the verdict on a piece.
func (s *swarm) judged(a *assembly, right bool, digests []uint64) {
	delete(s.pieces, a.id())
	var by *picker.Peer
	if a.by != nil {
		by = a.by.pk
	}
	var guilty []*picker.Peer
	switch {
	case s.pick.Held(a.index):
		a.free() // another copy was right before
	case right:
		s.t.counts.verified.Add(1)
		guilty = s.pick.Verified(a.index, by, digests)
		s.freeCopies(a.index)
		s.mem.put(a)
		s.release(a.index)
		s.spread(a.index)
		s.commit(a)
	default:
		s.t.counts.failed.Add(1)
		s.log.Debug("piece failed verification", "piece", a.index)
		var from []*picker.Peer
		guilty, from = s.pick.Failed(time.Now(), a.index, by, digests)
		s.divide(a, from)
		a.free()
	}
	for _, g := range guilty {
		p := g.Ref.(*peer)
		s.log.Warn("peer sent wrong data; banned", "peer", p.addr, "piece", a.index)
		s.ban(p)
	}
}

// divide makes of an assembly that is wrong the beginnings of those that single
// peers give; from tells who gave which block, and is empty when that is known to
// be useless.
func (s *swarm) divide(a *assembly, from []*picker.Peer) {
	wired := s.layout.wired(a.index)
	for i, f := range from {
		if f == nil {
			continue
		}
		if wired != nil {
			i = wired[i]
		}
		by := f.Ref.(*peer)
		if _, here := s.peers[by]; !here {
			continue
		}
		id := copyID{a.index, by}
		if s.pieces[id] == nil {
			s.pieces[id] = newAssembly(id, s.t.Info())
			s.pieces[id].touch = time.Now()
		}
		s.pieces[id].blocks[i], a.blocks[i] = a.blocks[i], nil
	}
}

// freeCopies drops what is there of a piece, but for copies that are being
// verified.
func (s *swarm) freeCopies(index int) {
	for id, a := range s.pieces {
		if id.index == index && !a.complete() {
			a.free()
			delete(s.pieces, id)
		}
	}
}

// forgetCopies drops what a peer that left gave for pieces on parole.
func (s *swarm) forgetCopies(p *peer) {
	for id, a := range s.pieces {
		if id.by == p && !a.complete() {
			a.free()
			delete(s.pieces, id)
		}
	}
}

// commit puts a verified piece into the Store behind the readers' backs.
func (s *swarm) commit(a *assembly) {
	s.spawn(func() {
		weight := commitWeight(a.bytes)
		_ = s.eng.committing.Acquire(context.Background(), weight) // without a deadline it can't fail
		err := s.put(a)
		s.eng.committing.Release(weight)
		if err == nil {
			s.mem.remove(a.index)
			s.do(func() {
				s.pick.Committed(a.index)
				s.evicted(a.index) // if it was, as soon as it was put
			})
			return
		}
		s.do(func() { s.keepUncached(a.index, err) })
	})
}

// Two large pieces are put at a time, and up to commitSlots small ones, so that a
// Store can write them together.
const commitSlots = 16

func commitWeight(bytes int64) int64 {
	return min(max(bytes/(128<<10), 1), commitSlots/2)
}

// orphanAge is how long blocks of a piece that nobody wants any more are kept:
// a reader often comes back.
const orphanAge = 30 * time.Second

// sweep frees what was received of pieces that nobody wants any more.
func (s *swarm) sweep(now time.Time) {
	if s.pick == nil {
		return
	}
	short := s.eng.inMemory.Load() > s.eng.opts.MemoryBytes*3/4
	for id, a := range s.pieces {
		if (short || now.Sub(a.touch) > orphanAge) && s.pick.Drop(id.index) {
			s.freeCopies(id.index)
		}
	}
}
