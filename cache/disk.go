package cache

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

// isFull reports whether err says that the disk, or the user's quota on it, has
// no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// preallocate makes bytes off … off+n of f real before anything is written
// there. badger writes through a memory map, where a full disk is a SIGBUS that
// ends the process; reserved space turns that into an error at a place of our
// choosing. The error wraps weir.ErrNoSpace when the disk is full. The size of
// the file does not change.
func preallocate(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case err == nil:
			return nil
		case err == unix.EINTR:
			continue
		case isFull(err):
			return fmt.Errorf("reserve %d bytes for %s: %w: %w", n, f.Name(), weir.ErrNoSpace, err)
		case err == unix.EOPNOTSUPP || err == unix.ENOSYS:
			// Some file systems can't reserve. Asking is the next best.
			avail, _, serr := freeBytes(filepath.Dir(f.Name()))
			if serr == nil && avail < 2*n+(16<<20) {
				return fmt.Errorf("reserve %d bytes for %s, %d free: %w", n, f.Name(), avail, weir.ErrNoSpace)
			}
			return serr
		default:
			return fmt.Errorf("reserve %d bytes for %s: %w", n, f.Name(), err)
		}
	}
}

// punch gives the disk blocks that lie wholly within off … end back.
func punch(path string, off, end int64) error {
	off = (off + pageBytes - 1) &^ (pageBytes - 1)
	end &^= pageBytes - 1
	if end <= off {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, off, end-off)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // the space comes back when the generation is dropped
	}
	return err
}

// allocatedBytes returns what du counts for everything beneath dir.
func allocatedBytes(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
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

// freeBytes returns what is available to this user on the file system of dir,
// and its size.
func freeBytes(dir string) (avail, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

const pageBytes = 4096

// noPopulate is set when the kernel (before 5.14) does not know MADV_POPULATE_READ.
var noPopulate atomic.Bool

// populate brings off … end of the mapping into memory in one system call. Page
// faults would do the same, but a goroutine in a fault holds its processor: with
// a slow disk a few of them stop the whole program. A disk that can't be read is
// an error here and a signal there.
func populate(m []byte, off, end int64) error {
	if noPopulate.Load() {
		return nil
	}
	switch err := unix.Madvise(m[off&^(pageBytes-1):end], unix.MADV_POPULATE_READ); err {
	case nil, unix.EINTR, unix.EAGAIN:
		return nil
	case unix.EINVAL:
		noPopulate.Store(true)
		return nil
	default:
		return err
	}
}

// announce tells the kernel that off … end of the mapping will be read soon. It
// does not wait for the disk, and nothing depends on it.
func announce(m []byte, off, end int64) {
	if off &^= pageBytes - 1; off < end {
		_ = unix.Madvise(m[off:end], unix.MADV_WILLNEED)
	}
}

// guard runs f, which reads or writes mapped memory, and turns the fault that a
// broken disk or a shortened file makes there into an error instead of the end
// of the process. Other panics pass through.
func guard(f func() error) (err error) {
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
