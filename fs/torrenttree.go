package fs

import (
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/tree"
)

// torrentTree is a torrent's tree, and of which entries the kernel has attributes.
type torrentTree struct {
	*tree.Tree
	seen []atomic.Uint32 // a bit per entry
}

func newTorrentTree(info *weir.TorrentInfo) (*torrentTree, error) {
	t, err := tree.Build(info, maxEntries)
	if err != nil {
		return nil, err
	}
	return &torrentTree{t, make([]atomic.Uint32, (t.Len()+31)/32)}, nil
}

// markSeen notes that the kernel is being given the attributes of entry n.
func (t *torrentTree) markSeen(n uint32) {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// takeSeen reports whether entry n was marked, and forgets it.
func (t *torrentTree) takeSeen(n uint32) bool {
	word, bit := &t.seen[n/32], uint32(1)<<(n%32)
	return word.Load()&bit != 0 && word.And(^bit)&bit != 0
}
