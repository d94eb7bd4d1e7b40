// Package control serves weir's control API (package api, docs/api.md): HTTP and
// JSON on a unix socket that only its owner may use. It translates requests into calls of
// the mount, which is an interface here.
//
// What must not live here: decisions about torrents, and anything that listens on
// a network.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// Mount has the operations of a mount that the API offers. All methods are safe for concurrent use;
// errors wrap the sentinels of package weir and say what to do.
type Mount interface {
	Server() api.Server
	Torrents() []api.Torrent
	// Torrent takes an info hash or the path of a torrent's folder, as Remove does.
	Torrent(id string) (api.TorrentDetails, error)
	SetSharing(id string, change api.SharingChange) (api.Sharing, error)
	Add(ctx context.Context, source, into string) (api.Added, error)
	AddFile(ctx context.Context, content []byte, into string) (api.Added, error)
	// Serve adds a torrent that lies in files of this machine; without one it says whether
	// it could.
	Serve(ctx context.Context, files string, r api.ServeRequest, into string) (api.Added, error)
	Remove(ctx context.Context, id string, keepCache bool) error
	Move(ctx context.Context, from, to string) (string, error)
	Handles() []api.Handle
	Waits() []api.Wait
	Status(ctx context.Context, path string) (api.PathStatus, error)
	Limits() api.Limits
	SetLimits(api.LimitsChange) (api.Limits, error)
	// Fetch calls progress until all of path is held or ctx ends.
	Fetch(ctx context.Context, path string, progress func(api.Progress)) error
	Pin(ctx context.Context, path string) (api.Kept, error)
	Unpin(ctx context.Context, path string) (bytes int64, err error)
	Evict(ctx context.Context, path string) (bytes int64, err error)
	// Events returns a channel of all events from now on, until ctx ends, which
	// closes it.
	Events(ctx context.Context) <-chan api.Event
}

// Options of a Server. Socket and Mount are required.
type Options struct {
	Socket string // see SocketPath
	Mount  Mount
	Cache  *Cache       // nil: the API offers nothing about the cache
	Log    *slog.Logger // nil: no log
}

// Server answers on the socket between Serve and Close.
type Server struct {
	opt  Options
	log  *slog.Logger
	http *http.Server
	stop context.CancelFunc // ends requests that are under way

	listener net.Listener  // nil before Listen
	served   chan struct{} // nil before Serve; closed when serving has ended
}

// New returns a server. It does no I/O.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: o, log: o.Log}
	base, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.http = &http.Server{
		Handler:           s.routes(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Listen makes the socket; clients that connect wait until Serve is called. It replaces a
// socket that a crashed weir left. The error wraps weir.ErrInUse when another weir answers
// there.
func (s *Server) Listen() (err error) {
	s.listener, err = listen(s.opt.Socket)
	return err
}

// Serve begins to answer, after Listen.
func (s *Server) Serve() {
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving the control socket has ended", "err", err)
		}
	}()
}

// Open is Listen and Serve.
func (s *Server) Open() error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.Serve()
	return nil
}

// Close ends requests that are under way, waits for them, and removes the socket.
// It may be called more than once, and without Open.
func (s *Server) Close() error {
	s.stop()
	switch {
	case s.listener == nil:
		return nil
	case s.served == nil:
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
	// Streams end with their context; other requests are short.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.served
	return err
}

// listen makes a unix socket that only we may use.
func listen(path string) (l net.Listener, err error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, weir.Errorf(weir.ErrInUse, "control socket %s: another weir answers there: unmount that one first", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// Its folder is ours alone (SocketPath), so nobody can connect before the chmod.
	l, err = net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// maxBodyBytes bounds the body of a request, unless that is a .torrent.
const maxBodyBytes = 1 << 20

// limitBody makes reading more than n bytes of a request an error.
func limitBody(w http.ResponseWriter, r *http.Request, n int64) io.Reader {
	return http.MaxBytesReader(w, r.Body, n)
}
