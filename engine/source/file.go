package source

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/weirfs/weir"
)

// ReadFile reads a file that may be a .torrent: a regular one of at most
// MaxMetainfoBytes. It is opened once, so that the file that was checked is the one that
// is read. flags are further flags of open(2): with syscall.O_NOFOLLOW a symbolic link is
// refused. Errors never show the file's content, and wrap weir.ErrInvalid when trying
// again can't help.
func ReadFile(path string, flags int) ([]byte, error) {
	// Opening a pipe must not wait for a writer, and a terminal must not become ours.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|flags, 0)
	switch {
	case errors.Is(err, syscall.ELOOP) && flags&syscall.O_NOFOLLOW != 0:
		return nil, weir.Errorf(weir.ErrInvalid, "%s: is a symbolic link: put the file itself there", path)
	case errors.Is(err, syscall.ENXIO): // a socket, or a device that is not there
		return nil, weir.Errorf(weir.ErrInvalid, "%s: is not a regular file", path)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case fi.IsDir():
		return nil, weir.Errorf(weir.ErrInvalid, "%s: is a directory: name the .torrent file itself", path)
	case !fi.Mode().IsRegular():
		return nil, weir.Errorf(weir.ErrInvalid, "%s: is not a regular file", path)
	case fi.Size() > MaxMetainfoBytes:
		return nil, tooLong(path, fi.Size())
	}
	// Growing the buffer in steps would take twice the memory.
	b := bytes.NewBuffer(make([]byte, 0, fi.Size()+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(f, MaxMetainfoBytes+1)); err != nil {
		return nil, err
	}
	if b.Len() > MaxMetainfoBytes { // it has grown, or its size was none, as in /proc
		return nil, tooLong(path, int64(b.Len()))
	}
	return b.Bytes(), nil
}

func tooLong(path string, size int64) error {
	return weir.Errorf(weir.ErrInvalid, "%s: has %d bytes, more than any .torrent (limit %d): is it the content itself?", path, size, MaxMetainfoBytes)
}
