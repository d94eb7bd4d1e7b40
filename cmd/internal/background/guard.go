package background

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// GuardCommand is the hidden command that runs RunGuard; its argument is the
// mountpoint.
const GuardCommand = "guard"

// goodbye is what a weir writes that ends in order.
const goodbye = '.'

// How long to wait for a guard that is about to clear the same folder, and how
// often to look.
const (
	claimTimeout = 2 * time.Second
	claimTick    = 10 * time.Millisecond
)

// Guard is a process that outlives weir if that is killed, and then clears its
// mount away, so that programs see an empty folder and not "transport endpoint is
// not connected". fusermount3 has an option for it (auto_unmount), but stays in
// the foreground then, for which bazil waits without end.
//
// It hears of weir's end by a pipe whose other end only weir has. It unmounts by
// path, as users must; that it never hits the mount of a weir that came later is
// up to a lock (flock) on the folder beneath the mount: a weir holds it while it
// mounts, a guard while it looks whether the mount is dead and unmounts it.
type Guard struct {
	log   *slog.Logger
	cmd   *exec.Cmd
	pipe  *os.File // the guard reads the other end
	under *os.File // the folder that the mount covers; shared with the guard
}

// StartGuard starts a guard for the mount that is about to be made at point, an
// absolute path. What a dead weir left there is cleared away first. Mounted must
// be called when the mount is made, and Dismiss when it is gone.
func StartGuard(ctx context.Context, point string, log *slog.Logger) (*Guard, error) {
	if err := fs.ClearStale(point); err != nil {
		return nil, err
	}
	under, err := os.Open(point)
	if err != nil {
		return nil, fmt.Errorf("mountpoint %w", err)
	}
	g := &Guard{log: log, under: under}
	g.claim(ctx)
	if err := g.start(point); err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of %s: %w", point, err), under.Close())
	}
	return g, nil
}

// claim waits for the lock, a little: a folder that can't be locked is no reason
// not to mount.
func (g *Guard) claim(ctx context.Context) {
	tick := time.NewTicker(claimTick)
	defer tick.Stop()
	timeout := time.After(claimTimeout)
	for {
		err := unix.Flock(int(g.under.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			g.log.Debug("lock the mountpoint", "err", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timeout:
			g.log.Debug("the mountpoint stays locked by somebody else")
			return
		case <-tick.C:
		}
	}
}

func (g *Guard) start(point string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	g.pipe = w
	g.cmd = &exec.Cmd{
		Path: self(), Args: []string{"weir", GuardCommand, point}, Stdin: r,
		ExtraFiles: []*os.File{g.under},
		// Nothing that ends weir, its terminal or its process group ends the guard.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		// It is idle, and Go's ways of being quick cost memory.
		Env: append(os.Environ(), "GOMAXPROCS=1", "GOGC=10"),
	}
	if err := g.cmd.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	return nil
}

// Mounted says that the mount is made, or never will be: guards of others may
// look at the folder again.
func (g *Guard) Mounted() {
	if g == nil || g.under == nil {
		return
	}
	// The lock belongs to the guard's descriptor as well, so closing is not enough.
	if err := unix.Flock(int(g.under.Fd()), unix.LOCK_UN); err != nil {
		g.log.Debug("unlock the mountpoint", "err", err)
	}
	g.under.Close()
	g.under = nil
}

// Dismiss ends the guard, without it touching anything.
func (g *Guard) Dismiss() {
	if g == nil {
		return
	}
	g.Mounted()
	_, err := g.pipe.Write([]byte{goodbye})
	if err = errors.Join(err, g.pipe.Close(), g.cmd.Wait()); err != nil {
		g.log.Debug("the guard had gone", "err", err)
	}
}

// GuardFD is the descriptor of the folder beneath the mount in the guard's
// process.
const GuardFD = 3

// RunGuard is the guard's side: it returns when weir has said good-bye by pipe,
// or when weir is gone without and the dead mount at point is cleared away.
func RunGuard(pipe io.Reader, under *os.File, point string) error {
	var b [1]byte
	if n, _ := io.ReadFull(pipe, b[:]); n == 1 && b[0] == goodbye {
		return nil
	}
	// Without a lock, the folder's file system has none, and nobody else's guard
	// waits either.
	_ = unix.Flock(int(under.Fd()), unix.LOCK_EX)
	if err := fs.ClearStale(point); err != nil && !errors.Is(err, weir.ErrExists) {
		return err
	}
	return nil // it is gone, or somebody else's, and alive
}
