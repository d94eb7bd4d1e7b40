package fs

import (
	"context"
	"reflect"
	"unsafe"

	"bazil.org/fuse"
)

// Programs may keep a handle of a file instead of its path (name_to_handle_at(2)), as
// an NFS server does, and open it when the kernel has long forgotten the inode, or
// after weir was started again. For this the kernel looks up "." and ".." of inodes,
// which it only does where that was agreed upon (FUSE_EXPORT_SUPPORT).

// exportSupport is the option to agree upon it, of which bazil knows but has none. An
// option sets the field initFlags of a type that bazil doesn't export; nil if a later
// bazil has another one (docs/decisions/0060).
func exportSupport() fuse.MountOption {
	option := reflect.TypeFor[fuse.MountOption]()
	flags, ok := option.In(0).Elem().FieldByName("initFlags")
	if !ok || flags.Type != reflect.TypeFor[fuse.InitFlags]() {
		return nil
	}
	set := reflect.MakeFunc(option, func(args []reflect.Value) []reflect.Value {
		*(*fuse.InitFlags)(unsafe.Add(args[0].UnsafePointer(), flags.Offset)) |= fuse.InitExportSupport
		return []reflect.Value{reflect.Zero(option.Out(0))}
	})
	return set.Interface().(fuse.MountOption)
}

// lookupDot finds an inode by its number.
func (f *FS) lookupDot(ctx context.Context, id fuse.NodeID, resp *fuse.LookupResponse) error {
	if err := f.getattr(ctx, id, &resp.Attr); err != nil {
		return err
	}
	resp.Node, resp.EntryValid = id, resp.Attr.Valid
	return nil
}

// lookupDotDot finds the folder that an inode is in; the root is in itself.
func (f *FS) lookupDotDot(ctx context.Context, id fuse.NodeID, resp *fuse.LookupResponse) error {
	parent, err := f.parentOf(ctx, id)
	if err != nil {
		return err
	}
	return f.lookupDot(ctx, parent, resp)
}

func (f *FS) parentOf(ctx context.Context, id fuse.NodeID) (fuse.NodeID, error) {
	switch {
	case id == byHashNode:
		return fuse.RootID, nil
	case isDraft(id):
		d, err := f.root.draft(id)
		if err != nil {
			return 0, err
		}
		return f.root.folderOfDraft(d)
	}
	if d := f.root.folder(id); d != nil {
		return f.root.parent(d), nil
	}
	t, e, err := f.at(id)
	switch {
	case err != nil:
		return 0, err
	case e == linkEntry:
		return byHashNode, nil
	case e == 0:
		return f.root.folderOf(t), nil
	}
	_, g, e, err := f.entry(ctx, id)
	if err != nil {
		return 0, err
	}
	return makeNode(t.prefix, g.Parent(e)), nil
}
