package fs

import (
	"context"
	"fmt"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/mountpoint"
)

// How long Close waits for programs that use the mount, and then for the kernel to end the
// connection.
const (
	busyTries  = 10
	busyEvery  = 100 * time.Millisecond
	abortGrace = 2 * time.Second
)

// Mount checks that mounting can work, mounts, and begins to answer the kernel: when it
// returns, the mount can be used. Then call Serve or Close. Every error says what to do. A
// mount left behind by a crashed weir is removed first.
func (f *FS) Mount() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return weir.Errorf(weir.ErrClosed, "mount %s: closed before", f.opt.Mountpoint)
	}
	if f.mounted != nil {
		return weir.Errorf(weir.ErrExists, "mount %s: mounted before", f.opt.Mountpoint)
	}
	if err := mountpoint.CheckDevice(); err != nil {
		return err
	}
	point, err := mountpoint.Check(f.opt.Mountpoint, f.opt.AllowNonEmpty)
	if err != nil {
		return err
	}
	if f.opt.AllowOther && !mountpoint.OthersAllowed() {
		return fmt.Errorf("mount %s: allowing other users needs a line user_allow_other in /etc/fuse.conf", point)
	}
	if err := f.server.Mount(point, f.operations); err != nil {
		return err
	}
	f.background.Go(func() { f.housekeeping.run(f.base) })
	if f.mounted, err = mountpoint.Mounted(point); err != nil {
		f.opt.Log.Debug("find the mount in mountinfo", "err", err)
	}
	f.raiseReadAhead()
	return nil
}

// Start makes the tree ready for those who read it by Paths when there will be no mount. Close
// ends it.
func (f *FS) Start() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return weir.Errorf(weir.ErrClosed, "show torrents: closed before")
	}
	f.background.Go(func() { f.housekeeping.run(f.base) })
	return nil
}

// raiseReadAhead sets the kernel's read-ahead for the mount: the default of 128 KiB halves
// the speed. Without root it fails and changes nothing.
func (f *FS) raiseReadAhead() {
	if f.opt.ReadAheadKB < 0 {
		return
	}
	if err := f.mounted.SetReadAhead(f.opt.ReadAheadKB); err != nil {
		f.opt.Log.Debug("raise the kernel's read-ahead", "err", err)
	}
}

// Serve returns when the mount is gone: unmounted by anybody, or by Serve itself
// when ctx is done or Close is called. Waiting reads end with ENOTCONN then, and a mount that
// is still in use after a second is unmounted by force. All Files are closed when Serve
// returns. It may be called once.
func (f *FS) Serve(ctx context.Context) error {
	f.mu.Lock()
	mounted := f.mounted != nil
	again := f.serving
	f.serving = true
	f.mu.Unlock()
	switch {
	case !mounted:
		return weir.Errorf(weir.ErrClosed, "serve %s: it is not mounted", f.opt.Mountpoint)
	case again:
		return weir.Errorf(weir.ErrInUse, "serve %s: served before", f.opt.Mountpoint)
	}
	select {
	case <-f.server.Gone():
	case <-ctx.Done():
	case <-f.base.Done(): // Close
	}
	return f.end()
}

// end unmounts if need be, waits for all goroutines and closes all files. Only the first
// call does this; others wait for it.
func (f *FS) end() error {
	f.ended.Do(func() {
		f.mu.Lock()
		m := f.mounted
		f.mu.Unlock()
		f.server.EndWaits()
		left := f.unmountEscalating(m)
		f.stop(weir.ErrClosed)
		f.server.Stop()
		f.trees.background.Wait()
		f.background.Wait()
		f.files.closeAll()
		if left != nil {
			f.endErr = left // the loops still read: the connection ends with the process
			return
		}
		f.endErr = f.server.Close()
	})
	return f.endErr
}

// unmountEscalating unmounts: plain, then forced, then lazy. It returns when the connection
// has ended, or with an error if it does not end.
func (f *FS) unmountEscalating(m *mountpoint.Mount) error {
	gone := f.server.Gone()
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
		f.opt.Log.Warn("unmount by force", "err", err)
		if err := f.abortOwn(m); err != nil {
			f.opt.Log.Debug("abort the connection", "err", err)
		}
		if err := f.unmountOwn(m, true); err != nil {
			f.opt.Log.Warn("unmount lazily", "err", err)
		}
	}
	select {
	case <-gone:
		return nil
	case <-time.After(abortGrace / 2):
		// A mount namespace made meanwhile, by a container or "ip netns exec", may have a
		// copy that nobody will unmount.
		if err := f.abortOwn(m); err != nil {
			f.opt.Log.Debug("abort the connection", "err", err)
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
	return m.Detach(context.Background(), lazy) // it has a timeout; ctx may be done already
}

// abortOwn ends the connection: whatever waits for weir fails.
func (f *FS) abortOwn(m *mountpoint.Mount) error {
	err := m.Abort()
	if err != nil && f.opt.Unmounter != nil {
		return f.opt.Unmounter.Abort()
	}
	return err
}

// Unmount unmounts, and Serve returns then. While programs use the mount it fails with
// weir.ErrInUse.
func (f *FS) Unmount() error {
	f.mu.Lock()
	m := f.mounted
	f.mu.Unlock()
	if m == nil {
		return weir.Errorf(weir.ErrNotFound, "unmount %s: it is not mounted", f.opt.Mountpoint)
	}
	return f.unmountOwn(m, false)
}

// Close unmounts, if need be by force, and returns when everything has ended. It may be
// called more than once, and before Mount.
func (f *FS) Close() error {
	f.mu.Lock()
	f.closed = true
	mounted := f.mounted != nil
	f.mu.Unlock()
	f.stop(weir.ErrClosed)
	if mounted {
		return f.end()
	}
	f.trees.background.Wait()
	f.background.Wait()
	f.files.closeAll()
	return nil
}
