package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

// Options of a Server.
type Options struct {
	Source        string        // what the kernel lists as mounted
	ReadAheadKB   int           // the most that the kernel may read ahead
	AllowOther    bool          // users other than the mounting one may read the mount
	AllowNonEmpty bool          // mount on a directory that is not empty
	Deadline      time.Duration // of a request that waits
	Log           *slog.Logger
}

// Server answers the kernel for one mount.
type Server struct {
	Notifier *Notifier
	opt      Options
	fs       FileSystem // Mount sets this and the fields below
	conn     *fuse.Conn
	deadline time.Duration // of one wait
	gone     chan struct{} // closed when the connection has ended
	answers  [loops]error  // how each loop ended; read when gone is closed

	waits      waits
	extras     *extraLoops
	polling    atomic.Bool     // see learnNoPoll
	background sync.WaitGroup  // the notifier and watchReaders
	base       context.Context // the ancestor of every wait's
	stop       context.CancelCauseFunc
}

// New returns a Server that is not mounted yet.
func New(opt Options) *Server {
	base, stop := context.WithCancelCause(context.Background())
	return &Server{Notifier: newNotifier(), opt: opt, deadline: opt.Deadline, waits: newWaits(), extras: newExtraLoops(), base: base, stop: stop}
}

// Deadline returns how long a request may wait. It is fixed when mounting.
func (s *Server) Deadline() time.Duration { return s.deadline }

// Mount mounts fs at point and begins to answer: when it returns, the mount can be
// used.
func (s *Server) Mount(point string, fs FileSystem) error {
	conn, err := fuse.Mount(point, s.mountOptions(fs.Writable())...)
	if err != nil {
		return fmt.Errorf("mount %s: %w", point, err)
	}
	s.fs, s.conn, s.gone = fs, conn, make(chan struct{})
	s.limitDeadline()
	s.Notifier.start()
	s.background.Go(func() { s.Notifier.run(s.base, wire{conn}, fs.HasName) })
	s.background.Go(func() { s.watchReaders(s.base) })
	ended := make(chan struct{})
	var answering sync.WaitGroup
	answering.Go(func() {
		s.answers[0] = newLoop(s, conn.ReadRequest).run(false, nil)
		close(ended)
	})
	for i := 1; i < loops; i++ {
		answering.Go(func() { s.answers[i] = newLoop(s, conn.ReadRequest).run(true, ended) })
	}
	go func() {
		answering.Wait()
		close(s.gone)
	}()
	s.learnNoPoll(point)
	return nil
}

// Mounted reports whether Mount has worked.
func (s *Server) Mounted() bool { return s.conn != nil }

// Gone is closed when the connection to the kernel has ended.
func (s *Server) Gone() <-chan struct{} { return s.gone }

// EndWaits ends all waits, refuses further ones, and returns when all are answered: waiting
// reads would keep the mount busy.
func (s *Server) EndWaits() { s.waits.close() }

// Stop ends everything but the loops, which end with the mount.
func (s *Server) Stop() {
	s.stop(weir.ErrClosed)
	s.background.Wait()
}

// Close closes the connection of a mount that is gone, and returns the errors that ended loops.
func (s *Server) Close() error {
	if err := s.conn.Close(); err != nil {
		s.opt.Log.Debug("close the connection", "err", err)
	}
	return errors.Join(s.answers[:]...)
}

// wire is the connection to the kernel as an invalidator.
type wire struct{ conn *fuse.Conn }

var _ invalidator = wire{}

func (w wire) InvalidateNode(id node.ID, off, size int64) error {
	return w.conn.InvalidateNode(fuse.NodeID(id), off, size)
}

func (w wire) InvalidateEntry(parent node.ID, name string) error {
	return w.conn.InvalidateEntry(fuse.NodeID(parent), name)
}
