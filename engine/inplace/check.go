package inplace

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
)

// Checked is how far a check has come, in a form that can be kept for a later one.
type Checked struct {
	Pieces  Bits          `json:"pieces"`  // that were looked at
	Missing Bits          `json:"missing"` // of them, those that are not in the files
	Stamps  map[int]Stamp `json:"stamps"`  // of the files, by their index, when the check began
}

// CheckOptions say how to check. All may be zero.
type CheckOptions struct {
	Former *Checked       // how far another check came
	Bytes  *atomic.Int64  // is how much of the torrent was looked at
	Keep   func(*Checked) // is called now and then, one call at a time, and at the end, whether ctx ended or not
	Every  time.Duration  // at least, between two calls of Keep
}

// Check finds out which pieces are in the files, in parallel. Those of files that have the
// stamps of a former check are not read again. The error is ctx's.
func (c *Content) Check(ctx context.Context, o CheckOptions) error {
	info := c.opt.Info()
	if info == nil {
		return weir.Errorf(weir.ErrNotFound, "the metadata is not known")
	}
	if o.Bytes == nil {
		o.Bytes = new(atomic.Int64)
	}
	k := &check{c: c, info: info, o: o, kept: time.Now(), state: Checked{Stamps: c.stamps(info)}}
	pieces := k.begin()
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for _, i := range pieces {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range 2 * runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for i := range next {
				k.piece(i)
			}
			return nil
		})
	}
	err := group.Wait()
	if o.Keep != nil {
		k.keep()
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing = k.state.Missing.clone()
	return nil
}

// check is one Check.
type check struct {
	c    *Content
	info *weir.TorrentInfo
	o    CheckOptions

	keeping sync.Mutex // held during Keep

	mu    sync.Mutex
	state Checked
	kept  time.Time // when Keep was called
}

func (k *Checked) clone() *Checked {
	return &Checked{Pieces: k.Pieces.clone(), Missing: k.Missing.clone(), Stamps: maps.Clone(k.Stamps)}
}

// stamps returns those of the files that are there with their length.
func (c *Content) stamps(info *weir.TorrentInfo) map[int]Stamp {
	all := map[int]Stamp{}
	for i := range info.Files {
		f := &info.Files[i]
		if f.Padding || f.Length == 0 {
			continue
		}
		file, err := c.open(i)
		if err != nil {
			continue
		}
		if stamp, err := (&openFile{File: file}).stat(); err == nil && stamp.Size == f.Length {
			all[i] = stamp
		}
		_ = file.Close() // nothing was written
	}
	return all
}

// Lies reports whether a file of a torrent is at a root, with its length.
func Lies(info *weir.TorrentInfo, root string) bool {
	c := New(Options{Root: root, Info: func() *weir.TorrentInfo { return info }})
	for i := range info.Files {
		if f := &info.Files[i]; !f.Padding && f.Length > 0 {
			if file, err := c.open(i); err == nil {
				st, err := file.Stat()
				_ = file.Close() // nothing was written
				if err == nil && st.Size() == f.Length {
					return true
				}
			}
		}
	}
	return false
}

// begin takes what needs no reading, and returns the other pieces.
func (k *check) begin() (pieces []int) {
	for i := range k.info.NumPieces() {
		there, same := true, k.o.Former != nil && k.o.Former.Pieces.Has(i)
		first, end := k.info.FilesIn(k.info.PieceRange(i))
		for at := first; at < end; at++ {
			f := &k.info.Files[at]
			if f.Padding || f.Length == 0 {
				continue
			}
			stamp, ok := k.state.Stamps[at]
			there = there && ok
			same = same && ok && k.o.Former.Stamps[at] == stamp
		}
		switch {
		case !there:
			k.take(i, false)
		case same:
			k.take(i, !k.o.Former.Missing.Has(i))
		default:
			pieces = append(pieces, i)
		}
	}
	return pieces
}

// take takes note of a piece that was looked at.
func (k *check) take(index int, there bool) {
	k.state.Pieces.set(index)
	if !there {
		k.state.Missing.set(index)
	}
	k.o.Bytes.Add(k.info.PieceRange(index).Len())
}

func (k *check) piece(index int) {
	_, err := k.c.hash(k.info, index, nil, 0)
	if errors.Is(err, errUnknownHash) {
		err = nil // a peer may tell it, and then it is hashed before its first use
	}
	k.mu.Lock()
	k.take(index, err == nil)
	due := k.o.Keep != nil && time.Since(k.kept) > k.o.Every
	if due {
		k.kept = time.Now()
	}
	k.mu.Unlock()
	if due {
		k.keep()
	}
}

// keep has the state kept, one at a time: a later call has a later state.
func (k *check) keep() {
	k.keeping.Lock()
	defer k.keeping.Unlock()
	k.mu.Lock()
	state := k.state.clone()
	k.mu.Unlock()
	k.o.Keep(state)
}

// Incomplete returns the files that lack pieces, by their index.
func (c *Content) Incomplete() []int {
	info := c.opt.Info()
	if info == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var files []int
	for i, n := 0, info.NumPieces(); i < n; i++ {
		if c.has(i) {
			continue
		}
		for at, end := info.FilesIn(info.PieceRange(i)); at < end; at++ {
			if f := &info.Files[at]; !f.Padding && f.Length > 0 && !slices.Contains(files[max(0, len(files)-64):], at) {
				files = append(files, at)
			}
		}
	}
	return files
}
