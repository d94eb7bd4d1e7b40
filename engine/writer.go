package engine

import (
	"slices"
	"time"

	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/metadata"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
)

// writeStep is the bytes that a peer has writeTimeout to take: one that is slow
// stays, one that has stopped reading goes. A block goes in one.
const writeStep = 32 << 10

// spareBytes is the largest buffer that a writer keeps for the next time.
const spareBytes = 64 << 10

// writer is the state of the goroutine that writes to a peer.
type writer struct {
	p             *peer
	turn          throttle.Turn // under the upload limit
	spare, answer []byte
}

// write sends what the outbox holds until it is closed or the connection fails.
// Control messages never wait for the upload limit.
func (p *peer) write() {
	w := writer{p: p}
	idle, turn := time.NewTimer(keepAlive), time.NewTimer(keepAlive)
	defer idle.Stop()
	defer turn.Stop()
	var changed <-chan struct{} // the upload limit
	for {
		select {
		case <-p.out.done:
			return
		case <-p.out.wake:
		case <-turn.C:
		case <-changed:
		case <-idle.C:
			p.out.control(wire.AppendKeepAlive)
		}
		var wait time.Duration
		var wrote bool
		var err error
		if wait, changed, wrote, err = w.drain(); err != nil {
			p.sw.do(func() { p.sw.drop(p, err) })
			return
		}
		if wrote {
			idle.Reset(keepAlive)
		}
		turn.Stop()
		if wait > 0 {
			turn.Reset(wait)
		}
	}
}

// drain writes what may be written now. If answers are left for later, it returns
// how long they have to wait as the upload limit stands.
func (w *writer) drain() (wait time.Duration, changed <-chan struct{}, wrote bool, err error) {
	out := w.p.out
	for {
		buf, a, ok := out.next(w.spare)
		switch {
		case !ok:
			return 0, nil, wrote, nil
		case buf != nil:
			w.spare = nil
			if cap(buf) <= spareBytes {
				w.spare = buf
			}
		default:
			n := w.p.sw.answerBytes(a)
			if wait, changed, ok = w.turn.Ready(w.p.sw.eng.up, time.Now(), n); !ok {
				out.park()
				return wait, changed, wrote, nil
			}
			if !out.take(a) {
				continue // cancelled just now
			}
			if buf, ok = w.p.sw.makeAnswer(w.p, a, w.answer[:0]); !ok {
				continue
			}
			w.answer = nil
			if cap(buf) <= spareBytes {
				w.answer = buf
			}
			w.turn.Used(n)
		}
		if err := w.send(buf); err != nil {
			return 0, nil, wrote, err
		}
		wrote = true
	}
}

// send writes b. The peer has writeTimeout for each step.
func (w *writer) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeStep)
		_ = w.p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.p.conn.Write(b[:n]); err != nil {
			return err
		}
		w.p.quickAck.Set() // the reader waits already
		b = b[n:]
	}
	return nil
}

// answerBytes is what an answer counts under the upload limit.
func (s *swarm) answerBytes(a answer) int {
	switch {
	case a.hashes != nil:
		return min(max(a.hashes.Length, 0), wire.MostHashes) * 32
	case a.metadata:
		return metadata.PieceBytes
	}
	return a.length
}

// makeAnswer builds an answer in buf. It reports false if there is nothing to send.
func (s *swarm) makeAnswer(p *peer, a answer, buf []byte) ([]byte, bool) {
	switch {
	case a.hashes != nil:
		return s.hashAnswer(*a.hashes, buf), true
	case a.metadata:
		return s.metadataAnswer(a, buf), true
	}
	return s.payload(p, a.upload, buf)
}

// metadataAnswer is a piece of the info dictionary, or its refusal.
func (s *swarm) metadataAnswer(a answer, buf []byte) []byte {
	var b []byte
	if m := s.t.meta.Load(); m != nil {
		b = m.dict.read(s.readDictionary)
	}
	off := a.index * metadata.PieceBytes
	if off >= len(b) {
		return wire.AppendExtended(buf, a.id, metadataRefusal(a.index))
	}
	head := bencode.MustMarshal(metadataMessage{
		Type: int64(pp.DataMetadataExtensionMsgType), Piece: int64(a.index), Total: int64(len(b)),
	})
	data := b[off:min(off+metadata.PieceBytes, len(b))]
	s.eng.up.Passed(len(data))
	return wire.AppendExtended(buf, a.id, append(head, data...))
}

// hashAnswer is what a peer asked for of a hash tree, or its refusal.
func (s *swarm) hashAnswer(req wire.HashMessage, buf []byte) []byte {
	if h := s.v2Hashes(); h != nil {
		hashes, ok := h.Answer(verify.HashRequest(req))
		if !ok {
			hashes, ok = s.hashBelow(h, verify.HashRequest(req))
		}
		if ok {
			s.eng.up.Passed(32 * len(hashes))
			return wire.AppendHashes(buf, pp.Hashes, req, hashes)
		}
	}
	return wire.AppendHashes(buf, pp.HashReject, req, nil)
}

// hashBelow makes hashes below the layer of pieces, for which a piece is read and
// hashed: a request is small, so that is done for one at a time, whoever asks.
func (s *swarm) hashBelow(h *verify.Hashes, req verify.HashRequest) ([][32]byte, bool) {
	select {
	case s.eng.belowLayer <- struct{}{}:
		defer func() { <-s.eng.belowLayer }()
		return h.AnswerBelow(req, s.heldBlock)
	case <-s.ctx.Done():
		return nil, false
	}
}

// payload builds a block in buf. It reports false if there is nothing to send.
func (s *swarm) payload(p *peer, u upload, buf []byte) ([]byte, bool) {
	buf = wire.AppendPieceHeader(buf, u.index, u.begin, u.length)
	head := len(buf)
	buf = slices.Grow(buf, u.length)[:head+u.length]
	real := buf[head:]
	if n := s.t.Info().PieceRange(u.index).Len() - int64(u.begin); n < int64(u.length) {
		real = real[:max(0, n)]
		clear(buf[head+len(real):]) // padding, or the gap behind a file of a v2 torrent
	}
	ok := len(real) == 0 || s.mem.readAt(u.index, real, int64(u.begin))
	if !ok {
		var err error
		ok, err = s.eng.opts.Store.ReadAt(weir.PieceID{Torrent: s.t.ih, Index: u.index}, real, int64(u.begin))
		if err != nil {
			s.log.Debug("piece not read for a peer", "piece", u.index, "peer", p.addr, "err", err)
			ok = false
		}
	}
	if !ok {
		if !p.fast() {
			return nil, false
		}
		return wire.AppendRequest(buf[:0], pp.Reject, u.index, u.begin, u.length), true
	}
	s.t.counts.uploaded.Add(int64(u.length))
	s.eng.up.Passed(u.length)
	p.trade.sent.Add(int64(u.length))
	p.served.Store(true)
	return buf, true
}
