package background

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/mountpoint"
)

// GuardCommand is the hidden command that runs RunGuard; its argument is the
// mountpoint.
const GuardCommand = "guard"

// What weir writes to its guard: that it ends regularly, or that the guard must unmount,
// since weir has given up the right to.
const (
	dismissed   = '.'
	unmount     = 'u'
	unmountLazy = 'z'
	abort       = 'a'
)

// answerTimeout bounds one unmount by the guard.
const answerTimeout = 15 * time.Second

// answer is the guard's answer, a line of JSON.
type answer struct {
	Error string `json:"error"` // "": success
	InUse bool   `json:"in_use"`
}

// How long to wait for a guard that is about to unmount the same folder, and how often to
// check.
const (
	claimTimeout = 2 * time.Second
	claimTick    = 10 * time.Millisecond
)

// Guard is a process that outlives weir if weir is killed, and then unmounts, so that
// programs see an empty folder and not "transport endpoint is not connected". fusermount3
// has an option for this (auto_unmount), but with it bazil would wait for fusermount3 for
// ever.
//
// It notices weir's end by a pipe whose other end only weir has. It unmounts by path. A lock
// (flock) on the folder beneath the mount makes sure that it never unmounts a later weir: a
// weir holds the lock while it mounts, a guard while it checks whether the mount is dead and
// unmounts it.
type Guard struct {
	log  *slog.Logger
	cmd  *exec.Cmd
	pipe *os.File // the guard reads the other end

	asking  sync.Mutex
	answers *os.File // of Unmount
	lines   *bufio.Reader
	under   *os.File // the folder that the mount covers; shared with the guard
}

// StartGuard starts a guard for the coming mount at point, an absolute path. A stale
// mount there is unmounted first. Mounted must be called when the mount is made, and
// Dismiss when it is gone.
func StartGuard(ctx context.Context, point string, log *slog.Logger) (*Guard, error) {
	if err := mountpoint.ClearStale(point); err != nil {
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

// claim waits briefly for the lock. A folder that can't be locked is mounted all the same.
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
			g.log.Debug("another process keeps the mountpoint locked")
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
	answers, answering, err := os.Pipe()
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer answering.Close()
	g.pipe, g.answers, g.lines = w, answers, bufio.NewReader(answers)
	g.cmd = &exec.Cmd{
		Path: self(), Args: []string{"weir", GuardCommand, point}, Stdin: r,
		ExtraFiles: []*os.File{g.under, answering},
		// Nothing that ends weir, its terminal or its process group ends the guard.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		// It is idle: memory matters more than speed.
		Env: append(os.Environ(), "GOMAXPROCS=1", "GOGC=10"),
	}
	if err := g.cmd.Start(); err != nil {
		return errors.Join(err, w.Close(), answers.Close())
	}
	return nil
}

// Mounted says that mounting is over: other guards may check the folder again.
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

// Dismiss ends the guard. It does not unmount.
func (g *Guard) Dismiss() {
	if g == nil {
		return
	}
	g.Mounted()
	_, err := g.pipe.Write([]byte{dismissed})
	if err = errors.Join(err, g.pipe.Close(), g.answers.Close(), g.cmd.Wait()); err != nil {
		g.log.Debug("end the guard", "err", err)
	}
}

// Unmount lets the guard unmount. The error wraps weir.ErrInUse while programs use the
// mount.
func (g *Guard) Unmount(lazy bool) error {
	if lazy {
		return g.ask(unmountLazy)
	}
	return g.ask(unmount)
}

// Abort lets the guard end the connection of the mount.
func (g *Guard) Abort() error { return g.ask(abort) }

func (g *Guard) ask(what byte) error {
	g.asking.Lock()
	defer g.asking.Unlock()
	if err := g.answers.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return fmt.Errorf("ask the guard: %w", err)
	}
	if _, err := g.pipe.Write([]byte{what}); err != nil {
		return fmt.Errorf("ask the guard: %w", err)
	}
	line, err := g.lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the guard's answer: %w", err)
	}
	var a answer
	switch err := json.Unmarshal(line, &a); {
	case err != nil:
		return fmt.Errorf("the guard's answer: %w", err)
	case a.InUse:
		return weir.Errorf(weir.ErrInUse, "%s", a.Error)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// The descriptors of the guard's process: the folder beneath the mount, and where it
// answers.
const (
	GuardFD  = 3
	AnswerFD = 4
)

// RunGuard is the guard's process. It unmounts when weir asks for it. It returns when weir
// has dismissed it, or when weir has died and the stale mount at point is unmounted.
func RunGuard(pipe io.Reader, answers io.Writer, under *os.File, point string) error {
	stop := abortWhenStuck(os.Getppid(), point)
	defer stop()
	var b [1]byte
	for {
		n, _ := io.ReadFull(pipe, b[:])
		if n == 1 && b[0] == dismissed {
			return nil
		}
		if n == 0 {
			break
		}
		var a answer
		err := error(nil)
		if b[0] == abort {
			err = mountpoint.Abort(point)
		} else {
			err = mountpoint.Unmount(context.Background(), point, b[0] == unmountLazy)
		}
		if err != nil && !errors.Is(err, weir.ErrNotFound) {
			a = answer{weir.ErrorText(err), errors.Is(err, weir.ErrInUse)}
		}
		if err := json.NewEncoder(answers).Encode(a); err != nil {
			break
		}
	}
	stop() // from here on, another weir may be mounted there
	// If the folder's file system has no locks, other guards don't wait either.
	_ = unix.Flock(int(under.Fd()), unix.LOCK_EX)
	if err := mountpoint.ClearStale(point); err != nil && !errors.Is(err, weir.ErrExists) {
		return err
	}
	return nil // it is gone, or another mount that is alive
}
