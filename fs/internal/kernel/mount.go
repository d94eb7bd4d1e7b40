package kernel

import (
	"reflect"
	"unsafe"

	"bazil.org/fuse"
)

// maxBackground bounds the kernel's background requests, which most reads are. Reads that wait
// for the swarm must not use them up, or held files could not be read. Beyond
// congestionThreshold the kernel reads ahead no more than it must.
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

// exportSupport returns an option that sets FUSE_EXPORT_SUPPORT, or nil. An NFS server keeps
// file handles (name_to_handle_at(2)), and may open one after the kernel has forgotten the
// inode or weir was restarted. With the flag, the kernel then looks up "." and ".." of node
// ids. bazil knows the flag but has no option for it, so this one sets the field initFlags of a
// type that bazil doesn't export, if it still has it (docs/decisions/0060).
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
