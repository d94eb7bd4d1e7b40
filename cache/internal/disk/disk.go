// Package disk is what the cache needs from the file system: reserving, freeing and
// counting space, replacing files whole, memory maps whose faults are errors, and
// whether a file is still where it was.
//
// What must not live here: anything that knows what the files mean.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

// PageBytes is the unit in which files are mapped and holes are made.
const PageBytes = 4096

// IsFull reports whether err says that the disk, or the user's quota on it, has
// no room.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Reserve takes the space of bytes off … off+n of f without changing its size: a
// later write there does not find the disk full. The error wraps weir.ErrNoSpace
// when it is full now.
func Reserve(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case err == nil:
			return nil
		case err == unix.EINTR:
			continue
		case IsFull(err):
			return fmt.Errorf("reserve %d bytes for %s: %w: %w", n, f.Name(), weir.ErrNoSpace, err)
		case err == unix.EOPNOTSUPP || err == unix.ENOSYS:
			// Some file systems can't reserve. Asking is the next best.
			avail, _, serr := Free(filepath.Dir(f.Name()))
			if serr == nil && avail < 2*n+(16<<20) {
				return weir.Errorf(weir.ErrNoSpace, "reserve %d bytes for %s: the disk has %d free", n, f.Name(), avail)
			}
			return serr
		default:
			return fmt.Errorf("reserve %d bytes for %s: %w", n, f.Name(), err)
		}
	}
}

// Punch gives the disk blocks that lie wholly within off … end of f back.
func Punch(f *os.File, off, end int64) error {
	off = (off + PageBytes - 1) &^ (PageBytes - 1)
	end &^= PageBytes - 1
	if end <= off {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, off, end-off)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // the space comes back when the file is removed
	}
	return err
}

// Allocated returns what du counts for path and everything beneath it.
func Allocated(path string) int64 {
	var sum int64
	_ = filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return nil // went away while walking
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// Free returns what is available to this user on the file system of dir, and its
// size.
func Free(dir string) (avail, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// WriteWhole replaces the file at path in one step that survives a crash: the
// old content or the new, never a mixture. The error wraps weir.ErrNoSpace when the
// disk is full.
func WriteWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		if IsFull(err) {
			err = fmt.Errorf("%w: %w", weir.ErrNoSpace, err)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// noPopulate is set when the kernel (before 5.14) does not know MADV_POPULATE_READ.
var noPopulate atomic.Bool

// Populate brings off … end of a mapping into memory in one system call. Page
// faults would do the same, but a goroutine in a fault holds its processor: with
// a slow disk a few of them stop the whole program. A disk that can't be read is
// an error here and a signal there.
func Populate(m []byte, off, end int64) error {
	if noPopulate.Load() {
		return nil
	}
	switch err := unix.Madvise(m[off&^(PageBytes-1):end], unix.MADV_POPULATE_READ); err {
	case nil, unix.EINTR, unix.EAGAIN:
		return nil
	case unix.EINVAL:
		noPopulate.Store(true)
		return nil
	default:
		return err
	}
}

// Announce tells the kernel that off … end of a mapping will be read soon. It
// does not wait for the disk, and nothing depends on it.
func Announce(m []byte, off, end int64) {
	if off &^= PageBytes - 1; off < end {
		_ = unix.Madvise(m[off:end], unix.MADV_WILLNEED)
	}
}

// Guard runs f, which reads mapped memory, and turns the fault that a broken disk
// or a shortened file makes there into an error instead of the end of the
// process. It holds for this goroutine only. Other panics pass through.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("fault in mapped memory at %#x: %w", fault.Addr(), weir.ErrCorrupt)
		}
	}()
	return f()
}

// Home is a folder or a file that was at its path once.
type Home struct {
	path string
	info fs.FileInfo // nil: it is not known what was there
}

// At returns what is at path now.
func At(path string) Home {
	info, err := os.Stat(path)
	if err != nil {
		info = nil
	}
	return Home{path, info}
}

// Gone reports whether it is there no more, or something else is.
func (h Home) Gone() bool {
	if h.info == nil {
		return false
	}
	info, err := os.Stat(h.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, h.info)
}
