package fs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

const (
	// xattrPrefix begins all names that weir knows.
	xattrPrefix = "user.weir."
	// userPrefix begins the names that may be there at all. For all others the
	// answer is EOPNOTSUPP, not ENODATA: from it ls learns not to ask for a label
	// and an ACL of every other file too, which would take longer than all the rest.
	userPrefix = "user."
)

// longestXattr is the longest value that Linux hands on.
const longestXattr = 64 << 10

// subject is what an extended attribute is asked of: entry e of torrent t. info
// and g are nil while the metadata is unknown; e is 0 then.
type subject struct {
	fs   *FS
	t    *torrent
	g    *tree
	e    uint32
	info *weir.TorrentInfo
}

// xattr is one extended attribute. It has no value, and is not listed, where
// value returns nil or where it is for another kind of node.
type xattr struct {
	name     string
	root     bool // of the mount's root, otherwise of what is in torrents
	needInfo bool // no value before the metadata is known
	value    func(ctx context.Context, s *subject) ([]byte, error)
}

// xattrs is the table of all of them, in the order of listing.
var xattrs = []xattr{
	{name: "version", root: true, value: func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.fs.opt.Version), nil
	}},
	{name: "infohash", value: func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.t.ih.String()), nil
	}},
	{name: "path", needInfo: true, value: func(_ context.Context, s *subject) ([]byte, error) {
		if s.e == 0 {
			return []byte(s.info.Name), nil
		}
		return []byte(strings.Join(s.g.rawPath(s.e), "/")), nil
	}},
	{name: "size", needInfo: true, value: func(_ context.Context, s *subject) ([]byte, error) {
		return decimal(s.size()), nil
	}},
	{name: "have", needInfo: true, value: func(ctx context.Context, s *subject) ([]byte, error) {
		have := int64(0)
		for _, r := range s.ranges() {
			have += s.t.src.HeldBytes(r)
		}
		return decimal(have), ctx.Err()
	}},
	{name: "pieces", needInfo: true, value: piecesHeld},
}

func decimal(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// piecesHeld counts the pieces that a node touches: "held/all".
func piecesHeld(ctx context.Context, s *subject) ([]byte, error) {
	held, all, next := 0, 0, 0
	for _, r := range s.ranges() {
		first, end := s.info.Pieces(r)
		for p := max(first, next); p < end; p++ {
			all++
			if pr := s.info.PieceRange(p); s.t.src.HeldBytes(pr) == pr.Len() {
				held++
			}
		}
		next = max(next, end)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return fmt.Appendf(nil, "%d/%d", held, all), nil
}

// size returns the bytes of a file, or of all files beneath a folder.
func (s *subject) size() int64 {
	size := int64(0)
	s.g.filesUnder(s.e, func(file int) bool {
		size += s.info.Files[file].Length
		return true
	})
	return size
}

// ranges returns the bytes that a node covers, in torrent order, neighbours
// joined.
func (s *subject) ranges() []weir.Range {
	var files []int
	s.g.filesUnder(s.e, func(file int) bool {
		files = append(files, file)
		return true
	})
	slices.Sort(files)
	var rs []weir.Range
	for _, file := range files {
		r := s.info.Files[file].Range()
		switch n := len(rs); {
		case r.Empty():
		case n > 0 && rs[n-1].End == r.Off:
			rs[n-1].End = r.End
		default:
			rs = append(rs, r)
		}
	}
	return rs
}

// subject returns what node id is.
func (f *FS) subject(ctx context.Context, id fuse.NodeID) (*subject, error) {
	s := &subject{fs: f}
	if id == fuse.RootID {
		return s, nil
	}
	var err error
	if s.t, s.e, err = f.at(id); err != nil {
		return nil, err
	}
	if s.info = s.t.src.Info(); s.info == nil {
		return s, nil // never wait for metadata here
	}
	if s.g, err = s.t.tree(ctx, f.notifier); err != nil {
		return nil, err
	}
	if s.e >= uint32(s.g.len()) {
		return nil, syscall.ESTALE
	}
	return s, nil
}

func (x *xattr) of(s *subject) bool {
	return x.root == (s.t == nil) && (s.info != nil || !x.needInfo)
}

// getxattr returns the value of an extended attribute. It does not wait for the
// network, but for a large folder it may take a while, so under noWait it serves
// none of weir's own. ERANGE: it does not fit into size bytes, where 0 asks for
// its length only. ENODATA: there is none. EOPNOTSUPP: nor could there be.
func (f *FS) getxattr(ctx context.Context, id fuse.NodeID, name string, size uint32) ([]byte, error) {
	if !strings.HasPrefix(name, userPrefix) {
		return nil, syscall.EOPNOTSUPP
	}
	short, ours := strings.CutPrefix(name, xattrPrefix)
	if !ours {
		return nil, syscall.ENODATA
	}
	if ctx == noWait {
		return nil, errMustWait{}
	}
	s, err := f.subject(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range xattrs {
		x := &xattrs[i]
		if x.name != short || !x.of(s) {
			continue
		}
		v, err := x.value(ctx, s)
		if err != nil {
			return nil, err
		}
		return v, fits(len(v), size)
	}
	return nil, syscall.ENODATA
}

// listxattr returns the names of a node's extended attributes, each with a NUL
// at its end.
func (f *FS) listxattr(id fuse.NodeID, size uint32) ([]byte, error) {
	s := &subject{fs: f}
	if id != fuse.RootID {
		var err error
		if s.t, _, err = f.at(id); err != nil {
			return nil, err
		}
		s.info = s.t.src.Info()
	}
	var names []byte
	for i := range xattrs {
		if x := &xattrs[i]; x.of(s) {
			names = append(names, xattrPrefix...)
			names = append(names, x.name...)
			names = append(names, 0)
		}
	}
	return names, fits(len(names), size)
}

// fits reports how a value of n bytes goes into a buffer of size bytes.
func fits(n int, size uint32) error {
	switch {
	case n > longestXattr:
		return syscall.E2BIG
	case size != 0 && n > int(size):
		return syscall.ERANGE
	}
	return nil
}
