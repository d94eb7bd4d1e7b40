package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/mountpoint"
)

// How long an unmount at the end waits for programs that use the mount, and then
// for the kernel to let go of it.
const (
	busyTries  = 10
	busyEvery  = 100 * time.Millisecond
	abortGrace = 2 * time.Second
)

// start runs what answers the kernel and what tells it of changes.
func (f *FS) start(conn *fuse.Conn) {
	f.notifier.start()
	f.behind.Go(func() { f.notifier.run(f.base, conn, f.isThere) })
	f.behind.Go(func() { f.doChores(f.base) })
	f.behind.Go(func() { f.watchReaders(f.base) })
	gone, ended := make(chan struct{}), make(chan struct{})
	f.gone = gone
	help := newHelp()
	var answering sync.WaitGroup
	answering.Go(func() {
		f.answers[0] = newLoop(f, conn, help).run(false, nil)
		close(ended)
	})
	for i := 1; i < loops; i++ {
		answering.Go(func() { f.answers[i] = newLoop(f, conn, help).run(true, ended) })
	}
	go func() {
		answering.Wait()
		close(gone)
	}()
}

// Serve returns when the mount is gone: unmounted by anybody, or by Serve itself
// when ctx is done or Close is called. Then reads that wait end with ENOTCONN,
// and a mount that stays in use is taken away from its users after a second. All
// open Files are closed when Serve returns. It may be called once.
func (f *FS) Serve(ctx context.Context) error {
	f.mu.Lock()
	conn, gone := f.conn, f.gone
	again := f.serving
	f.serving = true
	f.mu.Unlock()
	switch {
	case conn == nil:
		return fmt.Errorf("serve %s: not mounted: %w", f.opt.Mountpoint, weir.ErrClosed)
	case again:
		return weir.Errorf(weir.ErrInUse, "serve %s: served before", f.opt.Mountpoint)
	}
	select {
	case <-gone:
	case <-ctx.Done():
	case <-f.base.Done(): // Close
	}
	return f.end()
}

// end unmounts if that is still to be done, waits for all goroutines and closes
// all files. Only the first call does; the others wait for it.
func (f *FS) end() error {
	f.ended.Do(func() {
		f.mu.Lock()
		conn, gone, m := f.conn, f.gone, f.mounted
		f.mu.Unlock()
		f.waits.close() // readers that wait would keep the mount busy
		left := f.leave(gone, m)
		f.stop(weir.ErrClosed)
		f.behind.Wait()
		for _, h := range f.handles.takeAll() {
			f.closeHandle(h)
		}
		if left != nil {
			f.endErr = left // the loops still read: the connection ends with the process
			return
		}
		if err := conn.Close(); err != nil {
			f.log.Debug("close the connection", "err", err)
		}
		f.endErr = errors.Join(f.answers[:]...)
	})
	return f.endErr
}

// leave unmounts, by and by less politely, and returns when the kernel has let go
// of the mount, or with an error when it does not.
func (f *FS) leave(gone <-chan struct{}, m *mountpoint.Mount) error {
	select {
	case <-gone:
		return nil
	default:
	}
	var err error
	for range busyTries {
		if err = f.unmountOwn(m, false); err == nil {
			break
		}
		select {
		case <-gone:
			return nil
		case <-time.After(busyEvery):
		}
	}
	if err != nil {
		f.log.Warn("unmount by force", "err", err)
		if err := f.abortOwn(m); err != nil {
			f.log.Debug("abort the connection", "err", err)
		}
		if err := f.unmountOwn(m, true); err != nil {
			f.log.Warn("unmount lazily", "err", err)
		}
	}
	select {
	case <-gone:
		return nil
	case <-time.After(abortGrace / 2):
		// It may live on in a mount namespace that was made meanwhile, of a container
		// or of "ip netns exec", where nobody will unmount it.
		if err := f.abortOwn(m); err != nil {
			f.log.Debug("abort the connection", "err", err)
		}
	}
	select {
	case <-gone:
		return nil
	case <-time.After(abortGrace / 2):
		return weir.Errorf(weir.ErrInUse, "unmount %s: programs keep files of it open, or another mount namespace has it; they lose it when weir ends", m.Point())
	}
}

// unmountOwn unmounts what is at the mountpoint if it is still our mount.
func (f *FS) unmountOwn(m *mountpoint.Mount, lazy bool) error {
	present, err := m.Present()
	if err != nil || !present {
		return err
	}
	if f.opt.Unmounter != nil {
		return f.opt.Unmounter.Unmount(lazy)
	}
	return m.Detach(context.Background(), lazy) // bounded; what ends weir must not end this
}

// abortOwn ends the connection: whatever waits for weir fails.
func (f *FS) abortOwn(m *mountpoint.Mount) error {
	err := m.Abort()
	if err != nil && f.opt.Unmounter != nil {
		return f.opt.Unmounter.Abort()
	}
	return err
}

// Unmount takes the mount away; Serve returns then. While programs use it that
// fails with weir.ErrInUse.
func (f *FS) Unmount() error {
	f.mu.Lock()
	conn, m := f.conn, f.mounted
	f.mu.Unlock()
	if conn == nil {
		return weir.Errorf(weir.ErrNotFound, "unmount %s: it is not mounted", f.opt.Mountpoint)
	}
	return f.unmountOwn(m, false)
}

// Close unmounts, in the end by force, and returns when Serve can. It may be
// called more than once, and before Mount.
func (f *FS) Close() error {
	f.mu.Lock()
	f.closed = true
	conn := f.conn
	f.mu.Unlock()
	f.stop(weir.ErrClosed)
	if conn == nil {
		return nil
	}
	return f.end()
}
