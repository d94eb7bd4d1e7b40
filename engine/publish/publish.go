// Package publish makes a .torrent of a file or folder on this machine: it finds the
// files, reads each once for both kinds of hashes, and notices when one changes
// meanwhile. What stands in the .torrent is decided in engine/publish/metainfo. It
// makes no traffic and writes no file.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source"
)

// Options say what torrent to make.
type Options struct {
	Version     metainfo.Version
	PieceLength int64  // 0: libtorrent's choice
	Name        string // empty: that of the file or folder
	Aligned     bool   // as in metainfo.Shape
	// Details.Created is when the newest file was changed, if it is zero and not NoDate.
	metainfo.Details
	NoDate bool
}

// Publication is a file or folder that a torrent is made of.
type Publication struct {
	given   string // absolute
	root    string // the same, links resolved
	found   *tree
	layout  *metainfo.Layout
	details metainfo.Details
	hashed  atomic.Int64 // bytes
}

// LeftOut is what doesn't get into the torrent.
type LeftOut struct {
	Path string // from the folder on
	Why  string // ends a sentence about it
}

// Torrent is what was made.
type Torrent struct {
	Metainfo []byte // the .torrent
	Spec     *source.Spec
}

// Open looks at what path names and lays the torrent out; it reads no file. Errors say
// what to do.
func Open(ctx context.Context, path string, o Options) (*Publication, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := &Publication{given: absolute, details: o.Details}
	if err := p.checkURLs(); err != nil {
		return nil, err
	}
	if p.root, err = filepath.EvalSymlinks(absolute); err != nil {
		return nil, plainError(path, err)
	}
	if p.found, err = scan(ctx, p.root, p.given); err != nil {
		return nil, err
	}
	if age := time.Since(p.found.changed); age >= 0 && age < inplace.SettleTime {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(inplace.SettleTime):
		}
		if p.found, err = scan(ctx, p.root, p.given); err != nil {
			return nil, err
		}
	}
	name := o.Name
	if name == "" {
		name = filepath.Base(absolute)
	}
	if name == "/" {
		return nil, weir.Errorf(weir.ErrInvalid, "%s has no name that a torrent could have: give it one (--name)", path)
	}
	files := make([]metainfo.File, len(p.found.entries))
	for i := range files {
		files[i] = p.found.entries[i].File
	}
	shape := metainfo.Shape{Version: o.Version, PieceLength: o.PieceLength, Name: name, Aligned: o.Aligned, Single: p.found.single}
	if p.layout, err = metainfo.New(files, shape); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !p.found.single {
		for i, url := range p.details.WebSeeds {
			if !strings.HasSuffix(url, "/") {
				p.details.WebSeeds[i] += "/" // or some programs ask elsewhere (BEP 19)
			}
		}
	}
	if newest := p.found.newest; p.details.Created.IsZero() && !o.NoDate && newest.Unix() > 0 {
		p.details.Created = newest
	}
	return p, nil
}

// plainError says which path an error is about, and no system call.
func plainError(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// checkURLs judges the URLs among the details, and makes the lists of them our own.
func (p *Publication) checkURLs() error {
	check := func(urls []string, parse func(string) (string, error)) ([]string, error) {
		out := make([]string, len(urls))
		for i, url := range urls {
			var err error
			if out[i], err = parse(url); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	var err1, err2 error
	p.details.Trackers, err1 = check(p.details.Trackers, source.ParseTracker)
	p.details.WebSeeds, err2 = check(p.details.WebSeeds, source.ParseWebSeed)
	return errors.Join(err1, err2)
}

// Layout says what lies where in the torrent. It must not be changed.
func (p *Publication) Layout() *metainfo.Layout { return p.layout }

// Root returns the absolute path of the file or folder, links resolved.
func (p *Publication) Root() string { return p.root }

// LeftOut returns what does not get into the torrent.
func (p *Publication) LeftOut() []LeftOut { return p.found.leftOut }

// Contains reports whether a file that is about to be written at path would get into
// what is published, or replace it.
func (p *Publication) Contains(path string) (bool, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return false, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return false, plainError(path, err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	if p.found.single {
		a, err1 := os.Stat(path)
		b, err2 := os.Stat(p.root)
		return err1 == nil && err2 == nil && os.SameFile(a, b), nil
	}
	rel, err := filepath.Rel(p.root, path)
	return err == nil && filepath.IsLocal(rel), nil
}

// HashedBytes returns how much was read and hashed, while Make runs.
func (p *Publication) HashedBytes() int64 { return p.hashed.Load() }

// Make reads and hashes everything and returns the torrent. An error wraps
// weir.ErrCorrupt when files changed since Open.
func (p *Publication) Make(ctx context.Context) (*Torrent, error) {
	hashes, err := p.hash(ctx)
	if err != nil {
		return nil, err
	}
	after, err := scan(ctx, p.root, p.given)
	if err != nil {
		return nil, err
	}
	if err := p.found.compare(after); err != nil {
		return nil, err
	}
	t := &Torrent{Metainfo: p.layout.Encode(hashes, &p.details)}
	if t.Spec, err = source.ParseTorrent(t.Metainfo); err != nil {
		return nil, fmt.Errorf("the torrent that was made: %w", err)
	}
	return t, nil
}
