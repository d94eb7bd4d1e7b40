package daemon

import (
	"context"
	"log/slog"
	"sync"
)

// background runs work that no call waits for, until the daemon ends.
type background struct {
	ctx    context.Context // ends with the daemon
	cancel context.CancelCauseFunc
	log    *slog.Logger

	running sync.WaitGroup
}

func newBackground(log *slog.Logger) *background {
	b := &background{log: log}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	return b
}

// start runs do on a goroutine that Close waits for. An error goes to the log, unless
// the daemon is closing.
func (b *background) start(what string, do func() error) {
	b.running.Go(func() {
		if err := do(); err != nil && b.ctx.Err() == nil {
			b.log.Error(what, "err", err)
		}
	})
}

// token is a lock whose waiters a context can end, and that may be held during I/O: a
// channel with one token in it.
type token chan struct{}

func newToken() token {
	t := make(token, 1)
	t <- struct{}{}
	return t
}

// acquire waits for the token, or returns why ctx ended.
func (t token) acquire(ctx context.Context) error {
	select {
	case <-t:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t token) release() { t <- struct{}{} }
