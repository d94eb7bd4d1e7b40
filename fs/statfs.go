package fs

import (
	"context"
	"sync"
	"time"

	"github.com/weirfs/weir/fs/internal/incoming"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

const (
	statfsBlock = 4096        // bytes; f_bsize and f_frsize, so that nobody mixes them up
	totalsFor   = time.Second // how long the sums are kept
)

// totals caches the sums over all torrents for a second.
type totals struct {
	root     *root
	writable bool

	mu    sync.Mutex
	until time.Time
	sum   sums
}

type sums struct {
	content, held uint64 // bytes
	files         uint64
	room          uint64 // bytes that are always free
}

// recent returns the cached sums if they are recent.
func (t *totals) recent(now time.Time) (sums, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum, now.Before(t.until)
}

func (t *totals) set(s sums, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum, t.until = s, now.Add(totalsFor)
}

func (t *totals) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
}

// Statfs waits for the sums, unless they are recent.
func (t *totals) Statfs() (node.Usage, node.Wait[node.Usage], error) {
	if s, ok := t.recent(time.Now()); ok {
		return s.usage(), nil, nil
	}
	return node.Usage{}, func(context.Context) (node.Usage, error) {
		s := t.count()
		t.set(s, time.Now())
		return s.usage(), nil
	}, nil
}

// count adds up all torrents whose metadata is known. It loads nothing, but it may
// take milliseconds where there are thousands.
func (t *totals) count() sums {
	s := sums{files: 1}
	for _, t := range t.root.all() {
		s.files++
		o, known := t.src.Outline()
		if !known {
			continue
		}
		s.content += uint64(o.Length)
		s.held += uint64(o.Held)
		if n := t.entries.Load(); n > 0 {
			s.files += uint64(n)
		} else {
			s.files += uint64(o.Files)
		}
	}
	if t.writable {
		s.room = incoming.FileBytes
	}
	return s
}

// usage shows all content as the size, and what is not held locally as free: df's "Use%" is
// the share that is held. If files can be copied in, there is always free space, since some
// programs check first.
func (s sums) usage() node.Usage {
	s.content = max(s.content, s.held+s.room)
	blocks := (s.content + statfsBlock - 1) / statfsBlock
	used := min(blocks, (s.held+statfsBlock-1)/statfsBlock)
	free := s.room / incoming.FileBytes * incoming.MaxFiles
	return node.Usage{
		Blocks: blocks, FreeBlocks: blocks - used,
		Files: s.files + free, FreeFiles: free,
		BlockSize: statfsBlock, NameBytes: tree.NameBytes,
	}
}
