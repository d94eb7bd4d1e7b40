package link

import (
	"context"
	"errors"
	"net"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/wire"
)

// read posts what the peer says until the connection ends.
func (l *Link) read(ctx context.Context) {
	r := wire.NewReader(l.quickAck.Reader(l.Conn), l.Pieces)
	var extended time.Time
	for {
		// Seldom, and best when nothing is at hand; under a download limit always
		// something is.
		if now := time.Now(); now.Sub(extended) > 10*time.Second && !r.Buffered() || now.Sub(extended) > silentAfter/2 {
			extended = now
			_ = l.Conn.SetReadDeadline(now.Add(silentAfter))
		}
		e, err := l.next(r)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				err = ErrSilent
			}
			l.fail(err)
			return
		}
		m := &e.Message
		if m.Ignored {
			continue // a sign of life, and no more
		}
		if !l.Inbox.post(e) {
			e.Free()
			return
		}
		l.waitRoom()
		if m.Type == pp.Piece {
			l.Down.Wait(ctx, l.done, m.Length)
		}
	}
}

// next reads a message and parses it, so that the owner need not.
func (l *Link) next(r *wire.Reader) (Event, error) {
	m, err := r.Next()
	if err != nil {
		return Event{}, err
	}
	e := Event{Link: l, Message: m, At: time.Now()}
	if err := l.charge(&m, e.At); err != nil {
		return Event{}, err
	}
	if m.Type == pp.Extended && m.ExtendedID == wire.PexID {
		exchanged, err := pex.Parse(m.Payload)
		if err != nil {
			return Event{}, err
		}
		e.Pex = &exchanged
	}
	return e, nil
}

// fail tells the owner that the connection is of no more use.
func (l *Link) fail(err error) { l.Inbox.post(Event{Link: l, Err: err}) }
