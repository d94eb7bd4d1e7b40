package inplace

import (
	"container/list"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

const (
	maxOpen = 64               // files that are kept open while nobody reads them
	openFor = 10 * time.Second // and how long: who unmounts a disk should not wait for us
)

// Opener opens files and keeps those that were used last, over all contents. It is safe
// for concurrent use.
type Opener struct {
	mu     sync.Mutex
	files  map[fileKey]*openFile
	idle   list.List // of *openFile, the longest unused first
	timer  *time.Timer
	closed bool
}

// fileKey is a file of a content.
type fileKey struct {
	of    *Content
	index int
}

// openFile is a file that is open.
type openFile struct {
	*os.File
	key   fileKey
	users int           // guarded by Opener.mu; so what follows
	stale bool          // to be closed by its last user
	at    *list.Element // in idle; nil while it is used
	since time.Time     // it is idle
}

// NewOpener returns an Opener without files.
func NewOpener() *Opener { return &Opener{files: map[fileKey]*openFile{}} }

// stat returns the file's stamp.
func (f *openFile) stat() (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stamp{}, err
	}
	return StampOf(&st), nil
}

// take returns a file that is open until release.
func (o *Opener) take(key fileKey) (*openFile, error) {
	o.mu.Lock()
	if f := o.files[key]; f != nil {
		o.use(f)
		o.mu.Unlock()
		return f, nil
	}
	o.mu.Unlock()
	file, err := key.of.open(key.index)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.files[key]; f != nil { // somebody was faster
		_ = file.Close() // nothing was written; so below
		o.use(f)
		return f, nil
	}
	f := &openFile{File: file, key: key, users: 1}
	if o.closed {
		f.stale = true
		return f, nil
	}
	o.files[key] = f
	return f, nil
}

func (o *Opener) use(f *openFile) {
	f.users++
	if f.at != nil {
		o.idle.Remove(f.at)
		f.at = nil
	}
}

// release ends take. A file that is no longer the one at its path, or that could not be
// read, is opened anew by the next.
func (o *Opener) release(f *openFile, stale bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if stale {
		o.forget(f)
	}
	f.users--
	switch {
	case f.users > 0:
	case f.stale:
		_ = f.Close()
	default:
		f.since = time.Now()
		f.at = o.idle.PushBack(f)
		if o.idle.Len() > maxOpen {
			o.drop(o.idle.Front())
		}
		if o.timer == nil {
			o.timer = time.AfterFunc(openFor, o.sweep)
		}
	}
}

// forget has a file closed by its last user; mu is held.
func (o *Opener) forget(f *openFile) {
	if !f.stale {
		f.stale = true
		delete(o.files, f.key)
	}
}

// drop closes an idle file; mu is held.
func (o *Opener) drop(at *list.Element) {
	f := at.Value.(*openFile)
	o.idle.Remove(at)
	f.at = nil
	delete(o.files, f.key)
	_ = f.Close()
}

// sweep closes files that were not used for a while.
func (o *Opener) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = nil
	for at := o.idle.Front(); at != nil; at = o.idle.Front() {
		if wait := openFor - time.Since(at.Value.(*openFile).since); wait > 0 {
			o.timer = time.AfterFunc(wait, o.sweep)
			return
		}
		o.drop(at)
	}
}

// leave closes the files of a content, or of all if it is nil.
func (o *Opener) leave(c *Content) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, f := range o.files {
		if c != nil && key.of != c {
			continue
		}
		if f.at != nil {
			o.drop(f.at)
		} else {
			o.forget(f)
		}
	}
}

// Close closes all files; those that are being read are closed by their last reader.
func (o *Opener) Close() {
	o.mu.Lock()
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	o.leave(nil)
}

// open opens a file of the content. Symbolic links are followed as long as they stay in
// the content's folder: a torrent's names must lead nowhere else.
func (c *Content) open(index int) (*os.File, error) {
	info := c.opt.Info()
	if info == nil {
		return nil, weir.Errorf(weir.ErrNotFound, "the metadata is not known")
	}
	const flags = os.O_RDONLY | unix.O_NONBLOCK // a pipe must not make us wait
	var file *os.File
	var err error
	if info.Single {
		file, err = os.OpenFile(c.opt.Root, flags, 0)
	} else {
		file, err = openIn(c.opt.Root, info, index, flags)
	}
	if err != nil {
		return nil, err
	}
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = file.Close()
		if err == nil {
			err = weir.Errorf(weir.ErrInvalid, "it is no file any more")
		}
		return nil, err
	}
	return file, nil
}

func openIn(folder string, info *weir.TorrentInfo, index, flags int) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // nothing was written
	name, ok := localName(info.RawPath(index))
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: strings.Join(info.RawPath(index), "/"), Err: weir.Errorf(weir.ErrInvalid, "a file can't have this name here")}
	}
	return root.OpenFile(name, flags, 0)
}

// localName returns a path of a torrent as one of this machine, if it can be one.
func localName(path []string) (string, bool) {
	if slices.ContainsFunc(path, func(s string) bool { return s == "" || strings.ContainsRune(s, '/') }) {
		return "", false
	}
	name := filepath.Join(path...)
	return name, filepath.IsLocal(name)
}
