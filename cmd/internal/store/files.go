package store

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/inplace"
)

// files are the contents that are served in place, by torrent.
type files struct {
	opener *inplace.Opener

	mu  sync.Mutex                                         // held by who changes all
	all atomic.Pointer[map[weir.InfoHash]*inplace.Content] // copied when it changes; nil: none
}

func (f *files) of(ih weir.InfoHash) *inplace.Content {
	if all := f.all.Load(); all != nil {
		return (*all)[ih]
	}
	return nil
}

// set replaces the content of a torrent; nil removes it.
func (f *files) set(ih weir.InfoHash, c *inplace.Content) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[weir.InfoHash]*inplace.Content{}
	if known := f.all.Load(); known != nil {
		maps.Copy(all, *known)
	}
	if former := all[ih]; former != nil {
		former.Close()
	}
	delete(all, ih)
	if c != nil {
		all[ih] = c
	}
	f.all.Store(&all)
}

// Serve has a torrent read from files, in place of those that it was read from before.
func (s *Store) Serve(ih weir.InfoHash, o inplace.Options) {
	o.Opener = s.files.opener
	s.files.set(ih, inplace.New(o))
}

// Withdraw has a torrent read from files no more.
func (s *Store) Withdraw(ih weir.InfoHash) {
	if s.files.of(ih) != nil {
		s.files.set(ih, nil)
	}
}

// Files returns the content of a torrent that is served in place, nil for another.
func (s *Store) Files(ih weir.InfoHash) *inplace.Content { return s.files.of(ih) }

// Served returns the torrents that are served in place, in no order.
func (s *Store) Served() []weir.InfoHash {
	all := s.files.all.Load()
	if all == nil {
		return nil
	}
	return slices.Collect(maps.Keys(*all))
}

// Close closes the files. The cache is its owner's.
func (s *Store) Close() { s.files.opener.Close() }

// heldBytes counts the bytes of files in a range whose pieces are in content, or elsewhere.
func heldBytes(info *weir.TorrentInfo, r weir.Range, content *inplace.Content, elsewhere func(index int) bool) (sum int64) {
	all := content.Complete()
	count := func(part weir.Range) {
		if all {
			sum += part.Len()
			return
		}
		for i, end := info.Pieces(part); i < end; i++ {
			if content.Has(i) || elsewhere(i) {
				sum += info.FullRange(i).Intersect(part).Len()
			}
		}
	}
	if !info.V2 && !info.Padded { // nor need its files be known
		count(r.Intersect(weir.Range{End: info.Length}))
		return sum
	}
	for at, end := info.FilesIn(r); at < end; at++ {
		if f := &info.Files[at]; !f.Padding {
			count(f.Range().Intersect(r))
		}
	}
	return sum
}
