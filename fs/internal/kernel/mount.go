package kernel

import (
	"reflect"
	"unsafe"

	"bazil.org/fuse"
)

// How many requests the kernel may have under way that no program waits for by
// name, which is what most reads are. Reads that hang must not use them up, or
// held content of other files could not be read. Beyond the second figure the
// kernel reads no further ahead than it must.
const (
	maxBackground       = 2048
	congestionThreshold = 512
)

func (s *Server) mountOptions(writable bool) []fuse.MountOption {
	options := []fuse.MountOption{
		fuse.FSName(s.opt.Source), fuse.Subtype("weir"), fuse.DefaultPermissions(), fuse.AsyncRead(),
		fuse.MaxReadahead(uint32(s.opt.ReadAheadKB) << 10),
		fuse.MaxBackground(maxBackground), fuse.CongestionThreshold(congestionThreshold),
	}
	if export := exportSupport(); export != nil {
		options = append(options, export)
	}
	if !writable {
		options = append(options, fuse.ReadOnly())
	}
	if s.opt.AllowOther {
		options = append(options, fuse.AllowOther())
	}
	if s.opt.AllowNonEmpty {
		options = append(options, fuse.AllowNonEmptyMount())
	}
	return options
}

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
