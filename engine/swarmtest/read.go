package swarmtest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// metadataID is the seeder's id for ut_metadata (BEP 10). Other clients use other numbers, so
// that confusing the ids of the two sides shows.
const metadataID = 7

// readLoop handles messages until the connection ends.
func (c *conn) readLoop() error {
	var buf []byte
	for {
		m, err := readFrame(c.r, &buf)
		if err != nil {
			return err
		}
		if len(m) == 0 {
			continue // keep-alive
		}
		if err := c.handle(m[0], m[1:]); err != nil {
			c.violation("message %d: %v", m[0], err)
			return err
		}
	}
}

// handle acts on one message. An error ends the connection; lesser breaches of the protocol
// are only recorded.
func (c *conn) handle(id byte, body []byte) error {
	first := !c.heard && id != msgExtended
	if id != msgExtended {
		c.heard = true
	}
	pieces := id == msgBitfield || id == msgHaveAll || id == msgHaveNone
	switch {
	case pieces && !first: // aria2 does so, and others bear with it
		c.violation("message %d, of the pieces, comes after other messages", id)
	case first && c.fast && !pieces:
		c.violation("message %d comes before the pieces (BEP 6)", id)
	}
	switch id {
	case msgChoke, msgUnchoke, msgInterested, msgNotInterested, msgHaveAll, msgHaveNone:
		if len(body) != 0 {
			return fmt.Errorf("has %d bytes", len(body))
		}
	}
	if (id >= msgSuggest && id <= msgAllowedFast) && !c.fast {
		return fmt.Errorf("without the fast extension")
	}
	switch id {
	case msgInterested, msgNotInterested:
		c.onInterested(id == msgInterested)
	case msgHave:
		return c.onHave(body)
	case msgBitfield, msgHaveAll, msgHaveNone:
		return c.onPieces(id, body)
	case msgRequest, msgCancel:
		r, err := parseRequest(body)
		if err != nil {
			return err
		}
		if id == msgRequest {
			c.onRequest(r)
		} else {
			c.onCancel(r)
		}
	case msgPiece:
		c.violation("a block of %d bytes that nobody asked for", len(body)-8)
	case msgReject:
		c.violation("rejects a request that nobody made")
	case msgExtended:
		return c.onExtended(body)
	case msgHashRequest:
		return c.onHashRequest(body)
	case msgHashes, msgHashReject:
		c.violation("answers a hash request that nobody made")
	}
	return nil // others are to be ignored
}

func (c *conn) onInterested(yes bool) {
	kind := EventNotInterested
	if yes {
		kind = EventInterested
	}
	c.s.count(func(n *Counters) {
		if yes {
			n.Interested++
		} else {
			n.NotInterested++
		}
	})
	c.event(kind, request{}, "")
	c.mu.Lock()
	c.interested = yes
	c.mu.Unlock()
	signal(c.wake)
}

func (c *conn) onHave(body []byte) error {
	if len(body) != 4 {
		return fmt.Errorf("has %d bytes", len(body))
	}
	index := binary.BigEndian.Uint32(body)
	if int64(index) >= int64(c.sv.c.info.NumPieces()) {
		return fmt.Errorf("have of piece %d", index)
	}
	c.s.count(func(n *Counters) { n.Haves++ })
	c.event(EventHave, request{index: index}, "")
	return nil
}

func (c *conn) onPieces(id byte, body []byte) error {
	if id == msgBitfield {
		pieces := c.sv.c.info.NumPieces()
		if len(body) != (pieces+7)/8 {
			return fmt.Errorf("%d bytes for %d pieces", len(body), pieces)
		}
		for i := pieces; i < len(body)*8; i++ {
			if bitfield(body).has(i) {
				return fmt.Errorf("spare bit %d is set", i)
			}
		}
	}
	c.s.count(func(n *Counters) { n.Bitfields++ })
	c.event(EventBitfield, request{}, "")
	return nil
}

func (c *conn) onRequest(r request) {
	f := c.s.faults.Load()
	c.event(EventRequest, r, "")
	c.s.count(func(n *Counters) {
		n.Requests++
		n.GapBytes += c.gapBytes(r)
	})
	switch {
	case f.IgnoreAll:
		return
	case f.NoGaps && c.gapBytes(r) > 0, !c.valid(r):
		c.violation("request of %d bytes at %d of piece %d", r.length, r.begin, r.index)
		c.reject(r)
		return
	case !c.s.has(c.sv, int(r.index)):
		c.violation("request of piece %d, which the seeder never had", r.index)
		c.reject(r)
		return
	case f.RejectAll:
		c.reject(r)
		return
	}
	c.mu.Lock()
	choking, surplus := c.choking, len(c.queue) >= c.s.opt.RequestQueue
	if !choking && !surplus {
		q := queued{request: r}
		if f.ReplyDelay > 0 {
			q.due = time.Now().Add(f.ReplyDelay)
		}
		c.queue = append(c.queue, q)
	}
	c.mu.Unlock()
	switch {
	case choking:
		// Legal for the fast extension's rejects, and whenever a choke crosses it.
		c.s.count(func(n *Counters) { n.RequestsChoked++ })
		c.reject(r)
	case surplus:
		c.s.count(func(n *Counters) { n.Surplus++ })
		if !f.DropSurplus {
			c.reject(r)
		}
	default:
		signal(c.wake)
	}
}

