package fs

import (
	"context"
	"os"
	"syscall"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// The folder by-hash holds a symbolic link for each torrent, to where its folder
// is, and looking up another info hash there has the torrent added. Links, since a
// folder can only be in one place. What is in by-hash is never kept by the kernel:
// it changes with every torrent that comes, moves or goes.

func (f *FS) byHashAttr(a *fuse.Attr) {
	f.fill(a, byHashNode, f.root.lastChange())
	a.Mode = dirMode
	a.Nlink = dirLinks(0)
}

func (f *FS) linkAttr(a *fuse.Attr, t *torrent) {
	f.fill(a, makeNode(t.prefix, linkEntry), f.timeOf(t))
	a.Valid = 0
	a.Mode = os.ModeSymlink | 0o777
	a.Nlink = 1
	a.Size = uint64(len(f.linkTarget(t)))
}

func (f *FS) linkTarget(t *torrent) string { return "../" + f.root.where(t) }

// lookupHash finds the link of a torrent. One that is not there is added, if it
// can be; that may take as long as the host likes.
func (f *FS) lookupHash(ctx context.Context, name string, resp *fuse.LookupResponse) error {
	resp.EntryValid = 0
	ih, err := weir.ParseInfoHash(name)
	if err != nil {
		return syscall.ENOENT
	}
	t := f.root.byInfoHash(ih)
	if t == nil && f.opt.Host != nil {
		if ctx == noWait {
			return errMustWait{}
		}
		if err := f.opt.Host.ByHash(ctx, ih); err != nil {
			f.log.Info("torrent looked up by its info hash is not added", "torrent", ih, "err", err)
			return hostError(err)
		}
		t = f.root.byInfoHash(ih)
	}
	if t == nil {
		return syscall.ENOENT
	}
	resp.Node = makeNode(t.prefix, linkEntry)
	f.linkAttr(&resp.Attr, t)
	return nil
}

// readLink returns what a link leads to, one of by-hash or one in a torrent.
func (f *FS) readLink(ctx context.Context, id fuse.NodeID) (string, error) {
	t, e, err := f.at(id)
	if err != nil {
		return "", err
	}
	if e == linkEntry {
		return f.linkTarget(t), nil
	}
	_, g, e, err := f.entry(ctx, id)
	switch {
	case err != nil:
		return "", err
	case g.IsDir(e), g.File(e).Link == "":
		return "", syscall.EINVAL
	}
	return g.LinkTarget(e), nil
}

// listLinks appends the links from the torrent with this number on.
func (r *root) listLinks(l *listing, number uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, t := range r.torrents[r.numbered(number):] {
		if !l.add(makeNode(t.prefix, linkEntry), t.number+dotEntries+1, fuse.DT_Link, t.ih.String()) {
			return
		}
	}
}
