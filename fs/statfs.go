package fs

import (
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

const (
	statfsBlock = 4096        // bytes; f_bsize and f_frsize, so that nobody mixes them up
	totalsFor   = time.Second // how long the sums are kept
)

// totals keeps the sums over all torrents for a moment, since adding them up
// looks at every torrent.
type totals struct {
	mu    sync.Mutex
	until time.Time
	sum   sums
}

type sums struct {
	content, held uint64 // bytes
	files         uint64
}

// recent returns the sums if they are of this second.
func (t *totals) recent(now time.Time) (sums, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum, now.Before(t.until)
}

func (t *totals) keep(s sums, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum, t.until = s, now.Add(totalsFor)
}

func (t *totals) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
}

// count adds up all torrents whose metadata is known. It never waits for the
// network, but it may take milliseconds where there are thousands.
func (f *FS) count() sums {
	s := sums{files: 1}
	for _, t := range f.root.all() {
		s.files++
		info := t.src.Info()
		if info == nil {
			continue
		}
		s.content += uint64(info.Length)
		s.held += uint64(t.src.HeldBytes(weir.Range{Off: 0, End: info.Length}))
		if g := t.grown.Load(); g != nil {
			s.files += uint64(g.len() - 1)
		} else {
			s.files += uint64(len(info.Files))
		}
	}
	return s
}

// statfs shows all content as the size, and what is not held locally as free:
// df's "Use%" is how much is here.
func (s sums) statfs() *fuse.StatfsResponse {
	blocks := (s.content + statfsBlock - 1) / statfsBlock
	used := min(blocks, (s.held+statfsBlock-1)/statfsBlock)
	return &fuse.StatfsResponse{
		Blocks:  blocks,
		Bfree:   blocks - used,
		Bavail:  blocks - used,
		Files:   s.files,
		Bsize:   statfsBlock,
		Frsize:  statfsBlock,
		Namelen: NameBytes,
	}
}
