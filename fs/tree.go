package fs

import (
	"sort"
	"sync/atomic"

	"github.com/weirfs/weir"
)

// tree holds the names of one torrent, in arrays without pointers: a torrent may
// have a million files, and most of what is here is never looked at. Entry 0 is
// the torrent's folder; the children of a folder are contiguous and sorted by
// name. Immutable but for seen.
type tree struct {
	info   *weir.TorrentInfo
	names  string          // all names, one after another, in entry order
	nodes  []node          // one more than there are entries: the last one ends the names
	dirs   []span          // folders; nodes refer to them
	nodeOf []uint32        // by index into info.Files; 0 for padding, which has no entry
	seen   []atomic.Uint32 // a bit per entry: the kernel was given its attributes
}

// node is one entry.
type node struct {
	name   uint32 // where its name begins; it ends where that of the next begins
	parent uint32
	ref    uint32 // index into info.Files, or dirBit and an index into dirs
}

const dirBit = 1 << 31

// span is what a folder holds.
type span struct {
	first, count uint32 // entries
	subdirs      uint32 // how many of them are folders
}

func (t *tree) len() int { return len(t.nodes) - 1 }

func (t *tree) isDir(n uint32) bool { return t.nodes[n].ref&dirBit != 0 }

// span returns the children of folder n.
func (t *tree) span(n uint32) span { return t.dirs[t.nodes[n].ref&^dirBit] }

// file returns what file n is in the torrent.
func (t *tree) file(n uint32) *weir.FileInfo { return &t.info.Files[t.nodes[n].ref] }

// name returns the safe name of entry n, and "" for the torrent's folder, whose
// name the root knows.
func (t *tree) name(n uint32) string { return t.names[t.nodes[n].name:t.nodes[n+1].name] }

// find looks a name up in folder dir.
func (t *tree) find(dir uint32, name string) (uint32, bool) {
	s := t.span(dir)
	i := uint32(sort.Search(int(s.count), func(i int) bool { return t.name(s.first+uint32(i)) >= name }))
	if i == s.count || t.name(s.first+i) != name {
		return 0, false
	}
	return s.first + i, true
}

// rawPath returns the components of entry n as the metainfo has them; for the
// torrent's folder that is none.
func (t *tree) rawPath(n uint32) []string {
	return t.pathOf(n, t.info.RawPath)
}

// infoPath returns the components of entry n as FileInfo.Path has them, decoded.
func (t *tree) infoPath(n uint32) []string {
	return t.pathOf(n, func(file int) []string { return t.info.Files[file].Path })
}

// pathOf returns the components of entry n, where of returns those of a file.
func (t *tree) pathOf(n uint32, of func(file int) []string) []string {
	depth := 0
	for at := n; at != 0; at = t.nodes[at].parent {
		depth++
	}
	// Every folder but the top one of an empty torrent holds a file somewhere.
	for t.isDir(n) {
		s := t.span(n)
		if s.count == 0 {
			return nil
		}
		n = s.first
	}
	path := of(int(t.nodes[n].ref))
	return path[:min(depth, len(path))]
}

// path returns where entry n is beneath the torrent's folder, as it is shown.
func (t *tree) path(n uint32) string {
	p := t.name(n)
	for n = t.nodes[n].parent; n != 0; n = t.nodes[n].parent {
		p = t.name(n) + "/" + p
	}
	return p
}

// filesUnder calls fn with the index of each file beneath entry n until it
// returns false; for a file that is itself.
func (t *tree) filesUnder(n uint32, fn func(file int) bool) bool {
	if !t.isDir(n) {
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
	s := t.span(n)
	for c := s.first; c < s.first+s.count; c++ {
		if !t.filesUnder(c, fn) {
			return false
		}
	}
	return true
}

// markSeen notes that the kernel is being given the attributes of entry n.
func (t *tree) markSeen(n uint32) {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// takeSeen reports whether entry n was marked, and forgets it.
func (t *tree) takeSeen(n uint32) bool {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	return word.Load()&bit != 0 && word.And(^bit)&bit != 0
}
