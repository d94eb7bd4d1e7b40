package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/incoming"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
)

const (
	// incomingIdle is how long an unfinished file that nobody has open may stay.
	incomingIdle = time.Minute
	// handedOverFor is how long a file that was handed over still has its name. Many programs
	// close a copy and then set its mode, owner and times by name, or stat it again.
	handedOverFor = 10 * time.Second
)

// incomingFile is a file that is being copied into the mount. It disappears soon after its
// torrents were added.
type incomingFile struct {
	*incoming.File
	id node.ID

	// Guarded by root.mu.
	slot       *slot // nil when it has no name any more
	handedOver bool  // the slot is among its folder's handedOver
}

// incomingFiles are all incoming files: their bytes, and their names in sorting folders.
type incomingFiles struct {
	incoming.Store
	root         *root
	notifier     *kernel.Notifier
	housekeeping *housekeeping
	host         Host
	log          *slog.Logger

	// Guarded by root.mu.
	files  map[node.ID]*incomingFile
	nextID node.ID
}

// create makes a file in a folder.
func (fs *incomingFiles) create(in *folder, name string) (*incomingFile, error) {
	f, err := fs.make(in, name, time.Now())
	if err == syscall.ENOSPC {
		fs.dropHandedOver()
		f, err = fs.make(in, name, time.Now())
	}
	return f, err
}

// handOver gives a file's content to the host. The file is delisted first, so that the
// torrent can take its name.
func (fs *incomingFiles) handOver(ctx context.Context, f *incomingFile, dir, name string) error {
	content := f.Send(dir, name)
	if content == nil {
		return nil
	}
	fs.delist(f)
	if err := fs.host.AddFile(ctx, dir, name, content); err != nil && !errors.Is(err, weir.ErrExists) {
		fs.log.Warn("a file that was copied into the mount is refused", "folder", dir, "file", name, "err", err)
		f.Refused()
		fs.relist(f)
		return kernel.HostError(err)
	}
	return nil
}

// closed is called when a handle of f is closed. After the last one, a file is dropped if it
// was refused or has no name any more.
func (fs *incomingFiles) closed(f *incomingFile) {
	if !f.Close() {
		return
	}
	_, name, ok := fs.pathOf(f)
	complete, _ := weir.SourceFile(name)
	switch {
	case !ok, complete && f.Unsent():
		fs.drop(f)
		return
	case complete:
		fs.delist(f)
	}
	fs.housekeeping.wake() // it will be renamed, or dropped after a while
}

// drop removes a file's name, and its content if it is not open.
func (fs *incomingFiles) drop(f *incomingFile) {
	if in, ok := fs.unname(f); ok {
		fs.notifier.FoldersChanged(in)
	}
	if fs.Discard(f.File) {
		fs.forget(f)
	}
}

// dropDue drops files that were not finished in time, and those handed over a while ago.
func (fs *incomingFiles) dropDue(now time.Time) (next time.Duration) {
	for _, f := range fs.all() {
		named, handedOver := fs.stateOf(f)
		stay := incomingIdle
		if handedOver {
			stay = handedOverFor
		}
		if f.IsOpen() {
			continue
		}
		if left := f.Touched().Add(stay).Sub(now); named && left > 0 {
			next = sooner(next, left)
			continue
		}
		if named && !handedOver {
			dir, name, _ := fs.pathOf(f)
			fs.log.Warn("a file that was copied into the mount is dropped: it was never renamed to a finished file", "folder", dir, "file", name,
				"want", fmt.Sprintf("a name with %s at its end", strings.Join(weir.SourceExts(), ", ")))
		}
		fs.drop(f)
	}
	return next
}

// dropHandedOver drops files that were handed over and are not open, to make room for
// others.
func (fs *incomingFiles) dropHandedOver() {
	for _, f := range fs.all() {
		if _, handedOver := fs.stateOf(f); handedOver && !f.IsOpen() {
			fs.drop(f)
		}
	}
}

// replace drops the file of a slot if it was handed over, and reports whether it did.
func (fs *incomingFiles) replace(s *slot) bool {
	if s.file == nil {
		return false
	}
	if _, handedOver := fs.stateOf(s.file); !handedOver {
		return false
	}
	fs.drop(s.file)
	return true
}

// delist removes a file from its folder's listing. Its name still leads to it for
// handedOverFor after it was last used, unless a torrent takes the name.
func (fs *incomingFiles) delist(f *incomingFile) {
	if in, ok := fs.takeOffList(f); ok {
		fs.notifier.FoldersChanged(in)
	}
}

// relist undoes delist for a file that was refused. If its name is taken by now, the file
// has none any more.
func (fs *incomingFiles) relist(f *incomingFile) {
	if in, ok := fs.putOnList(f); ok {
		fs.notifier.FoldersChanged(in)
	}
}

// The names of incoming files, which root.mu guards.

