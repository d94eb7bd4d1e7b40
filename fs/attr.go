package fs

import (
	"math"
	"os"
	"time"

	"github.com/weirfs/weir/fs/internal/node"
)

const (
	fileMode       = os.FileMode(0o444)
	executableMode = os.FileMode(0o555)
	dirMode        = os.ModeDir | 0o555
	writableDir    = os.ModeDir | 0o755

	// validFor is how long the kernel may keep names and attributes. Only block counts and
	// sorting folders change, and the kernel is notified of that.
	validFor = 24 * time.Hour

	blockSize = 128 << 10 // st_blksize: what one read request carries at most
)

// clockSlack is how far a creation date may lie after the time at which the torrent was
// added: clocks and time zones differ.
const clockSlack = 48 * time.Hour

// time returns the time of everything in a torrent: its creation date, or when it was
// added. Backup programs read a file again when its time changes, so the time is fixed
// once the metadata is known.
func (t *torrent) time() time.Time {
	if at := t.fixedTime.Load(); at != nil {
		return *at
	}
	o, known := t.src.Outline()
	at := credible(o.Created, t.src.Added())
	if known {
		fixed := at
		t.fixedTime.CompareAndSwap(nil, &fixed)
		return *t.fixedTime.Load()
	}
	return at
}

// credible returns the creation date of a torrent, or when it was added if that is missing
// or absurd. It compares seconds, since a time.Time can overflow.
func credible(created, added time.Time) time.Time {
	if s := created.Unix(); s <= 0 || s > added.Add(clockSlack).Unix() {
		return added
	}
	return created
}

// attrs describes nodes.
type attrs struct {
	root     *root
	uid, gid uint32
	writable bool
}

// dirMode is the mode of folders. If the mount can be changed, their owner may write: the
// kernel checks that before it asks weir to create or remove a name.
func (as *attrs) dirMode() os.FileMode {
	if as.writable {
		return writableDir
	}
	return dirMode
}

// shared returns the attributes that all nodes have.
func (as *attrs) shared(id node.ID, at time.Time) node.Attr {
	return node.Attr{ID: id, Time: at, ValidFor: validFor, UID: as.uid, GID: as.gid, BlockSize: blockSize}
}

// sorting describes a sorting folder, or the root.
func (as *attrs) sorting(d *folder) node.Attr {
	subdirs, changed := as.root.describe(d)
	a := as.shared(d.id, changed)
	a.Mode = as.dirMode()
	a.Links = dirLinks(subdirs)
	return a
}

// torrent describes a torrent's folder. It needs no metadata and never waits.
func (as *attrs) torrent(t *torrent) node.Attr {
	t.seen.Store(true) // before anything is read, or a change could be missed
	a := as.shared(node.Make(t.prefix, 0), t.time())
	a.Mode = as.dirMode()
	a.Links = linksUnknown
	if t.entries.Load() > 0 {
		a.Links = dirLinks(int(t.subdirs.Load()))
	}
	return a
}

// entry describes an entry of a torrent.
func (as *attrs) entry(at entry) node.Attr {
	at.tree.markSeen(at.n)
	a := as.shared(node.Make(at.t.prefix, at.n), at.t.time())
	if at.tree.IsDir(at.n) {
		a.Mode = as.dirMode()
		a.Links = dirLinks(int(at.tree.Children(at.n).Subdirs))
		return a
	}
	file := at.tree.File(at.n)
	a.Links = 1
	if file.Link != "" {
		a.Mode = os.ModeSymlink | 0o777
		a.Size = uint64(len(at.tree.LinkTarget(at.n)))
		return a
	}
	a.Mode = fileMode
	if file.Executable {
		a.Mode = executableMode
	}
	a.Size = uint64(file.Length)
	a.Blocks = blocks(file.Length, at.t.src.HeldBytes(file.Range()))
	return a
}

// byHash describes the folder by-hash.
func (as *attrs) byHash() node.Attr {
	a := as.shared(node.ByHash, as.root.lastChange())
	a.Mode = dirMode
	a.Links = dirLinks(0)
	return a
}

// link describes the link in by-hash to a torrent.
func (as *attrs) link(t *torrent) node.Attr {
	a := as.shared(node.Make(t.prefix, node.LinkEntry), t.time())
	a.ValidFor = 0
	a.Mode = os.ModeSymlink | 0o777
	a.Links = 1
	a.Size = uint64(len(as.root.linkTarget(t)))
	return a
}

// incoming describes a file that is being copied in.
func (as *attrs) incoming(f *incomingFile) node.Attr {
	a := as.shared(f.id, time.Time{})
	f.Attr(&a)
	return a
}

// blocks returns the 512-byte blocks of a file of which held bytes are local. A file that
// isn't empty has at least one: programs take a file without blocks for a hole, and copy
// zeros without reading it.
func blocks(length, held int64) uint64 {
	if length == 0 {
		return 0
	}
	return uint64(max(1, (held+511)/512))
}

// linksUnknown is the link count of a folder whose sub-folders are not counted. 2 would tell
// programs that walk trees that there are none.
const linksUnknown = 1

// dirLinks is the link count of a folder: its name, its "." and the ".." of
// each folder in it.
func dirLinks(subdirs int) uint32 { return uint32(min(2+int64(subdirs), math.MaxUint32)) }
