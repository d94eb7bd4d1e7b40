package kernel

import (
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir/fs/internal/node"
)

// The types of package node as bazil's.

// openNoFlush says that closing a file needs no FLUSH (FOPEN_NOFLUSH, since Linux
// 5.16).
const openNoFlush fuse.OpenResponseFlags = 1 << 5

func attr(a *node.Attr) fuse.Attr {
	return fuse.Attr{
		Valid: a.ValidFor, Inode: uint64(a.ID), Size: a.Size, Blocks: a.Blocks, Atime: a.Time, Mtime: a.Time, Ctime: a.Time,
		Mode: a.Mode, Nlink: a.Links, Uid: a.UID, Gid: a.GID, BlockSize: a.BlockSize,
	}
}

func lookupResponse(e *node.Entry) *fuse.LookupResponse {
	return &fuse.LookupResponse{Node: fuse.NodeID(e.ID), EntryValid: e.ValidFor, Attr: attr(&e.Attr)}
}

func openResponse(o node.Opened) *fuse.OpenResponse {
	r := &fuse.OpenResponse{Handle: fuse.HandleID(o.Handle)}
	for _, f := range []struct {
		set  bool
		flag fuse.OpenResponseFlags
	}{{o.KeepCache, fuse.OpenKeepCache}, {o.KeepListing, fuse.OpenCacheDir}, {o.Direct, fuse.OpenDirectIO}, {o.NoFlush, openNoFlush}} {
		if f.set {
			r.Flags |= f.flag
		}
	}
	return r
}

func statfsResponse(u node.Usage) *fuse.StatfsResponse {
	return &fuse.StatfsResponse{
		Blocks: u.Blocks, Bfree: u.FreeBlocks, Bavail: u.FreeBlocks, Files: u.Files, Ffree: u.FreeFiles,
		Bsize: u.BlockSize, Frsize: u.BlockSize, Namelen: u.NameBytes,
	}
}

func caller(h *fuse.Header) node.Caller { return node.Caller{TID: h.Pid, UID: h.Uid} }

// change returns the attributes that a request sets.
func change(r *fuse.SetattrRequest) node.Change {
	var c node.Change
	if r.Valid.Size() {
		c.Size = &r.Size
	}
	if r.Valid.Mode() {
		mode := r.Mode.Perm()
		c.Mode = &mode
	}
	if r.Valid.Uid() {
		c.UID = &r.Uid
	}
	if r.Valid.Gid() {
		c.GID = &r.Gid
	}
	switch {
	case r.Valid.MtimeNow():
		now := time.Now()
		c.Time = &now
	case r.Valid.Mtime():
		c.Time = &r.Mtime
	}
	return c
}