// make adds a new file.
func (fs *incomingFiles) make(in *folder, name string, now time.Time) (*incomingFile, error) {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	switch {
	case in.byName[name] != nil, in.handedOver[name] != nil:
		return nil, syscall.EEXIST
	case len(fs.files) >= incoming.MaxFiles:
		return nil, syscall.ENOSPC
	}
	for fs.files[fs.nextID] != nil {
		fs.advanceID()
	}
	f := &incomingFile{File: incoming.NewFile(now), id: fs.nextID}
	fs.advanceID() // the kernel may still know earlier ids
	f.slot = &slot{in: in, name: name, file: f}
	fs.root.put(f.slot)
	fs.files[f.id] = f
	return f, nil
}

func (fs *incomingFiles) advanceID() {
	if fs.nextID++; fs.nextID > node.LastIncoming {
		fs.nextID = node.FirstIncoming
	}
}

// unname removes a file's name, and returns the folder it was in; ok is false if it had
// none.
func (fs *incomingFiles) unname(f *incomingFile) (in node.ID, ok bool) {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	if f.slot == nil {
		return 0, false
	}
	in = f.slot.in.id
	fs.dropSlot(f)
	f.slot = nil
	return in, true
}

// rename gives a file another name, which is free or that of a file that was handed over.
func (fs *incomingFiles) rename(f *incomingFile, in *folder, name string) error {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	switch {
	case f.slot == nil:
		return syscall.ENOENT
	case in.byName[name] != nil && !f.handedOver:
		return syscall.EEXIST
	}
	fs.dropSlot(f)
	f.slot = &slot{in: in, name: name, file: f}
	if f.handedOver {
		f.slot.putHandedOver()
	} else {
		fs.root.put(f.slot)
	}
	return nil
}

// forget forgets a file that has no name and is not open.
func (fs *incomingFiles) forget(f *incomingFile) {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	if f.slot == nil {
		delete(fs.files, f.id)
	}
}

func (fs *incomingFiles) byID(id node.ID) (*incomingFile, error) {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	if f := fs.files[id]; f != nil {
		return f, nil
	}
	return nil, syscall.ESTALE
}

// pathOf returns the folder that a file is in, and its name; ok is false if it has
// none any more.
func (fs *incomingFiles) pathOf(f *incomingFile) (dir, name string, ok bool) {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	if f.slot == nil {
		return "", "", false
	}
	return fs.root.path(f.slot.in), f.slot.name, true
}

// folderOf returns the folder that a file is in.
func (fs *incomingFiles) folderOf(f *incomingFile) (node.ID, error) {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	if f.slot == nil {
		return 0, syscall.ESTALE
	}
	return f.slot.in.id, nil
}

func (fs *incomingFiles) all() []*incomingFile {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	all := make([]*incomingFile, 0, len(fs.files))
	for _, f := range fs.files {
		all = append(all, f)
	}
	return all
}

// takeOffList moves a file from its folder's listing to those that were handed over.
func (fs *incomingFiles) takeOffList(f *incomingFile) (in node.ID, ok bool) {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	if f.slot == nil || f.handedOver {
		return 0, false
	}
	dir, name := f.slot.in, f.slot.name
	fs.root.drop(f.slot)
	f.handedOver = true
	f.slot = &slot{in: dir, name: name, file: f}
	f.slot.putHandedOver()
	return dir.id, true
}

// putOnList is the reverse of takeOffList.
func (fs *incomingFiles) putOnList(f *incomingFile) (in node.ID, ok bool) {
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	if f.slot == nil || !f.handedOver {
		return 0, false
	}
	dir, name := f.slot.in, f.slot.name
	fs.dropSlot(f)
	f.handedOver, f.slot = false, nil
	if dir.byName[name] == nil {
		f.slot = &slot{in: dir, name: name, file: f}
		fs.root.put(f.slot)
	}
	return dir.id, true
}

// putHandedOver adds a slot to its folder's handedOver. The caller has root.mu.
func (s *slot) putHandedOver() {
	if s.in.handedOver == nil {
		s.in.handedOver = make(map[string]*slot)
	}
	if old := s.in.handedOver[s.name]; old != nil {
		old.file.slot = nil
	}
	s.in.handedOver[s.name] = s
}

// dropSlot removes a file's slot from its folder. The caller has root.mu.
func (fs *incomingFiles) dropSlot(f *incomingFile) {
	if f.handedOver {
		delete(f.slot.in.handedOver, f.slot.name)
	} else {
		fs.root.drop(f.slot)
	}
}

// stateOf returns whether a file has a name, and whether it was handed over.
func (fs *incomingFiles) stateOf(f *incomingFile) (named, handedOver bool) {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	return f.slot != nil, f.handedOver
}

// covers reports whether a torrent's folder has the name of a file that was
// handed over just now.
func (fs *incomingFiles) covers(t *torrent) bool {
	fs.root.mu.RLock()
	defer fs.root.mu.RUnlock()
	return t.slot.in.handedOver[t.slot.name] != nil
}