func (c *conn) valid(r request) bool {
	info := &c.sv.c.info
	return int64(r.index) < int64(info.NumPieces()) && r.length > 0 && r.length <= maxRequestBytes &&
		int64(r.begin)+int64(r.length) <= info.PieceRange(int(r.index)).Len()+c.gap(int(r.index))
}

// reject rejects a request if the peer understands that (BEP 6).
func (c *conn) reject(r request) {
	if !c.fast {
		return
	}
	c.s.count(func(n *Counters) { n.Rejects++ })
	c.event(EventReject, r, "")
	c.say(func(b []byte) []byte { return appendRequest(b, msgReject, r) })
}

func (c *conn) onCancel(r request) {
	late := c.s.faults.Load().LateBlocks
	c.mu.Lock()
	i := slices.IndexFunc(c.queue, func(q queued) bool { return q.request == r })
	if i >= 0 && !late {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
	c.mu.Unlock()
	detail := "late"
	if i >= 0 {
		detail = "in time"
	}
	c.s.count(func(n *Counters) {
		n.Cancels++
		if i >= 0 {
			n.CancelsInTime++
		}
	})
	c.event(EventCancel, r, detail)
	if i >= 0 && !late {
		c.reject(r) // BEP 6: each request is answered with a block or a reject
	}
}

func (c *conn) onExtended(body []byte) error {
	if !c.ext {
		return fmt.Errorf("without the extension protocol")
	}
	if len(body) == 0 {
		return fmt.Errorf("has no id")
	}
	switch body[0] {
	case 0:
		e, err := parseExtended(body[1:])
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.metadataID = e.metadataID
		c.mu.Unlock()
	case metadataID:
		return c.onMetadata(body[1:])
	default:
		c.violation("extended message %d, which the seeder never offered", body[0])
	}
	return nil
}

// onMetadata answers a request of BEP 9.
func (c *conn) onMetadata(body []byte) error {
	v, _, err := parseBencode(body)
	d, ok := v.(dict)
	if err != nil || !ok {
		return fmt.Errorf("ut_metadata: not a dictionary")
	}
	kind, ok1 := d["msg_type"].(int64)
	index, ok2 := d["piece"].(int64)
	if !ok1 || !ok2 {
		return fmt.Errorf("ut_metadata: no msg_type or no piece")
	}
	if kind != metadataRequest {
		return nil // data or a reject, which was not asked for, or a type to come
	}
	f := c.s.faults.Load()
	c.s.count(func(n *Counters) { n.MetadataRequests++ })
	c.event(EventMetadata, request{index: uint32(index)}, "")
	c.mu.Lock()
	id := c.metadataID
	c.mu.Unlock()
	if id == 0 {
		return fmt.Errorf("ut_metadata: asked before it was offered")
	}
	if f.MetadataSilent {
		return nil
	}
	size := int64(len(c.sv.c.infoBytes))
	if f.MetadataSize > 0 {
		size = f.MetadataSize
	}
	answer, tail := dict{"msg_type": metadataReject, "piece": index}, []byte(nil)
	// The division keeps an index near 2^63 from overflowing.
	if inside := index >= 0 && index <= (size-1)/metadataPieceBytes; !inside {
		c.violation("ut_metadata: asked for piece %d of %d bytes", index, size)
	} else if !f.MetadataReject {
		off := index * metadataPieceBytes
		tail = make([]byte, min(metadataPieceBytes, size-off))
		if off < int64(len(c.sv.c.infoBytes)) {
			copy(tail, c.sv.c.infoBytes[off:])
		}
		if f.MetadataCorrupt {
			tail[len(tail)/2] ^= 0xff
		}
		answer = dict{"msg_type": metadataData, "piece": index, "total_size": size}
		c.s.count(func(n *Counters) { n.MetadataPieces++ })
	}
	message := appendExtended(nil, id, answer, tail)
	c.mu.Lock()
	c.later = append(c.later, delayed{at: time.Now().Add(f.MetadataDelay), message: message})
	c.mu.Unlock()
	signal(c.wake)
	return nil
}
