// Package inplace reads the content of torrents from files that lie on this machine
// already, where they are: nothing is copied, and nothing here writes. Files may change at
// any time, so no byte is given away that was not found right since the last change: a
// piece is hashed before its first use, and after each read the size, the times and the
// inode of its files are compared with what they were then.
//
// What must not live here: where torrents come from, caches, and what peers ask for.
package inplace

import (
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/weirfs/weir"
)

// Options say what a Content is. All but Missing and Lost are required.
type Options struct {
	Root string // absolute: the torrent's folder, or its file if it has the single-file form
	// Info returns the torrent's shape, nil while it can't be had.
	Info func() *weir.TorrentInfo
	// Check hashes a piece, given as consecutive slices. The error wraps weir.ErrCorrupt if
	// it is another, and weir.ErrNotFound if its hash is not known.
	Check  func(index int, blocks [][]byte) error
	Opener *Opener
	// Missing are pieces that are known not to be in the files.
	Missing Bits
	// Lost is called when a piece turns out not to be in the files.
	Lost func(index int)
}

// Content is the content of one torrent in files of this machine. It is safe for
// concurrent use.
type Content struct {
	opt Options

	checking chan struct{}  // a slot per piece that is read and hashed at a time
	turns    [32]sync.Mutex // of pieces, by index: each is hashed once

	mu      sync.RWMutex
	missing Bits // never found
	lost    Bits // since they were last found, or believed to be there
	right   Bits // hashed, and their files have had the stamps since
	files   map[int]*fileState
	closed  bool
}

// fileState is what was last seen of a file.
type fileState struct {
	stamp   Stamp
	problem string // why pieces of it are lost; empty if none are
}

// Problem is a file that pieces were lost of.
type Problem struct {
	Path string // from the torrent's folder on
	Why  string
}

// New returns a Content. It reads nothing.
func New(o Options) *Content {
	if o.Lost == nil {
		o.Lost = func(int) {}
	}
	return &Content{
		opt: o, checking: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		missing: o.Missing.clone(), files: map[int]*fileState{},
	}
}

// Root returns the folder or file.
func (c *Content) Root() string { return c.opt.Root }

// Close closes the files. What is read afterwards is not there.
func (c *Content) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.opt.Opener.leave(c)
}

// Has reports whether a piece is in the files, as far as is known. It answers from memory.
func (c *Content) Has(index int) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.has(index)
}

func (c *Content) has(index int) bool {
	return !c.closed && !c.missing.Has(index) && !c.lost.Has(index)
}

// Complete reports whether all pieces are in the files, as far as is known.
func (c *Content) Complete() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return !c.closed && c.missing.Empty() && c.lost.Empty()
}

// Mark sets those of a torrent's pieces that are in the files.
func (c *Content) Mark(held []bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := range held {
		held[i] = held[i] || c.has(i)
	}
}

// Missing returns the pieces that are known not to be in the files.
func (c *Content) Missing() Bits {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.missing.clone()
}

// Problems returns the files of which pieces were lost, in torrent order.
func (c *Content) Problems() []Problem {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var at []int
	for i, f := range c.files {
		if f.problem != "" {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	info := c.opt.Info()
	if info == nil {
		return nil
	}
	slices.Sort(at)
	var out []Problem
	for _, file := range at {
		out = append(out, Problem{Path: strings.Join(info.Files[file].Path, "/"), Why: c.files[file].problem})
	}
	return out
}

// ReadAt fills p from a piece at off, and reports whether the piece is there. A piece that
// was not hashed yet is read and hashed first.
func (c *Content) ReadAt(index int, p []byte, off int64) (bool, error) {
	info := c.opt.Info()
	if info == nil || index < 0 || index >= info.NumPieces() || !c.Has(index) {
		return false, nil
	}
	if c.readRight(info, index, p, off) {
		return true, nil
	}
	turn := &c.turns[index%len(c.turns)]
	turn.Lock()
	defer turn.Unlock()
	if c.readRight(info, index, p, off) { // somebody else hashed it meanwhile
		return true, nil
	}
	if !c.Has(index) {
		return false, nil
	}
	return c.verify(info, index, p, off)
}

// ViewRight calls use with n bytes of a piece at off, if the piece needs no hashing, and
// reports whether it did. The bytes are valid during the call only.
func (c *Content) ViewRight(index int, off int64, n int, use func([]byte)) bool {
	info := c.opt.Info()
	if info == nil || index < 0 || index >= info.NumPieces() || n < 0 || int64(n) > info.PieceLength {
		return false
	}
	buffer := takeBuffer(n)
	defer giveBuffer(buffer)
	if !c.readRight(info, index, *buffer, off) {
		return false
	}
	use(*buffer)
	return true
}

func (c *Content) readRight(info *weir.TorrentInfo, index int, p []byte, off int64) bool {
	c.mu.RLock()
	right := !c.closed && c.right.Has(index)
	c.mu.RUnlock()
	if !right {
		return false
	}
	pr := info.PieceRange(index)
	if off < 0 || off+int64(len(p)) > pr.Len() {
		return false
	}
	seen, err := c.read(info, weir.Range{Off: pr.Off + off, End: pr.Off + off + int64(len(p))}, p)
	if err != nil {
		c.unsettle(info, seen)
		return false
	}
	return c.unchanged(info, index, seen)
}

// Look looks again at the files of which pieces were lost, and returns the pieces of those
// that are others now: they may be right again, and are hashed before they are used, like all.
func (c *Content) Look() (found []int) {
	c.mu.RLock()
	var bad []int
	for i, f := range c.files {
		if f.problem != "" {
			bad = append(bad, i)
		}
	}
	c.mu.RUnlock()
	if len(bad) == 0 {
		return nil
	}
	info := c.opt.Info()
	if info == nil {
		return nil
	}
	for _, i := range bad {
		stamp := Stamp{}
		if f, err := c.open(i); err == nil {
			stamp, _ = (&openFile{File: f}).stat() // zero when it fails
			_ = f.Close()
		}
		found = append(found, c.revive(info, i, stamp)...)
	}
	return found
}

// revive makes the lost pieces of a file that has changed again unknown.
func (c *Content) revive(info *weir.TorrentInfo, file int, stamp Stamp) (found []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[file]
	if f.stamp == stamp || stamp == (Stamp{}) || stamp.Size != info.Files[file].Length {
		return nil
	}
	f.stamp, f.problem = stamp, ""
	first, end := info.Pieces(info.Files[file].Range())
	for i := first; i < end; i++ {
		c.right.clear(i)
		if c.lost.Has(i) {
			c.lost.clear(i)
			found = append(found, i)
		}
	}
	return found
}
