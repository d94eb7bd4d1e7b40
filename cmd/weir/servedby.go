package main

import (
	"context"
	"fmt"
	"path"

	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// mountFlags name a mount that serves files in place.
type mountFlags struct{ dir, into string }

func (m *mountFlags) register(f *pflag.FlagSet) {
	f.StringVar(&m.dir, "mount", "", "have the mount at `DIR`, which may be any folder in it, show the torrent and serve the files from where they lie")
	f.StringVar(&m.into, "into", "", "with --mount, show it in this `FOLDER` of DIR; it is created if missing")
}

// servingMount is a mount that is to serve files; nil is none.
type servingMount struct {
	live *live
	root string // of the files
	into string
}

// open finds the mount and asks whether it may read the files, before anything slow is
// done. It returns nil if no mount is named.
func (m *mountFlags) open(ctx context.Context, root string) (*servingMount, error) {
	if m.dir == "" {
		return nil, nil
	}
	l, err := connect(ctx, m.dir)
	if err != nil {
		return nil, err
	}
	s := &servingMount{live: l, root: root, into: path.Join(l.Path, m.into)}
	if _, err := l.Serve(ctx, root, api.ServeRequest{}, s.into); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// serve has the mount serve a torrent, and says where it is shown.
func (s *servingMount) serve(ctx context.Context, r api.ServeRequest, screen screen) error {
	if s == nil {
		return nil
	}
	added, err := s.live.Serve(ctx, s.root, r, s.into)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(screen, "%s is served from %s\n", weir.Printable(s.live.full(added.Path)), weir.Printable(s.root))
	return err
}

func (s *servingMount) close() {
	if s != nil {
		s.live.Close()
	}
}
