package attack

import (
	"context"
	"net"
	"time"
)

// deafStay is how long Repeat leaves a connection open that nothing is read from:
// whether the client has ended it is not seen.
const deafStay = 2 * time.Second

// Repeat attacks until ctx ends: where the client ends a connection, the next one
// follows after a pause. It returns how many there were, and what was sent.
func (k Kind) Repeat(ctx context.Context, pause time.Duration, dial func(context.Context) (net.Conn, error), t Target) (connections int, sent int64) {
	for ctx.Err() == nil {
		if nc, err := dial(ctx); err == nil {
			connections++
			sent += k.stay(ctx, nc, t)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return connections, sent
}

// stay attacks over one connection for as long as the client lets it, and closes it.
func (k Kind) stay(ctx context.Context, nc net.Conn, t Target) int64 {
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	defer nc.Close()
	c := &conn{Conn: nc, Target: t, ctx: ctx, gone: make(chan struct{})}
	o, err := k.over(c)
	if err != nil || o.Ended {
		return o.Sent
	}
	var late <-chan time.Time
	if k.deaf {
		late = time.After(deafStay)
	}
	select {
	case <-c.gone:
	case <-late:
	case <-ctx.Done():
	}
	return o.Sent
}
