package fs

import (
	"math"
	"os"
	"time"

	"bazil.org/fuse"
)

const (
	fileMode    = os.FileMode(0o444)
	dirMode     = os.ModeDir | 0o555
	writableDir = os.ModeDir | 0o755

	// validFor is how long the kernel may keep names and attributes. Nothing
	// changes but block counts and the root, and of these the kernel is told.
	validFor = 24 * time.Hour

	blockSize = 128 << 10 // st_blksize: what one read request carries at most
)

// latestTime is the last creation date that is believed.
var latestTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// timeOf returns the time of everything in a torrent. Without metadata, or when
// the creation date is missing or absurd, it is when weir was started.
func (f *FS) timeOf(t *torrent) time.Time {
	o, known := t.src.Outline()
	if !known {
		return f.created
	}
	return f.believe(o.Created)
}

func (f *FS) believe(created time.Time) time.Time {
	if created.Unix() <= 0 || created.After(latestTime) {
		return f.created
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
	a.Nlink = dirLinks(int(t.subdirs.Load()))
}

// entryAttr describes entry e of a torrent.
func (f *FS) entryAttr(a *fuse.Attr, t *torrent, g *tree, e uint32) {
	g.markSeen(e)
	f.fill(a, makeNode(t.prefix, e), f.believe(g.info.Created))
	if g.isDir(e) {
		a.Mode = f.dirMode()
		a.Nlink = dirLinks(int(g.span(e).subdirs))
		return
	}
	file := g.file(e)
	a.Mode = fileMode
	a.Nlink = 1
	a.Size = uint64(file.Length)
	a.Blocks = uint64(t.src.HeldBytes(file.Range())+511) / 512
}

// dirLinks is the link count of a folder: its name, its "." and the ".." of
// each folder in it.
func dirLinks(subdirs int) uint32 { return uint32(min(2+int64(subdirs), math.MaxUint32)) }
