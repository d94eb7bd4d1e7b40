package fs

import (
	"math"
	"os"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

const (
	fileMode = os.FileMode(0o444)
	dirMode  = os.ModeDir | 0o555

	// validFor is how long the kernel may keep names and attributes. Nothing
	// changes but block counts and the root, and of these the kernel is told.
	validFor = 24 * time.Hour

	blockSize = 128 << 10 // st_blksize: what one read request carries at most
)

// latestTime is the last creation date that is believed.
var latestTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// timeOf returns the time of everything in a torrent. Without metadata, or when
// the creation date is missing or absurd, it is when weir was started.
func (f *FS) timeOf(info *weir.TorrentInfo) time.Time {
	if info == nil || info.Created.Unix() <= 0 || info.Created.After(latestTime) {
		return f.created
	}
	return info.Created
}

// fill completes an attribute with what all nodes share.
func (f *FS) fill(a *fuse.Attr, id fuse.NodeID, at time.Time) {
	a.Valid = validFor
	a.Inode = uint64(id)
	a.Atime, a.Mtime, a.Ctime = at, at, at
	a.Uid, a.Gid = f.opt.UID, f.opt.GID
	a.BlockSize = blockSize
}

func (f *FS) rootAttr(a *fuse.Attr) {
	torrents, changed := f.root.state()
	f.fill(a, fuse.RootID, changed)
	a.Mode = dirMode
	a.Nlink = dirLinks(torrents)
}

// folderAttr describes a torrent's folder. It needs no metadata and never waits.
func (f *FS) folderAttr(a *fuse.Attr, t *torrent) {
	t.seen.Store(true) // before anything is looked at, or a change could be missed
	f.fill(a, makeNode(t.prefix, 0), f.timeOf(t.src.Info()))
	a.Mode = dirMode
	a.Nlink = dirLinks(0)
	if g := t.grown.Load(); g != nil {
		a.Nlink = dirLinks(int(g.span(0).subdirs))
	}
}

// entryAttr describes entry e of a torrent.
func (f *FS) entryAttr(a *fuse.Attr, t *torrent, g *tree, e uint32) {
	g.markSeen(e)
	f.fill(a, makeNode(t.prefix, e), f.timeOf(g.info))
	if g.isDir(e) {
		a.Mode = dirMode
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
