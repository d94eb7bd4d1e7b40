// Package seeding serves one torrent from files of this machine to peers, without a mount
// and without a cache: an engine over engine/inplace.
//
// What must not live here: the command line, and how the files are checked.
package seeding

import (
	"errors"
	"log/slog"
	"math"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/source"
)

// Options say what is served and how. Spec, with metadata, and Root are required.
type Options struct {
	Spec *source.Spec
	Root string // of the content, as inplace.Options has it

	Listen       string // as engine.Options has it; so what follows
	Peers        []string
	DHT, LSD     bool
	AllowPrivate bool
	Encryption   engine.Encryption
	UploadLimit  int64
	UserAgent    string
	Log          *slog.Logger
}

// Seeding is one torrent that is served. It is safe for concurrent use.
type Seeding struct {
	engine  *engine.Engine
	torrent *engine.Torrent
	content *inplace.Content
	opener  *inplace.Opener
	name    string
}

// New returns a Seeding that does nothing yet. The caller closes it, if it returns no error.
func New(o Options) (*Seeding, error) {
	st := &store{ih: o.Spec.InfoHash, records: map[string][]byte{}}
	var routers []string
	if o.DHT {
		routers = engine.PublicRouters()
	}
	s := &Seeding{opener: inplace.NewOpener(), name: o.Spec.DisplayName()}
	s.engine = engine.New(engine.Options{
		Store: st, Log: o.Log, Listen: o.Listen, Peers: o.Peers, Idle: math.MaxInt64,
		DHT: o.DHT, DHTBootstrap: routers, LSD: o.LSD, AllowPrivate: o.AllowPrivate,
		Encryption: o.Encryption, UploadLimit: o.UploadLimit, UserAgent: o.UserAgent,
	})
	var err error
	if s.torrent, err = s.engine.Add(o.Spec); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.content = inplace.New(inplace.Options{
		Root: o.Root, Info: s.torrent.Info, Check: s.torrent.CheckPiece, Opener: s.opener,
		Lost: s.torrent.Evicted,
	})
	st.content = s.content
	return s, nil
}

// Files are those that are served.
func (s *Seeding) Files() *inplace.Content { return s.content }

// Open begins to serve.
func (s *Seeding) Open() error {
	if err := s.engine.Open(); err != nil {
		return err
	}
	return s.torrent.Warm()
}

// Name is the torrent's, for display.
func (s *Seeding) Name() string { return s.name }

// Port returns the port for incoming peers, 0 if there is none.
func (s *Seeding) Port() int { return s.engine.Port() }

// Stats are the engine's.
func (s *Seeding) Stats() engine.Stats { return s.torrent.Stats() }

// Look returns the files of which pieces are not served, after another look at them.
func (s *Seeding) Look() []inplace.Problem {
	if len(s.content.Look()) > 0 {
		s.torrent.Rescan()
	}
	return s.content.Problems()
}

// Close ends the swarm. It may be called more than once.
func (s *Seeding) Close() error {
	err := s.engine.Close()
	if errors.Is(err, weir.ErrClosed) {
		err = nil
	}
	s.opener.Close()
	return err
}
