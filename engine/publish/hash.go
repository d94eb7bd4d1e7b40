package publish

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/publish/metainfo"
	"github.com/weirfs/weir/engine/source/merkle"
)

// readBytes is how much a worker reads at once: it stays in the processor's cache until
// both hashes have it.
const readBytes = 256 << 10

// workers is how many pieces are read and hashed at a time: some wait for the disk
// while others hash.
func workers() int { return 2 * runtime.GOMAXPROCS(0) }

// openFile is a file whose pieces are being hashed.
type openFile struct {
	*os.File
	entry *entry
	left  atomic.Int64 // bytes to hash
	users atomic.Int64 // parts of jobs that are not done, and eachPiece
}

// release closes the file when nobody needs it any more.
func (f *openFile) release() {
	if f.users.Add(-1) == 0 {
		_ = f.Close() // nothing was written
	}
}

// job is a piece and the file of each of its parts.
type job struct {
	piece metainfo.Piece
	files []*openFile
}

func (j *job) release() {
	for _, f := range j.files {
		f.release()
	}
}

// hash reads all files, and returns the hashes of their pieces.
func (p *Publication) hash(ctx context.Context) (*metainfo.Hashes, error) {
	hashes := p.layout.NewHashes()
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan job)
	group.Go(func() error {
		defer close(jobs)
		return p.eachPiece(ctx, jobs)
	})
	for range workers() {
		group.Go(func() error {
			w := worker{hashes: hashes, sha1: sha1.New(), buffer: make([]byte, readBytes), hashed: &p.hashed}
			for j := range jobs {
				if err := w.do(ctx, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return hashes, group.Wait()
}

// eachPiece opens one file after another and hands out the pieces.
func (p *Publication) eachPiece(ctx context.Context, jobs chan<- job) error {
	var file *openFile
	at := -1 // its number
	defer func() {
		if file != nil {
			file.release()
		}
	}()
	for piece := range p.layout.Pieces() {
		j := job{piece: piece}
		for _, part := range piece.Parts {
			if part.File != at {
				next, err := p.open(part.File)
				if err != nil {
					j.release()
					return err
				}
				if file != nil {
					file.release()
				}
				file, at = next, part.File
			}
			file.users.Add(1)
			j.files = append(j.files, file)
		}
		select {
		case jobs <- j:
		case <-ctx.Done():
			j.release()
			return ctx.Err()
		}
	}
	return nil
}

// open opens a file that is still the one that was found. Those that were found are in
// torrent order.
func (p *Publication) open(i int) (*openFile, error) {
	e := &p.found.entries[i]
	path := p.root
	if !p.found.single {
		path = filepath.Join(path, filepath.Join(e.Path...))
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := &openFile{File: file, entry: e}
	f.left.Store(e.Length)
	f.users.Store(1)
	if err := f.check(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return f, nil
}

// check fails when the file is another than the one that was found.
func (f *openFile) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if inplace.StampOf(&st) != f.entry.stamp {
		return changedError(f.entry.name())
	}
	return nil
}

// worker hashes one piece after another.
type worker struct {
	hashes *metainfo.Hashes
	sha1   hash.Hash
	leaves merkle.Stack
	buffer []byte
	hashed *atomic.Int64
}

// zeros is what padding is made of.
var zeros [64 << 10]byte

func (w *worker) do(ctx context.Context, j job) error {
	defer j.release()
	w.sha1.Reset()
	w.leaves.Reset(0)
	for i, part := range j.piece.Parts {
		if err := w.read(ctx, j.files[i], part); err != nil {
			return err
		}
	}
	if w.hashes.V1 != nil {
		for n := j.piece.Padding; n > 0; n -= int64(len(zeros)) {
			_, _ = w.sha1.Write(zeros[:min(n, int64(len(zeros)))]) // never fails
		}
		w.hashes.SetV1(j.piece.Index, [sha1.Size]byte(w.sha1.Sum(nil)))
	}
	if w.hashes.V2 != nil {
		w.hashes.SetV2(j.piece.Index, w.leaves.Root(j.piece.Depth))
	}
	return nil
}

// read hashes a part of a piece, and looks at the file again after its last one.
func (w *worker) read(ctx context.Context, f *openFile, part metainfo.Part) error {
	for off := int64(0); off < part.Length; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := w.buffer[:min(int64(len(w.buffer)), part.Length-off)]
		if _, err := f.ReadAt(b, part.Offset+off); errors.Is(err, io.EOF) {
			return changedError(f.entry.name())
		} else if err != nil {
			return err
		}
		w.add(b)
		off += int64(len(b))
		w.hashed.Add(int64(len(b)))
	}
	if f.left.Add(-part.Length) > 0 {
		return nil
	}
	return f.check()
}

// add hashes what comes next of the piece: whole leaves, but for the last.
func (w *worker) add(b []byte) {
	if w.hashes.V1 != nil {
		_, _ = w.sha1.Write(b) // never fails
	}
	if w.hashes.V2 == nil {
		return
	}
	for len(b) > 0 {
		n := min(len(b), merkle.LeafBytes)
		leaf := sha256.Sum256(b[:n])
		w.leaves.Add(&leaf)
		b = b[n:]
	}
}
