// Package catalogue keeps from one run of weir to the next what the mount shows: torrents,
// with everything that is needed to show them again, and sorting folders. It is stored in the
// cache's records. What is shown now is not its business: its callers know.
package catalogue

import (
	"bytes"
	"errors"
	"log/slog"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
)

// Catalogue is the catalogue of one mount. It is safe for concurrent use.
type Catalogue struct {
	cache     *cache.Cache
	ephemeral bool
	writing   chan struct{} // full while a record is written
}

// New returns the catalogue in a cache. An ephemeral one is empty and stays so.
func New(c *cache.Cache, ephemeral bool) *Catalogue {
	return &Catalogue{cache: c, ephemeral: ephemeral, writing: make(chan struct{}, 1)}
}

// lock keeps others from writing. It takes no context: what is shown must be recorded, even
// if the program that caused it was interrupted.
func (c *Catalogue) lock() (unlock func()) {
	c.writing <- struct{}{}
	return func() { <-c.writing }
}

// SyncTorrent sets the record of a torrent to what now returns; nil removes it. Call it after each change, in any order: now is called when no other record
// is being written, so the last to write has seen the last change.
func (c *Catalogue) SyncTorrent(ih weir.InfoHash, now func() (*Record, error)) error {
	if c.ephemeral {
		return nil
	}
	defer c.lock()()
	r, err := now()
	if err != nil {
		return err
	}
	if r == nil {
		return c.cache.DeleteRecord(torrentsBucket, ih[:])
	}
	b, err := r.encode()
	if err != nil {
		return err
	}
	return c.cache.PutRecord(torrentsBucket, ih[:], b)
}

// SyncFolder does so for a folder, "" for the root: now returns its mtime, and whether it
// exists. The zero time leaves the record as it is.
func (c *Catalogue) SyncFolder(dir string, now func() (changed time.Time, there bool)) error {
	if c.ephemeral {
		return nil
	}
	defer c.lock()()
	changed, there := now()
	switch {
	case !there:
		return c.cache.DeleteRecord(foldersBucket, folderKey(dir))
	case changed.IsZero():
		return nil
	}
	return c.cache.PutRecord(foldersBucket, folderKey(dir), []byte(changed.UTC().Format(time.RFC3339Nano)))
}

// Drop removes the metadata of a torrent, and what the cache holds of its n pieces,
// pinned or not; unless shown says that it was added again meanwhile.
func (c *Catalogue) Drop(ih weir.InfoHash, n int, shown func() bool) error {
	defer c.lock()()
	if shown() {
		return nil
	}
	var errs []error
	if n > 0 {
		errs = append(errs, c.cache.Unpin(ih, 0, n), c.cache.Evict(ih, c.cache.Numbers(ih)))
	}
	return errors.Join(append(errs, c.cache.DeleteRecord(engine.MetadataBucket, ih[:]), dropLayers(c.cache, ih))...)
}

// Contents are everything in a catalogue.
type Contents struct {
	Folders  []string             // to sort torrents into
	Changed  map[string]time.Time // mtimes of folders
	Torrents []Torrent
}

// Torrent is one torrent of a catalogue.
type Torrent struct {
	InfoHash weir.InfoHash
	Record   Record
}

// Read returns all valid records, and logs the others.
func (c *Catalogue) Read(log *slog.Logger) (Contents, error) {
	all := Contents{Changed: map[string]time.Time{}}
	if c.ephemeral {
		return all, nil
	}
	err := c.cache.EachRecord(foldersBucket, func(key, value []byte) error {
		dir := string(key)
		if dir == rootKey {
			dir = ""
		} else {
			all.Folders = append(all.Folders, dir)
		}
		if at, err := time.Parse(time.RFC3339Nano, string(value)); err == nil { // a folder without one gets a new time
			all.Changed[dir] = at
		}
		return nil
	})
	if err != nil {
		return Contents{}, err
	}
	err = c.cache.EachRecord(torrentsBucket, func(key, value []byte) error {
		ih, rec, err := parse(key, value)
		if err != nil {
			log.Warn("a torrent of the catalogue is left out", "err", err)
			return nil
		}
		all.Torrents = append(all.Torrents, Torrent{ih, rec})
		return nil
	})
	return all, err
}

// folderKey is the key of a folder in foldersBucket.
func folderKey(dir string) []byte {
	if dir == "" {
		return []byte(rootKey)
	}
	return []byte(dir)
}

// dropLayers removes the piece layers that the engine kept of a v2 torrent: their
// keys begin with its info hash.
func dropLayers(c *cache.Cache, ih weir.InfoHash) error {
	return c.EachRecord(engine.LayersBucket, func(key, _ []byte) error {
		if !bytes.HasPrefix(key, ih[:]) {
			return nil
		}
		return c.DeleteRecord(engine.LayersBucket, key)
	})
}
