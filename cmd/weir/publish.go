package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/seeding"
	"github.com/weirfs/weir/engine/publish"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source"
)

// maxLeftOut is how many lines there are about what doesn't get into a torrent.
const maxLeftOut = 10

// publishFlags are those of publish.
type publishFlags struct {
	hybrid, v1, v2 bool
	pieceLength    pieceLength
	trackers       urlList
	webSeeds       urlList
	out            string
	date           creationDate
	o              publish.Options
	update         string
	old            *source.Spec // that update names; nil without

	seed    bool
	seeding seedingFlags
	mount   mountFlags
}

func newPublish() *cobra.Command {
	f := publishFlags{trackers: urlList{parse: source.ParseTracker}, webSeeds: urlList{parse: source.ParseWebSeed}}
	cmd := &cobra.Command{
		Use:   "publish [flags] PATH",
		Short: "make a .torrent of a file or folder",
		Long: `publish reads a file or folder, writes a .torrent of it and prints its magnet.
The same files and flags make the same torrent, with the info hash that
libtorrent and qBittorrent give it. Without --seed it sends nothing: some
BitTorrent program must then seed the files. With --seed weir serves them, from
where they lie, until Ctrl-C; with --mount a mount does, as long as it is there.
No byte is sent that is not the torrent's: a file that changes meanwhile is
named, there or by weir status, and what has changed is not served.

Symbolic links into the folder stay links. Links that lead out of it, sockets,
pipes and devices are left out, and named; empty folders are left out. A file
that changes while it is read is an error. docs/publish.md says more.

` + exitCodes,
		Example: `  weir publish ~/release-1.2
  weir publish --tracker udp://tracker.example.org:6969 ~/release-1.2
  weir publish --webseed https://example.org/files/ ~/release-1.2
  weir publish --seed ~/release-1.2
  weir publish --update release-1.1.torrent ~/release-1.2
  weir publish --v1 --private --source EXAMPLE --out film.torrent film.mkv`,
		Args: usage(cobra.ExactArgs(1), "one file or folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.hybrid && (f.v1 || f.v2) || f.v1 && f.v2 {
				return usageError{errors.New("want one of --hybrid, --v1 and --v2"), cmd.CommandPath()}
			}
			if args[0] == "" {
				return usageError{errors.New("want one file or folder, got an empty name"), cmd.CommandPath()}
			}
			if name := f.seeding.given(cmd.Flags()); name != "" && !f.seed {
				return usageError{fmt.Errorf("--%s is of use with --seed only", name), cmd.CommandPath()}
			}
			if f.seed && f.mount.dir != "" {
				return usageError{errors.New("want one of --seed and --mount"), cmd.CommandPath()}
			}
			return f.run(cmd.Context(), args[0], cmd.OutOrStdout(), screenOf(cmd.ErrOrStderr()))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.hybrid, "hybrid", false, "for programs that know version 1, 2 or both of BitTorrent (the default)")
	flags.BoolVar(&f.v1, "v1", false, "for version 1 alone")
	flags.BoolVar(&f.v2, "v2", false, "for version 2 alone")
	flags.Var(&f.pieceLength, "piece-length", "length of pieces, a power of two from 16KiB to 512MiB (default: libtorrent's choice by the total size)")
	flags.StringVarP(&f.out, "out", "o", "", "write the torrent to this `FILE`, and replace it if it is there (default: NAME.torrent in this folder, if it isn't there yet)")
	flags.Var(&f.trackers, "tracker", "announce URL; may be given several times, the first is asked first")
	flags.Var(&f.webSeeds, "webseed", "URL of a web server with the file, or with the folder's parent; may be given several times")
	flags.BoolVar(&f.o.Private, "private", false, "peers come from the trackers only (BEP 27)")
	flags.StringVar(&f.o.Comment, "comment", "", "`TEXT` that programs show with the torrent")
	flags.StringVar(&f.o.Source, "source", "", "`TEXT` that gives the torrent an info hash of its own, as some trackers ask for")
	flags.StringVar(&f.o.Name, "name", "", "`NAME` of the torrent (default: that of PATH)")
	flags.StringVar(&f.update, "update", "", "make a new version of the torrent in this `FILE`: what has not changed is in the same pieces, and is not fetched again by who has it")
	flags.Var(&f.date, "date", "creation date, such as 2026-11-30 or 2026-11-30T12:00:00Z, or none (default: when the newest file was changed)")
	f.mount.register(flags)
	flags.BoolVar(&f.seed, "seed", false, "serve the files to peers until Ctrl-C; the flags that follow say how")
	f.seeding.register(flags)
	completeValues(cmd, "encryption", "allowed", "required", "off")
	return cmd
}

