package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// Somebody may remove the cache folder while it is in use (rm -rf), move it away, or
// put another in its place. What is open can be read on, but badger tries for ever
// to write what it has in memory to files in folders that are not there, and never
// closes. So nothing more is written then, and what is open is left as it is.

// errGone is why a database is not closed in good order.
var errGone = errors.New("its folder is gone")

// home is a folder or a file that was at its path once.
type home struct {
	path string
	info fs.FileInfo // nil: it is not known what was there
}

func homeAt(path string) home {
	info, err := os.Stat(path)
	if err != nil {
		info = nil
	}
	return home{path, info}
}

// gone reports whether it is there no more, or something else is.
func (h home) gone() bool {
	if h.info == nil {
		return false
	}
	info, err := os.Stat(h.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, h.info)
}

// lookEvery is how often a database that is being closed is looked after.
const lookEvery = 50 * time.Millisecond

// closeAt closes a database in a folder. When that goes, it returns errGone and
// leaves badger to the end of the process.
func closeAt(at home, db *badger.DB) error {
	if at.gone() {
		return errGone
	}
	done := make(chan error, 1)
	go func() { done <- guard(db.Close) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if at.gone() {
				return errGone
			}
		}
	}
}

// lost reports whether the folder is gone, and says so once.
func (c *Cache) lost() bool {
	if c.isLost.Load() {
		return true
	}
	for _, h := range c.homes {
		if h.gone() {
			if !c.isLost.Swap(true) {
				c.log.Error("the cache folder was removed: nothing more is kept there, and what is fetched is served from memory; unmount and mount again to have a cache", "dir", c.folder.dir)
			}
			return true
		}
	}
	return false
}

// lostError is what writing fails with then.
func (c *Cache) lostError() error {
	return fmt.Errorf("the cache folder %s was removed: %w", c.folder.dir, weir.ErrNoSpace)
}
