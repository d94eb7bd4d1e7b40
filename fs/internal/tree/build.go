package tree

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/weirfs/weir"
)

// pendingEntry is an entry while its tree is being built. There is one for each of a
// million files, so it has no name: that is in the metadata.
type pendingEntry struct {
	dir uint32 // of the builder's folders, the one that holds it
	ref uint32 // as in node, but with the builder's numbers of folders
}

// child is an entry while its folder is being sorted.
type child struct {
	name string // raw at first, then safe
	ref  uint32 // as in pendingEntry
}

// dirKey names a folder of the builder by its parent and its raw name.
type dirKey struct {
	parent uint32
	name   string
}

// builder makes a tree. Folder 0 is the torrent's own.
type builder struct {
	info  *weir.TorrentInfo
	limit int // entries, the torrent's folder included
	byKey map[dirKey]uint32
	dirs  []string // raw names of folders
	all   []pendingEntry
	text  int // bytes of all names
	// The folders of the last path: files mostly come grouped by folder, so that most look-ups
	// need no map access.
	lastNames []string
	lastDirs  []uint32
}

// Build lays the files of info out as folders, of limit entries at most, the
// torrent's folder included. It takes about a second for a million files, so large
// ones are built on another goroutine than those that answer the kernel. Numbers depend only
// on the metainfo. The error wraps weir.ErrInvalid.
func Build(info *weir.TorrentInfo, limit int) (*Tree, error) {
	// With some room for folders, since growing copies everything.
	b := &builder{info: info, limit: limit, byKey: make(map[dirKey]uint32), dirs: make([]string, 1), all: make([]pendingEntry, 0, len(info.Files)+len(info.Files)/16)}
	for i := range info.Files {
		if !info.Files[i].Shown() {
			continue
		}
		if err := b.add(i); err != nil {
			return nil, err
		}
	}
	return b.tree()
}

func (b *builder) add(file int) error {
	path := b.info.Files[file].Path
	if len(path) == 0 { // validation refuses this
		path = []string{""}
	}
	last := len(path) - 1
	dir := b.folder(path[:last])
	b.put(pendingEntry{dir, uint32(file)}, path[last])
	if len(b.all) >= b.limit {
		return weir.Errorf(weir.ErrInvalid, "torrent %s: more than %d files and folders", b.info.InfoHash, b.limit-1)
	}
	return nil
}

func (b *builder) put(e pendingEntry, name string) {
	b.all = append(b.all, e)
	b.text += len(name)
}

// name returns the raw name of an entry.
func (b *builder) name(e pendingEntry) string {
	if e.ref&dirBit != 0 {
		return b.dirs[e.ref&^dirBit]
	}
	if path := b.info.Files[e.ref].Path; len(path) > 0 {
		return path[len(path)-1]
	}
	return ""
}

// folder returns the folder at path, and makes it and those above it if they
// are new.
func (b *builder) folder(path []string) uint32 {
	same := 0
	for same < len(path) && same < len(b.lastNames) && path[same] == b.lastNames[same] {
		same++
	}
	b.lastDirs = b.lastDirs[:same]
	dir := uint32(0)
	if same > 0 {
		dir = b.lastDirs[same-1]
	}
	for _, name := range path[same:] {
		key := dirKey{dir, name}
		sub, ok := b.byKey[key]
		if !ok {
			sub = uint32(len(b.dirs))
			b.dirs = append(b.dirs, name)
			b.byKey[key] = sub
			b.put(pendingEntry{dir, dirBit | sub}, name)
		}
		dir = sub
		b.lastDirs = append(b.lastDirs, dir)
	}
	b.lastNames = path
	return dir
}

// group sorts the pending entries by the folder that holds them and returns where each
// folder's begin.
func (b *builder) group() (sorted []pendingEntry, begin []uint32) {
	begin = make([]uint32, len(b.dirs)+1)
	for i := range b.all {
		begin[b.all[i].dir+1]++
	}
	for d := range len(b.dirs) {
		begin[d+1] += begin[d]
	}
	next := slices.Clone(begin)
	sorted = make([]pendingEntry, len(b.all))
	for i := range b.all {
		d := b.all[i].dir
		sorted[next[d]] = b.all[i]
		next[d]++
	}
	return sorted, begin
}

// tree numbers the entries breadth first, so that a folder's are contiguous.
func (b *builder) tree() (*Tree, error) {
	n := len(b.all) + 1
	sorted, begin := b.group()
	b.all, b.byKey = nil, nil
	t := &Tree{
		info:   b.info,
		nodes:  make([]node, 1, n+1),
		dirs:   make([]Span, 1, len(b.dirs)),
		nodeOf: make([]uint32, len(b.info.Files)),
	}
	t.nodes[0].ref = dirBit
	var names strings.Builder
	names.Grow(b.text)
	var children []child
	// queue[i] is the builder's number of folder i, at its entry's number.
	type numbered struct{ dir, node uint32 }
	queue := make([]numbered, 1, len(b.dirs))
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		here := sorted[begin[at.dir]:begin[at.dir+1]]
		children = slices.Grow(children[:0], len(here))
		for _, s := range here {
			children = append(children, child{b.name(s), s.ref})
		}
		nameChildren(children)
		s := Span{First: uint32(len(t.nodes)), Count: uint32(len(children))}
		for _, child := range children {
			number := uint32(len(t.nodes))
			ref := child.ref
			if ref&dirBit != 0 {
				s.Subdirs++
				queue = append(queue, numbered{ref &^ dirBit, number})
				t.dirs = append(t.dirs, Span{})
				ref = dirBit | uint32(len(t.dirs)-1)
			} else {
				t.nodeOf[ref] = number
			}
			t.nodes = append(t.nodes, node{name: uint32(names.Len()), parent: at.node, ref: ref})
			names.WriteString(child.name)
		}
		t.dirs[i] = s
		if names.Len() > math.MaxUint32 {
			return nil, weir.Errorf(weir.ErrInvalid, "torrent %s: more than 4 GiB of names", b.info.InfoHash)
		}
	}
	t.nodes = append(t.nodes, node{name: uint32(names.Len())})
	t.names = names.String()
	return t, nil
}

// nameChildren makes the names in one folder safe and unique and sorts by them. Of equal names,
// also after cutting, the first keeps its name and the others get numbers: folders before
// files, then in torrent order.
func nameChildren(children []child) {
	for i := range children {
		children[i].name = SafeName(children[i].name)
	}
	slices.SortFunc(children, func(a, b child) int {
		// Nearly always the names differ; cmp.Or would evaluate the rest too.
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(b.ref&dirBit, a.ref&dirBit), cmp.Compare(a.ref, b.ref))
	})
	equal := false
	for i := 1; i < len(children) && !equal; i++ {
		equal = children[i].name == children[i-1].name
	}
	if equal {
		numberChildren(children)
	}
}

// numberChildren gives sorted children with equal names numbers, and sorts them again.
func numberChildren(children []child) {
	taken := make(map[string]bool, len(children))
	for i := range children {
		taken[children[i].name] = true
	}
	first, n := children[0].name, 1
	for i := 1; i < len(children); i++ {
		if children[i].name != first {
			first, n = children[i].name, 1
			continue
		}
		for {
			n++
			name := NumberedName(first, n)
			if !taken[name] {
				taken[name] = true
				children[i].name = name
				break
			}
		}
	}
	slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.name, b.name) })
}
