package fs

import (
	"math"
	"os"
	"time"

	"bazil.org/fuse"
)

const (
	fileMode       = os.FileMode(0o444)
	executableMode = os.FileMode(0o555)
	dirMode        = os.ModeDir | 0o555
	writableDir    = os.ModeDir | 0o755

	// validFor is how long the kernel may keep names and attributes. Nothing
	// changes but block counts and the root, and of these the kernel is told.
	validFor = 24 * time.Hour

	blockSize = 128 << 10 // st_blksize: what one read request carries at most
)

// clockSlack is how much later than the adding of a torrent its creation date may
// be: clocks and time zones differ.
const clockSlack = 48 * time.Hour

// timeOf returns the time of everything in a torrent: its creation date, or when it
// was added. Programs that keep copies read everything again when a time changes, so
// it is settled once the metadata is known.
func (f *FS) timeOf(t *torrent) time.Time {
	if at := t.dated.Load(); at != nil {
		return *at
	}
	o, known := t.src.Outline()
	at := credible(o.Created, t.src.Added())
	if known {
		t.dated.CompareAndSwap(nil, &at)
		at = *t.dated.Load()
	}
	return at
}

// credible returns when a torrent was created, or if what its metainfo says is
// missing or absurd, when it was added. In seconds, since a time.Time can overflow.
func credible(created, added time.Time) time.Time {
	if s := created.Unix(); s <= 0 || s > added.Add(clockSlack).Unix() {
		return added
	}
	return created
}

// dirMode is the mode of folders. Where a host takes changes, their owner may
// write: the kernel asks for that before it asks weir to make or remove a name.
func (f *FS) dirMode() os.FileMode {
	if f.opt.Host == nil {
		return dirMode
	}
	return writableDir
}

// fill completes an attribute with what all nodes share.
func (f *FS) fill(a *fuse.Attr, id fuse.NodeID, at time.Time) {
	a.Valid = validFor
	a.Inode = uint64(id)
	a.Atime, a.Mtime, a.Ctime = at, at, at
	a.Uid, a.Gid = f.opt.UID, f.opt.GID
	a.BlockSize = blockSize
}

// sortingAttr describes a sorting folder, or the root.
func (f *FS) sortingAttr(a *fuse.Attr, d *folder) {
	subdirs, changed := f.root.describe(d)
	f.fill(a, d.id, changed)
	a.Mode = f.dirMode()
	a.Nlink = dirLinks(subdirs)
}

// torrentAttr describes a torrent's folder. It needs no metadata and never waits.
func (f *FS) torrentAttr(a *fuse.Attr, t *torrent) {
	t.seen.Store(true) // before anything is looked at, or a change could be missed
	f.fill(a, makeNode(t.prefix, 0), f.timeOf(t))
	a.Mode = f.dirMode()
	a.Nlink = linksUnknown
	if t.entries.Load() > 0 {
		a.Nlink = dirLinks(int(t.subdirs.Load()))
	}
}

// entryAttr describes entry e of a torrent.
func (f *FS) entryAttr(a *fuse.Attr, t *torrent, g *torrentTree, e uint32) {
	g.markSeen(e)
	f.fill(a, makeNode(t.prefix, e), f.timeOf(t))
	if g.IsDir(e) {
		a.Mode = f.dirMode()
		a.Nlink = dirLinks(int(g.Children(e).Subdirs))
		return
	}
	file := g.File(e)
	a.Nlink = 1
	if file.Link != "" {
		a.Mode = os.ModeSymlink | 0o777
		a.Size = uint64(len(g.LinkTarget(e)))
		return
	}
	a.Mode = fileMode
	if file.Executable {
		a.Mode = executableMode
	}
	a.Size = uint64(file.Length)
	a.Blocks = blocks(file.Length, t.src.HeldBytes(file.Range()))
}

// blocks returns the 512-byte blocks of a file of which so much is held. A file that
// isn't empty has at least one: programs take none for a file that is one hole, and
// copy zeros without reading.
func blocks(length, held int64) uint64 {
	if length == 0 {
		return 0
	}
	return uint64(max(1, (held+511)/512))
}

// linksUnknown is the link count of a folder whose sub-folders nobody has counted: 2
// would say that there are none, and programs that walk trees believe that.
const linksUnknown = 1

// dirLinks is the link count of a folder: its name, its "." and the ".." of
// each folder in it.
func dirLinks(subdirs int) uint32 { return uint32(min(2+int64(subdirs), math.MaxUint32)) }
