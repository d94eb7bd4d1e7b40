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

// subject is what an extended attribute is asked of: a sorting folder, or entry e
// of torrent t. info and g are nil while the metadata is unknown; e is 0 then.
type subject struct {
	fs   *FS
	dir  *folder
	t    *torrent
	g    *torrentTree
	e    uint32
	info *weir.TorrentInfo
}

// kinds says what has an extended attribute.
type kinds uint8

const (
	ofRoot    kinds = 1 << iota // the mount's root
	ofSorting                   // sorting folders but the root
	ofMagnet                    // torrents' folders while their metadata is unknown
	ofTorrent                   // everything in torrents whose metadata is known
)

// xattr is one extended attribute.
type xattr struct {
	name  string
	of    kinds
	value func(ctx context.Context, s *subject) ([]byte, error)
}

// xattrs is the table of all of them.
var xattrs = []xattr{
	{"version", ofRoot, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.fs.opt.Version), nil
	}},
	{"control", ofRoot, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.fs.opt.Control), nil
	}},
	{"torrents", ofRoot | ofSorting, func(_ context.Context, s *subject) ([]byte, error) {
		return decimal(int64(len(s.fs.root.beneath(s.dir)))), nil
	}},
	{"infohash", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.t.ih.String()), nil
	}},
	{"path", ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		if s.e == 0 {
			return []byte(s.info.RawName()), nil
		}
		return []byte(strings.Join(s.g.RawPath(s.e), "/")), nil
	}},
	{"size", ofRoot | ofSorting | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		if s.t == nil {
			return decimal(s.sum(func(o Outline) int64 { return o.Length })), nil
		}
		return decimal(s.size()), nil
	}},
	{"have", ofRoot | ofSorting | ofTorrent, func(ctx context.Context, s *subject) ([]byte, error) {
		if s.t == nil {
			return decimal(s.sum(func(o Outline) int64 { return o.Held })), nil
		}
		have := int64(0)
		for _, r := range s.ranges() {
			have += s.t.src.HeldBytes(r)
		}
		return decimal(have), ctx.Err()
	}},
	{"pieces", ofTorrent, piecesHeld},
	{"peers", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return decimal(int64(s.status().Peers)), nil
	}},
	{"seeds", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return decimal(int64(s.status().Seeds)), nil
	}},
	{"availability", ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return strconv.AppendFloat(nil, s.status().Availability, 'f', 3, 64), nil
	}},
	{"state", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.status().State), nil
	}},
	{"wait", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.status().Wait), nil
	}},
}

// listed are the attributes that listxattr names: who a file is. All others are
// there for those who ask by name, since programs that copy a file copy what is
// listed, and how many peers there were once means nothing beside a copy.
var listed = []string{"infohash", "path"}

// xattrNames is what listxattr returns, by kind.
var xattrNames = func() map[kinds][]byte {
	names := make(map[kinds][]byte)
	for of := ofRoot; of <= ofTorrent; of <<= 1 {
		for i := range xattrs {
			if x := &xattrs[i]; x.of&of != 0 && slices.Contains(listed, x.name) {
				names[of] = append(names[of], xattrPrefix+x.name+"\x00"...)
			}
		}
	}
	return names
}()

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
	s.g.FilesUnder(s.e, func(file int) bool {
		size += s.info.Files[file].Length
		return true
	})
	return size
}

// ranges returns the bytes that a node covers, in torrent order, neighbours
// joined.
func (s *subject) ranges() []weir.Range {
	var files []int
	s.g.FilesUnder(s.e, func(file int) bool {
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

// sum adds up what is known of the torrents in a sorting folder.
func (s *subject) sum(of func(Outline) int64) int64 {
	sum := int64(0)
	for _, t := range s.fs.root.beneath(s.dir) {
		if o, known := t.src.Outline(); known {
			sum += of(o)
		}
	}
	return sum
}

// status asks the torrent how the node's bytes do, from the first to the last one.
func (s *subject) status() Status {
	var in weir.Range
	if s.info != nil {
		if rs := s.ranges(); len(rs) > 0 {
			in = weir.Range{Off: rs[0].Off, End: rs[len(rs)-1].End}
		}
	}
	return s.t.src.Status(in)
}

// kind returns which of the kinds node id is, 0 for one that has no extended
// attributes, and loads nothing.
func (f *FS) kind(id fuse.NodeID) (kinds, error) {
	switch {
	case id == fuse.RootID:
		return ofRoot, nil
	case id == byHashNode || isDraft(id):
		return 0, nil
	}
	t, e := f.root.of(id)
	if t == nil {
		if f.root.folder(id) != nil {
			return ofSorting, nil
		}
		return 0, syscall.ESTALE
	}
	if e == linkEntry {
		return 0, nil
	}
	if e == 0 && t.grown.Load() == nil {
		if _, known := t.src.Outline(); !known {
			return ofMagnet, nil
		}
	}
	return ofTorrent, nil
}

// subject returns what node id is.
func (f *FS) subject(ctx context.Context, id fuse.NodeID, of kinds) (*subject, error) {
	s := &subject{fs: f}
	if of&(ofRoot|ofSorting) != 0 {
		if s.dir = f.root.folder(id); s.dir == nil {
			return nil, syscall.ESTALE
		}
		return s, nil
	}
	var err error
	if s.t, s.e, err = f.at(id); err != nil || of == ofMagnet {
		return s, err
	}
	if s.g, err = f.tree(ctx, s.t); err != nil {
		return nil, err
	}
	s.info = s.g.Info()
	if s.e >= uint32(s.g.Len()) {
		return nil, syscall.ESTALE
	}
	return s, nil
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
	of, err := f.kind(id)
	if err != nil {
		return nil, err
	}
	for i := range xattrs {
		x := &xattrs[i]
		if x.name != short || x.of&of == 0 {
			continue
		}
		s, err := f.subject(ctx, id, of)
		if err != nil {
			return nil, err
		}
		v, err := x.value(ctx, s)
		if err != nil {
			return nil, err
		}
		return v, fits(len(v), size)
	}
	return nil, syscall.ENODATA
}

// listxattr returns the names of those extended attributes of a node that are
// listed, each with a NUL at its end. Newer versions of ls ask for it file by file.
func (f *FS) listxattr(id fuse.NodeID, size uint32) ([]byte, error) {
	of, err := f.kind(id)
	if err != nil {
		return nil, err
	}
	names := xattrNames[of]
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
