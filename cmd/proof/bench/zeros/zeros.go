// Package zeros mounts a file of zeros with weir's own file system and nothing
// behind it: no cache, no engine, no disk. What can be read from it is the most
// that the kernel and package fs allow, the limit for reads that are all hits.
package zeros

import (
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// Name is the file's name, and its folder's.
const Name = "zeros"

// Serve mounts a file of so many zeros on dir, writes a line to ready, and serves
// until in ends.
func Serve(dir string, bytes int64, in io.Reader, ready io.Writer) error {
	f := fs.New(fs.Options{Mountpoint: dir})
	info := &weir.TorrentInfo{
		InfoHash: sha1.Sum([]byte(Name)), Name: Name, PieceLength: 4 << 20, Length: bytes, Single: true,
		Files: []weir.FileInfo{{Path: []string{Name}, Length: bytes}},
	}
	if _, err := f.Add(Name, torrent{info}); err != nil {
		return err
	}
	if err := f.Mount(); err != nil {
		return err
	}
	fmt.Fprintln(ready, "mounted")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in) // it ends, however it ends
		cancel()
	}()
	return f.Serve(ctx)
}

// torrent holds all of a file of zeros.
type torrent struct{ info *weir.TorrentInfo }

var _ fs.Torrent = torrent{}

func (t torrent) InfoHash() weir.InfoHash { return t.info.InfoHash }
func (t torrent) Added() time.Time        { return time.Unix(1e9, 0) }
func (t torrent) Outline() (fs.Outline, bool) {
	return fs.Outline{Length: t.info.Length, Held: t.info.Length, Files: 1}, true
}
func (t torrent) Info() *weir.TorrentInfo                             { return t.info }
func (t torrent) WaitInfo(context.Context) (*weir.TorrentInfo, error) { return t.info, nil }
func (t torrent) HeldBytes(r weir.Range) int64                        { return r.Len() }
func (t torrent) Status(weir.Range) fs.Status                         { return fs.Status{} }
func (t torrent) OpenFile(int, fs.Opener) (fs.File, error)            { return file{}, nil }

// all is where every byte comes from; larger than any read of the kernel.
var all [4 << 20]byte

type file struct{}

func (file) View(_ int64, n int, use func(b []byte)) (*weir.Miss, error) {
	use(all[:n])
	return nil, nil
}

func (file) Fetch(_ context.Context, _ *weir.Miss, p []byte) error {
	clear(p)
	return nil
}

func (file) Ahead() int64 { return 0 }

func (file) Close() error { return nil }
