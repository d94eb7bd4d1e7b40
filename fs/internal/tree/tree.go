package tree

import (
	"sort"

	"github.com/weirfs/weir"
)

// Tree holds the names of one torrent, in arrays without pointers, since a torrent may have a
// million files. Entry 0 is the torrent's folder; the children of a folder are contiguous and
// sorted by name. It never changes.
type Tree struct {
	info   *weir.TorrentInfo
	names  string   // all names, one after another, in entry order
	nodes  []node   // one for each entry, and one more that ends the names
	dirs   []Span   // folders; nodes refer to them
	nodeOf []uint32 // by index into info.Files; 0 for padding, which has no entry
}

// node is one entry.
type node struct {
	name   uint32 // where its name begins; it ends where that of the next begins
	parent uint32
	ref    uint32 // index into info.Files, or dirBit and an index into dirs
}

const dirBit = 1 << 31

// Span is the children of a folder.
type Span struct {
	First, Count uint32 // entries
	Subdirs      uint32 // how many of them are folders
}

// Len returns the number of entries, the torrent's folder included.
func (t *Tree) Len() int { return len(t.nodes) - 1 }

// IsDir reports whether entry n is a folder.
func (t *Tree) IsDir(n uint32) bool { return t.nodes[n].ref&dirBit != 0 }

// Info returns the metadata that the tree was built from.
func (t *Tree) Info() *weir.TorrentInfo { return t.info }

// Parent returns the folder that entry n is in; the torrent's folder is in itself.
func (t *Tree) Parent(n uint32) uint32 { return t.nodes[n].parent }

// FileIndex returns the index into Info().Files of file n.
func (t *Tree) FileIndex(n uint32) int { return int(t.nodes[n].ref) }

// EntryOf returns the entry of the file at index of Info().Files, 0 for padding,
// which has none.
func (t *Tree) EntryOf(index int) uint32 { return t.nodeOf[index] }

// Children returns what is in folder n.
func (t *Tree) Children(n uint32) Span { return t.dirs[t.nodes[n].ref&^dirBit] }

// File returns what file n is in the torrent.
func (t *Tree) File(n uint32) *weir.FileInfo { return &t.info.Files[t.nodes[n].ref] }

// Name returns the safe name of entry n, and "" for the torrent's folder, whose name is the
// file system's.
func (t *Tree) Name(n uint32) string { return t.names[t.nodes[n].name:t.nodes[n+1].name] }

// Find looks a name up in folder dir.
func (t *Tree) Find(dir uint32, name string) (uint32, bool) {
	s := t.Children(dir)
	i := uint32(sort.Search(int(s.Count), func(i int) bool { return t.Name(s.First+uint32(i)) >= name }))
	if i == s.Count || t.Name(s.First+i) != name {
		return 0, false
	}
	return s.First + i, true
}

// RawPath returns the components of entry n as the metainfo has them; none for the torrent's
// folder.
func (t *Tree) RawPath(n uint32) []string {
	return t.pathOf(n, t.info.RawPath)
}

// InfoPath returns the components of entry n as FileInfo.Path has them, decoded.
func (t *Tree) InfoPath(n uint32) []string {
	return t.pathOf(n, func(file int) []string { return t.info.Files[file].Path })
}

// pathOf returns the components of entry n, where of returns those of a file.
func (t *Tree) pathOf(n uint32, of func(file int) []string) []string {
	depth := 0
	for at := n; at != 0; at = t.nodes[at].parent {
		depth++
	}
	// Every folder but the top one of an empty torrent holds a file somewhere.
	for t.IsDir(n) {
		s := t.Children(n)
		if s.Count == 0 {
			return nil
		}
		n = s.First
	}
	path := of(int(t.nodes[n].ref))
	return path[:min(depth, len(path))]
}

// Path returns where entry n is beneath the torrent's folder, as it is shown.
func (t *Tree) Path(n uint32) string {
	p := t.Name(n)
	for n = t.nodes[n].parent; n != 0; n = t.nodes[n].parent {
		p = t.Name(n) + "/" + p
	}
	return p
}

// FilesUnder calls fn with the index of each file beneath entry n until it
// returns false; for a file, with its own.
func (t *Tree) FilesUnder(n uint32, fn func(file int) bool) bool {
	if !t.IsDir(n) {
		return fn(int(t.nodes[n].ref))
	}
	if n == 0 { // all of them, in torrent order, without walking
		for i, at := range t.nodeOf {
			if at != 0 && !fn(i) {
				return false
			}
		}
		return true
	}
	s := t.Children(n)
	for c := s.First; c < s.First+s.Count; c++ {
		if !t.FilesUnder(c, fn) {
			return false
		}
	}
	return true
}