func (f *publishFlags) run(ctx context.Context, path string, out io.Writer, screen screen) error {
	f.o.PieceLength, f.o.Created, f.o.NoDate = int64(f.pieceLength), f.date.Time, f.date.none
	f.o.Trackers, f.o.WebSeeds = f.trackers.urls, f.webSeeds.urls
	switch {
	case f.v1:
		f.o.Version = metainfo.V1
	case f.v2:
		f.o.Version = metainfo.V2
	}
	if err := f.follow(); err != nil {
		return fmt.Errorf("publish: --update %s: %w", f.update, err)
	}
	p, err := publish.Open(ctx, path, f.o)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	mount, err := f.mount.open(ctx, p.Root())
	if err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	defer mount.close()
	file, err := newTorrentFile(p, f.out)
	if err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	defer file.abandon()
	tellLeftOut(screen, path, p.LeftOut())
	made, err := makeTorrent(ctx, p, screen)
	if err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	if err := file.finish(made.Metainfo); err != nil {
		return err
	}
	l := p.Layout()
	fmt.Fprintf(screen, "%s: %s, pieces of %s\n", weir.Printable(file.path), sizeText(l.Bytes), sizeText(l.PieceLength))
	if f.old != nil {
		fmt.Fprintf(screen, "%s of it are in pieces that %s has, too\n", sizeText(publish.SharedBytes(made.Spec, f.old)), weir.Printable(f.update))
	}
	if err := mount.serve(ctx, api.ServeRequest{Torrent: made.Metainfo}, screen); err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	if _, err = fmt.Fprintln(out, made.Spec.Magnet()); err != nil || !f.seed {
		return err
	}
	served, err := seeding.New(f.seeding.options(made.Spec, p.Root()))
	if err != nil {
		return err
	}
	return serveFiles(ctx, served, screen)
}

// follow takes over what the old torrent has and the flags don't say.
func (f *publishFlags) follow() error {
	if f.update == "" {
		return nil
	}
	content, err := source.ReadFile(f.update, 0)
	if err != nil {
		return err
	}
	if f.old, err = source.ParseTorrent(content); err != nil {
		return err
	}
	return f.o.Follow(f.old, !f.v1 && !f.v2 && !f.hybrid)
}

// tellLeftOut names what doesn't get into the torrent.
func tellLeftOut(w io.Writer, path string, left []publish.LeftOut) {
	for i, l := range left {
		if i == maxLeftOut {
			fmt.Fprintf(w, "weir: %d more are left out\n", len(left)-i)
			return
		}
		fmt.Fprintf(w, "weir: %s is left out: %s\n", weir.Printable(filepath.Join(path, l.Path)), weir.Printable(l.Why))
	}
}

// makeTorrent hashes everything, and shows how far it is.
func makeTorrent(ctx context.Context, p *publish.Publication, screen screen) (made *publish.Torrent, err error) {
	err = showWhile(screen, p.Layout().Name, p.Layout().Bytes, p.HashedBytes, func() error {
		made, err = p.Make(ctx)
		return err
	})
	return made, err
}

// torrentFile is a file that is there when it is complete.
type torrentFile struct {
	path string
	file *os.File
	part string // the name until then; empty when path is no regular file
}

// newTorrentFile begins the file for a torrent, NAME.torrent here if path is empty.
func newTorrentFile(p *publish.Publication, path string) (*torrentFile, error) {
	named := path != ""
	if !named {
		path = p.Layout().Name + ".torrent"
	}
	inside, err := p.Contains(path)
	switch {
	case err != nil:
		return nil, err
	case inside:
		return nil, fmt.Errorf("%s would be a part of what is published: name a file elsewhere with --out", path)
	}
	f := &torrentFile{path: path}
	switch st, err := os.Stat(path); {
	case err == nil && !named:
		return nil, fmt.Errorf("%s is there already: remove it, or say --out %s to replace it", path, path)
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s is a folder: name a file with --out", path)
	case err == nil && !st.Mode().IsRegular():
		f.file, err = os.OpenFile(path, os.O_WRONLY, 0)
		return f, err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f.part = fmt.Sprintf("%s.%d.part", path, os.Getpid())
	f.file, err = os.OpenFile(f.part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return f, err
}

// finish writes the file and gives it its name.
func (f *torrentFile) finish(b []byte) error {
	_, err := f.file.Write(b)
	if err := errors.Join(err, f.file.Close()); err != nil {
		return err
	}
	if f.part == "" {
		return nil
	}
	if err := os.Rename(f.part, f.path); err != nil {
		return err
	}
	f.part = ""
	return nil
}

// abandon removes the file if it was not finished.
func (f *torrentFile) abandon() {
	_ = f.file.Close() // an error of a finished file was told before
	if f.part != "" {
		_ = os.Remove(f.part) // it may stay: its name says what it is
	}
}

// pieceLength is a flag for the length of pieces.
type pieceLength int64

func (p *pieceLength) String() string { return (*byteSize)(p).String() }

func (p *pieceLength) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n < metainfo.MinPieceLength || n > metainfo.MaxPieceLength || n&(n-1) != 0 {
		return fmt.Errorf("want a power of two from 16KiB to 512MiB, such as 4MiB, got %q", s)
	}
	*p = pieceLength(n)
	return nil
}

func (p *pieceLength) Type() string { return "SIZE" }

// urlList is a flag that may be given several times.
type urlList struct {
	parse func(string) (string, error)
	urls  []string
}

func (l *urlList) String() string { return strings.Join(l.urls, " ") }

func (l *urlList) Set(s string) error {
	url, err := l.parse(s)
	if err == nil {
		l.urls = append(l.urls, url)
	}
	return err
}

func (l *urlList) Type() string { return "URL" }

// creationDate is a flag for when a torrent was made.
type creationDate struct {
	time.Time
	none bool
}

func (d *creationDate) String() string {
	switch {
	case d.none:
		return "none"
	case d.IsZero():
		return ""
	}
	return d.Format(time.RFC3339)
}

func (d *creationDate) Set(s string) error {
	if s == "none" {
		*d = creationDate{none: true}
		return nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			*d = creationDate{Time: t}
			return nil
		}
	}
	return fmt.Errorf("want a date such as 2026-11-30 or 2026-11-30T12:00:00Z, or none, got %q", s)
}

func (d *creationDate) Type() string { return "DATE" }
