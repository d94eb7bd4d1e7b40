// Package incoming holds the files that are being copied into the mount: their bytes, in
// bounded memory, their attributes, and whether they have new content to hand over.
//
// What must not live here: where they are in the mount, and what they mean.
package incoming

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirfs/weir/fs/internal/node"
)

// Bounds on incoming files. The metainfo of a million files has about 50 MB.
const (
	FileBytes = 64 << 20 // of one file
	MaxFiles  = 1000     // at once
	AllBytes  = 256 << 20
)

// Store bounds the bytes of all files.
type Store struct {
	Limit int64
	// MakeRoom drops files that are not needed any more. It is called without a lock.
	MakeRoom func()

	bytes atomic.Int64
}

// Bytes returns the bytes of all files.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// File is one file, in memory.
type File struct {
	mu      sync.Mutex
	data    []byte
	unsent  bool // changed since it was handed over
	open    int  // handles
	touched time.Time
	mode    os.FileMode // permissions
	uid     *uint32     // nil: the mount's
	gid     *uint32
	mtime   time.Time
	// where it was when it was handed over
	sentDir, sentName string
}

// NewFile returns an empty file.
func NewFile(now time.Time) *File { return &File{touched: now, mode: 0o644, mtime: now} }

// Resize makes the file size bytes long. The error is EFBIG or ENOSPC.
func (s *Store) Resize(f *File, size int64) error {
	if size < 0 || size > FileBytes {
		return syscall.EFBIG
	}
	if s.Bytes()+size-f.size() > s.Limit {
		s.MakeRoom()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	more := size - int64(len(f.data))
	if s.bytes.Add(more) > s.Limit && more > 0 {
		s.bytes.Add(-more)
		return syscall.ENOSPC
	}
	if more > 0 {
		f.data = append(f.data, make([]byte, more)...)
	} else {
		f.data = f.data[:size]
	}
	f.wrote(time.Now())
	return nil
}

func (f *File) size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data))
}

// wrote records a change of the content. The caller has f.mu.
func (f *File) wrote(now time.Time) {
	f.unsent = true
	f.touched, f.mtime = now, now
}

// Write puts p into the file at off.
func (s *Store) Write(f *File, p []byte, off int64) error {
	if off < 0 || off > FileBytes || off+int64(len(p)) > FileBytes {
		return syscall.EFBIG
	}
	if end := off + int64(len(p)); end > f.size() {
		if err := s.Resize(f, end); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off+int64(len(p)) > int64(len(f.data)) { // truncated by another program meanwhile
		return syscall.EIO
	}
	copy(f.data[off:], p)
	f.wrote(time.Now())
	return nil
}

// Read returns a copy of up to n bytes at off.
func (f *File) Read(off int64, n int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < 0 || off >= int64(len(f.data)) {
		return nil
	}
	return slices.Clone(f.data[off:min(off+int64(n), int64(len(f.data)))])
}

// Unsent reports whether there is new content to hand over.
func (f *File) Unsent() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unsent && len(f.data) > 0
}

// Send returns a copy of the content to hand over, nil if there is nothing new, and remembers
// where the file was.
func (f *File) Send(dir, name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.unsent || len(f.data) == 0 {
		return nil
	}
	f.unsent = false
	f.sentDir, f.sentName = dir, name
	return slices.Clone(f.data)
}

// SentFrom returns where the file was when it was handed over.
func (f *File) SentFrom() (dir, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sentDir, f.sentName
}

// Refused says that the content has to be handed over again.
func (f *File) Refused() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsent = true
}

// Open counts one more handle.
func (f *File) Open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
}

// Close counts one handle less, and reports whether that was the last one.
func (f *File) Close() (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	f.touched = time.Now()
	return f.open == 0
}

// IsOpen reports whether there are handles.
func (f *File) IsOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open > 0
}

// Touched returns when the file was last written, closed or changed.
func (f *File) Touched() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.touched
}

// Discard drops the content unless the file is open, and reports whether it did.
func (s *Store) Discard(f *File) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open > 0 {
		return false
	}
	s.bytes.Add(-int64(len(f.data)))
	f.data = nil
	return true
}

// Attr describes the file in a, which has what all nodes share.
func (f *File) Attr(a *node.Attr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.Time = f.mtime
	a.ValidFor = 0
	a.Mode = f.mode
	if f.uid != nil {
		a.UID = *f.uid
	}
	if f.gid != nil {
		a.GID = *f.gid
	}
	a.Links = 1
	a.Size = uint64(len(f.data))
	a.Blocks = (a.Size + 511) / 512
}

// Set changes the attributes in c but the size. Only the programs that set them use them.
func (f *File) Set(c node.Change, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched = now
	if c.Mode != nil {
		f.mode = *c.Mode
	}
	if c.UID != nil {
		uid := *c.UID
		f.uid = &uid
	}
	if c.GID != nil {
		gid := *c.GID
		f.gid = &gid
	}
	if c.Time != nil {
		f.mtime = *c.Time
	}
}
