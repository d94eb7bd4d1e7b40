package swarmtest

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// batchBlocks is how many blocks go to the socket in one call where nothing
// slows the seeder down.
const batchBlocks = 8

// turn is what the writer sends next.
type turn struct {
	control []byte
	blocks  []request
	chokes  []EventKind   // for the trace
	rejects []request     // for the trace and the counters
	wait    time.Duration // with nothing to send: until there may be something; 0 is not by itself
}

// writeLoop sends control messages and blocks until the connection ends.
func (c *conn) writeLoop() {
	defer c.nc.Close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		f := c.s.faults.Load()
		t := c.next(f)
		if len(t.control) == 0 && len(t.blocks) == 0 {
			if t.wait <= 0 {
				t.wait = time.Hour
			}
			timer.Reset(t.wait)
			select {
			case <-c.wake:
			case <-timer.C:
			case <-c.done:
				return
			}
			continue
		}
		c.note(t)
		b := append(c.writeBuffer[:0], t.control...)
		drop := false
		for _, r := range t.blocks {
			if b, drop = c.appendBlocks(b, r, f); drop {
				break
			}
		}
		c.writeBuffer = b
		if _, err := c.rw.Write(b); err != nil || drop {
			return
		}
	}
}

// next decides what to send, from the state that readLoop set.
func (c *conn) next(f *Faults) (t turn) {
	if c.s.frozen(f) {
		return t
	}
	now := time.Now()
	wait := func(d time.Duration) {
		if d > 0 && (t.wait == 0 || d < t.wait) {
			t.wait = d
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.control, c.control = c.control, nil
	if c.sv == nil {
		return t // the handshake goes on
	}
	c.later = slices.DeleteFunc(c.later, func(d delayed) bool {
		if left := d.at.Sub(now); left > 0 {
			wait(left)
			return false
		}
		t.control = append(t.control, d.message...)
		return true
	})
	choked, change := f.choked(now.Sub(c.began))
	wait(change)
	c.turnChoke(&t, choked)
	t.control = c.misbehave(t.control, f)

	limit := batchBlocks
	if f.exact() || c.s.shaper.Rate() > 0 {
		limit = 1
	}
	n := 0
	for n < len(c.queue) && n < limit {
		if left := c.queue[n].due.Sub(now); left > 0 {
			wait(left)
			break
		}
		t.blocks = append(t.blocks, c.queue[n].request)
		n++
	}
	c.queue = c.queue[n:]
	return t
}

// turnChoke brings the choke state to what it shall be; conn.mu is held. All
// that waits is forgotten with a choke (BEP 3), and rejected (BEP 6).
func (c *conn) turnChoke(t *turn, choked bool) {
	switch {
	case choked && !c.choking:
		c.choking = true
		t.chokes = append(t.chokes, EventChoke)
		t.control = appendMessage(t.control, msgChoke)
		for _, q := range c.queue {
			if c.fast {
				t.control = appendRequest(t.control, msgReject, q.request)
				t.rejects = append(t.rejects, q.request)
			}
		}
		c.queue = nil
	case !choked && c.choking && c.interested:
		c.choking = false
		t.chokes = append(t.chokes, EventUnchoke)
		t.control = appendMessage(t.control, msgUnchoke)
	}
}

// misbehave appends the one-time faults that are due.
func (c *conn) misbehave(b []byte, f *Faults) []byte {
	was := &c.misbehaved
	if f.BadHave && !was.BadHave {
		was.BadHave = true
		pieces := uint32(c.sv.c.info.NumPieces())
		b = appendHave(appendHave(b, pieces), 1<<32-1)
	}
	if f.Garbage && !was.Garbage {
		was.Garbage = true
		garbage := make([]byte, 4<<10)
		Fill(garbage, 0xbad, 0)
		garbage[0] |= 0x80 // whatever else, not a short message that is skipped
		b = append(b, garbage...)
	}
	if f.Overlong && !was.Overlong {
		was.Overlong = true
		b = binary.BigEndian.AppendUint32(b, 1<<31)
		b = append(b, msgPiece, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	if f.Unasked && !was.Unasked && !c.choking {
		was.Unasked = true
		b = c.appendUnasked(b, 0)
	}
	return b
}

// note counts and traces what a turn sends besides blocks; no lock is held.
func (c *conn) note(t turn) {
	for _, kind := range t.chokes {
		c.event(kind, request{}, "")
	}
	for _, r := range t.rejects {
		c.event(EventReject, r, "")
	}
	if len(t.rejects) > 0 {
		c.s.count(func(n *Counters) { n.Rejects += int64(len(t.rejects)) })
	}
}

// appendBlocks appends the block that was asked for, and before it what the
// faults add. drop says that the connection ends with what was appended.
func (c *conn) appendBlocks(b []byte, r request, f *Faults) (_ []byte, drop bool) {
	if f.Unasked {
		b = c.appendUnasked(b, (r.index+1)%uint32(c.sv.c.info.NumPieces()))
	}
	send := r
	if f.DropAfter > 0 && c.sent+int64(r.length) >= f.DropAfter {
		drop = true
		send.length = uint32(max(0, f.DropAfter-c.sent))
	}
	c.account(send, false)
	c.sent += int64(send.length)
	c.event(EventSend, send, "")
	b = c.appendBlock(b, r, f.Corrupt != nil && f.Corrupt(int(r.index)))
	return b[:len(b)-int(r.length-send.length)], drop
}

// appendUnasked appends the first block of a piece that nobody requested; its bytes are
// right.
func (c *conn) appendUnasked(b []byte, index uint32) []byte {
	r := request{index: index, length: uint32(min(weir.BlockBytes, c.sv.c.info.PieceRange(int(index)).Len()))}
	c.account(r, true)
	return c.appendBlock(b, r, false)
}

func (c *conn) appendBlock(b []byte, r request, corrupt bool) []byte {
	b = appendPieceHead(b, r)
	b = slices.Grow(b, int(r.length))
	block := b[len(b) : len(b)+int(r.length)]
	if _, err := c.sv.c.ReadAt(block, int64(r.index)*c.sv.c.info.PieceLength+int64(r.begin)); err != nil {
		// A file on disk went away under the seeder: what it sends is as wrong as
		// a broken disk's.
		clear(block)
	}
	if corrupt {
		block[len(block)/2] ^= 0xff
	}
	return b[:len(b)+len(block)]
}

// account counts a block before it is sent, so that who receives it finds it
// counted.
func (c *conn) account(r request, unasked bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	n := &c.s.counters
	n.PayloadBytes += int64(r.length)
	n.Blocks++
	if unasked {
		n.Unasked++
	}
	pieceLength := c.sv.c.info.PieceLength
	c.sv.sent.add(r, pieceLength)
	if c.tally.add(r, pieceLength) > 0 {
		n.Repeats++
	}
}

// frozen reports whether the seeder sends nothing at all at the moment.
func (s *Seeder) frozen(f *Faults) bool {
	if f.FreezeAfter <= 0 {
		return f.Freeze
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.Freeze || s.counters.PayloadBytes >= f.FreezeAfter
}
