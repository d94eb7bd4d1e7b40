package inplace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// sight is a file as it was after it was read.
type sight struct {
	file  int
	stamp Stamp
	err   error // why it could not be read; then stamp may be zero
}

// read fills p with a range of the torrent, and returns what it saw of each file.
func (c *Content) read(info *weir.TorrentInfo, r weir.Range, p []byte) (seen []sight, err error) {
	first, end := info.FilesIn(r)
	for i := first; i < end; i++ {
		f := &info.Files[i]
		part := f.Range().Intersect(r)
		if part.Empty() {
			continue
		}
		b := p[part.Off-r.Off : part.End-r.Off]
		if f.Padding {
			clear(b)
			continue
		}
		stamp, err := c.readFile(i, b, part.Off-f.Offset)
		if (err == nil || errors.Is(err, io.EOF)) && stamp.Size != f.Length {
			err = weir.Errorf(weir.ErrCorrupt, "it has %d bytes now, and had %d", stamp.Size, f.Length)
		}
		seen = append(seen, sight{i, stamp, err})
		if err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// readFile fills p from a file, and returns the stamp it had after that. The error is io.EOF
// if the file ends too early.
func (c *Content) readFile(index int, p []byte, off int64) (Stamp, error) {
	f, err := c.opt.Opener.take(fileKey{c, index})
	if err != nil {
		return Stamp{}, err
	}
	stale := true
	defer func() { c.opt.Opener.release(f, stale) }()
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		err = nil
	} else if !errors.Is(err, io.EOF) {
		return Stamp{}, err
	}
	stamp, failed := f.stat()
	if failed != nil {
		return Stamp{}, failed
	}
	stale = err != nil || stamp != c.stampOf(index)
	return stamp, err
}

// stampOf returns the last stamp that was seen of a file.
func (c *Content) stampOf(index int) Stamp {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if f := c.files[index]; f != nil {
		return f.stamp
	}
	return Stamp{}
}

// unchanged reports whether a piece that was right still is, as its files are as they were.
func (c *Content) unchanged(info *weir.TorrentInfo, index int, seen []sight) bool {
	c.mu.RLock()
	same := c.right.Has(index)
	for i := range seen {
		f := c.files[seen[i].file]
		same = same && f != nil && f.stamp == seen[i].stamp
	}
	c.mu.RUnlock()
	if !same {
		c.unsettle(info, seen)
	}
	return same
}

// unsettle takes note of how files are now. The pieces of those that changed have to be
// hashed again.
func (c *Content) unsettle(info *weir.TorrentInfo, seen []sight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seen {
		f := c.files[s.file]
		if f == nil {
			f = &fileState{}
			c.files[s.file] = f
		}
		if f.stamp == s.stamp {
			continue
		}
		f.stamp = s.stamp
		first, end := info.Pieces(info.Files[s.file].Range())
		for i := first; i < end; i++ {
			c.right.clear(i)
		}
	}
}

// verify reads and hashes a piece, and fills p from it. A piece that is another is lost. The
// caller has its turn.
func (c *Content) verify(info *weir.TorrentInfo, index int, p []byte, off int64) (bool, error) {
	if off < 0 || off+int64(len(p)) > info.PieceRange(index).Len() {
		return false, nil
	}
	seen, err := c.hash(info, index, p, off)
	if err != nil && !errors.Is(err, errUnknownHash) {
		c.lose(index, seen, err)
	}
	return err == nil, nil
}

// errUnknownHash says that a piece can't be judged.
var errUnknownHash = errors.New("the piece's hash is not known")

// hash reads a piece, hashes it, and fills p from off on. It returns what it saw of the
// piece's files.
func (c *Content) hash(info *weir.TorrentInfo, index int, p []byte, off int64) ([]sight, error) {
	c.checking <- struct{}{}
	defer func() { <-c.checking }()
	pr := info.PieceRange(index)
	buffer := takeBuffer(int(pr.Len()))
	defer giveBuffer(buffer)
	b := *buffer
	began := time.Now()
	seen, err := c.read(info, pr, b)
	if err == nil {
		if err = c.opt.Check(index, [][]byte{b}); errors.Is(err, weir.ErrNotFound) {
			err = errUnknownHash
		}
	}
	c.unsettle(info, seen)
	if err != nil {
		return seen, err
	}
	copy(p, b[off:])
	c.mu.Lock()
	defer c.mu.Unlock()
	right := true
	for i := range seen {
		right = right && c.files[seen[i].file].stamp == seen[i].stamp && seen[i].stamp.settled(began)
	}
	if right {
		c.right.set(index)
	}
	return seen, nil
}

// lose says that a piece is not in the files. The file to blame is the one that can't be
// read, or each of the piece's.
func (c *Content) lose(index int, seen []sight, err error) {
	why := "its content is another than the torrent's"
	if n := len(seen); n > 0 && seen[n-1].err != nil {
		seen, why = seen[n-1:], problemText(err)
	}
	c.mu.Lock()
	first := c.has(index)
	c.lost.set(index)
	for _, s := range seen {
		c.files[s.file].problem = why
	}
	c.mu.Unlock()
	if first {
		c.opt.Lost(index)
	}
}

func problemText(err error) string {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is gone"
	case errors.As(err, &at):
		err = at.Err
	}
	return fmt.Sprintf("it can't be used: %s", weir.ErrorText(err))
}

// buffers hold pieces while they are hashed.
var buffers sync.Pool

func takeBuffer(n int) *[]byte {
	b, _ := buffers.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	*b = slices.Grow((*b)[:0], n)[:n]
	return b
}

// maxPooled is how large a buffer may be that waits for the next piece.
const maxPooled = 16 << 20

func giveBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}
