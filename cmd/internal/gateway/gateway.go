// Package gateway shows torrents over HTTP, for those who have no mount: files with ranges,
// listings, playlists and WebDAV, all read from the tree of package fs.
//
//	/                        what is in the root
//	/f/PATH                  a file, or what is in a folder, by its path in the tree
//	/t/INFOHASH/PATH         the same, by the torrent's info hash
//	/playlist/PATH.m3u8      the media files of a folder
//	/dav/PATH                WebDAV, to read
//
// Listings and HEAD fetch nothing. A file's content never changes, so its ETag is the info hash
// and the number of the file.
//
// What must not live here: the names in the tree, and which bytes are fetched ahead.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/hosts"
	"github.com/weirfs/weir/fs"
)

// Bounds on what a client may cost.
const (
	maxConns      = 4096
	maxHeader     = 32 << 10 // bytes
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// stallTimeout is how long a client may take nothing of an answer: a player that is paused.
	stallTimeout = 10 * time.Minute
)

// Tree is what is shown: see fs.Paths.
type Tree interface {
	Find(ctx context.Context, path string) (fs.Node, error)
	InTorrent(ctx context.Context, ih weir.InfoHash, path string) (fs.Node, error)
	List(ctx context.Context, dir fs.Node) ([]fs.Node, error)
	Open(n fs.Node, by fs.Opener) (*fs.OpenFile, error)
}

var _ Tree = (*fs.Paths)(nil)

// Options of a Server. Addr and Tree are required.
type Options struct {
	Addr        string // host:port
	Names       []string
	Cert, Key   string // files, for TLS; "": none
	Token       string // what a client must know; "": nothing
	Tree        Tree
	Reason      func(ih weir.InfoHash) string // in words, why a torrent makes no progress; "" if it does
	ReadTimeout time.Duration                 // of one read of a file; 0: fs.DefaultReadTimeout
	Log         *slog.Logger                  // nil: no log
}

// Server answers between Open and Close.
type Server struct {
	opt    Options
	http   *http.Server
	addr   net.Addr
	served chan struct{} // nil before Open
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = fs.DefaultReadTimeout
	}
	if o.Reason == nil {
		o.Reason = func(weir.InfoHash) string { return "" }
	}
	mux := http.NewServeMux()
	content := content{tree: o.Tree, reason: o.Reason, readTimeout: o.ReadTimeout, log: o.Log}
	mux.HandleFunc("GET /{$}", content.byPath)
	mux.HandleFunc("GET /f/{path...}", content.byPath)
	mux.HandleFunc("GET /t/{hash}/{path...}", content.byHash)
	mux.HandleFunc("GET /playlist/{path...}", content.playlist)
	mux.Handle("/dav/", content.dav("/dav"))
	mux.HandleFunc("GET /style.css", style)
	names := hosts.Of(o.Addr, o.Names...)
	guarded := names.Check(guard(o.Token, mux), "this is not a name of this weir: use its address, or name it with --http-name")
	return &Server{opt: o, http: &http.Server{
		Handler: guarded, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}
}

// Open listens and begins to answer. The error says what to do.
func (s *Server) Open() error {
	if s.opt.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.opt.Cert, s.opt.Key)
		if err != nil {
			return fmt.Errorf("certificate %s with key %s: %w", s.opt.Cert, s.opt.Key, err)
		}
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", s.opt.Addr)
	if err != nil {
		return fmt.Errorf("HTTP on %s: %w: name another address with --http HOST:PORT", s.opt.Addr, err)
	}
	s.addr, s.served = l.Addr(), make(chan struct{})
	l = netutil.LimitListener(l, maxConns)
	go func() {
		defer close(s.served)
		serve := s.http.Serve
		if s.opt.Cert != "" {
			serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.opt.Log.Error("serving HTTP has ended", "err", err)
		}
	}()
	return nil
}

// Addr returns where it listens, once Open has returned nil.
func (s *Server) Addr() net.Addr { return s.addr }

// URL returns the address for a browser on this machine, once Open has returned nil. With a
// token it lets whoever has it in.
func (s *Server) URL() string {
	scheme, query := "http", ""
	if s.opt.Cert != "" {
		scheme = "https"
	}
	host := s.addr.String()
	if tcp, ok := s.addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	if s.opt.Token != "" {
		query = "?" + tokenKey + "=" + s.opt.Token
	}
	return scheme + "://" + host + "/" + query
}

// Close ends it. Answers that are under way are cut off. It may be called more than once, and
// without Open.
func (s *Server) Close() error {
	if s.served == nil {
		return nil
	}
	err := s.http.Close()
	<-s.served
	return err
}
