package fs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

const (
	// xattrPrefix begins all names that weir knows.
	xattrPrefix = "user.weir."
	// userPrefix begins the names that can exist. For all others the answer is EOPNOTSUPP,
	// not ENODATA: after that, ls does not ask for a label and an ACL of every further file,
	// which would take longer than everything else.
	userPrefix = "user."
)

// maxXattrBytes is the longest value that Linux accepts.
const maxXattrBytes = 64 << 10

// xattrs answers requests for extended attributes.
type xattrs struct {
	root             *root
	trees            *trees
	version, control string
}

// subject is the node whose extended attribute is asked for: a sorting folder, or entry e of
// torrent t. info and g are nil while the metadata is unknown; e is 0 then.
type subject struct {
	of   *xattrs
	dir  *folder
	t    *torrent
	g    *torrentTree
	e    uint32
	info *weir.TorrentInfo
}

// kinds are the kinds of nodes that have an extended attribute.
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

// allXattrs is the table of all of them.
var allXattrs = []xattr{
	{"version", ofRoot, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.of.version), nil
	}},
	{"control", ofRoot, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.of.control), nil
	}},
	{"torrents", ofRoot | ofSorting, func(_ context.Context, s *subject) ([]byte, error) {
		return decimal(int64(len(s.of.root.beneath(s.dir)))), nil
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
	{"webseeds", ofMagnet | ofTorrent, func(_ context.Context, s *subject) ([]byte, error) {
		return []byte(s.status().WebSeeds), nil
	}},
}

// listed are the attributes that listxattr names: those that identify a file. Programs that
// copy a file also copy the listed attributes, and the number of peers means nothing for a
// copy. The others can be read by name.
var listed = []string{"infohash", "path"}

// xattrNames is what listxattr returns, by kind.
var xattrNames = func() map[kinds][]byte {
	names := make(map[kinds][]byte)
	for of := ofRoot; of <= ofTorrent; of <<= 1 {
		for i := range allXattrs {
			if x := &allXattrs[i]; x.of&of != 0 && slices.Contains(listed, x.name) {
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
	for _, t := range s.of.root.beneath(s.dir) {
		if o, known := t.src.Outline(); known {
			sum += of(o)
		}
	}
	return sum
}

// status returns the torrent's status for the node's bytes, from the first to the last.
func (s *subject) status() Status {
	var in weir.Range
	if s.info != nil {
		if rs := s.ranges(); len(rs) > 0 {
			in = weir.Range{Off: rs[0].Off, End: rs[len(rs)-1].End}
		}
	}
	return s.t.src.Status(in)
}

// kind returns the kind of node id, 0 if it has no extended attributes. It loads nothing.
func (x *xattrs) kind(id node.ID) (kinds, error) {
	switch {
	case id == node.Root:
		return ofRoot, nil
	case id == node.ByHash || id.IsIncoming():
		return 0, nil
	}
	t, n := x.root.torrentOf(id)
	if t == nil {
		if x.root.folder(id) != nil {
			return ofSorting, nil
		}
		return 0, syscall.ESTALE
	}
	if n == node.LinkEntry {
		return 0, nil
	}
	if n == 0 && t.tree.Load() == nil {
		if _, known := t.src.Outline(); !known {
			return ofMagnet, nil
		}
	}
	return ofTorrent, nil
}

// subject returns the subject for node id. It may wait for its tree.
func (x *xattrs) subject(ctx context.Context, id node.ID, of kinds) (*subject, error) {
	s := &subject{of: x}
	switch {
	case of&(ofRoot|ofSorting) != 0:
		if s.dir = x.root.folder(id); s.dir == nil {
			return nil, syscall.ESTALE
		}
		return s, nil
	case of == ofMagnet:
		if s.t, _ = x.root.torrentOf(id); s.t == nil {
			return nil, syscall.ESTALE
		}
		return s, nil
	}
	at, err := x.trees.waitEntry(ctx, id)
	if err != nil {
		return nil, err
	}
	s.t, s.g, s.e, s.info = at.t, at.tree, at.n, at.tree.Info()
	return s, nil
}

// Getxattr returns the value of an extended attribute. It does not use the network, but for a
// large folder it may take a while, so weir's own attributes are always answered by a wait.
// ERANGE: the value is longer than size bytes, where 0 asks only for its length. ENODATA:
// there is no such attribute. EOPNOTSUPP: there can't be one of this name.
func (x *xattrs) Getxattr(id node.ID, name string, size uint32) ([]byte, node.Wait[[]byte], error) {
	if !strings.HasPrefix(name, userPrefix) {
		return nil, nil, syscall.EOPNOTSUPP
	}
	short, ours := strings.CutPrefix(name, xattrPrefix)
	if !ours {
		return nil, nil, syscall.ENODATA
	}
	return nil, func(ctx context.Context) ([]byte, error) {
		v, err := x.value(ctx, id, short)
		if err != nil {
			return nil, err
		}
		return v, fits(len(v), size)
	}, nil
}

// value returns one of weir's own attributes, by its name without the prefix.
func (x *xattrs) value(ctx context.Context, id node.ID, name string) ([]byte, error) {
	of, err := x.kind(id)
	if err != nil {
		return nil, err
	}
	for i := range allXattrs {
		if attr := &allXattrs[i]; attr.name == name && attr.of&of != 0 {
			s, err := x.subject(ctx, id, of)
			if err != nil {
				return nil, err
			}
			return attr.value(ctx, s)
		}
	}
	return nil, syscall.ENODATA
}

// Listxattr returns the names of those extended attributes of a node that are
// listed, each with a NUL at its end. Newer versions of ls ask for it file by file.
func (x *xattrs) Listxattr(id node.ID, size uint32) ([]byte, error) {
	of, err := x.kind(id)
	if err != nil {
		return nil, err
	}
	names := xattrNames[of]
	return names, fits(len(names), size)
}

// fits returns an error if a value of n bytes does not fit into a buffer of size bytes.
func fits(n int, size uint32) error {
	switch {
	case n > maxXattrBytes:
		return syscall.E2BIG
	case size != 0 && n > int(size):
		return syscall.ERANGE
	}
	return nil
}
