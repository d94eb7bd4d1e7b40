package cache

import (
	"fmt"

	"github.com/weirfs/weir"
)

// Settle waits until nothing is sealed and nothing is removed in the background.
func (c *Cache) Settle() {
	wait(&c.writer.sealing)
	wait(&c.writer.removal)
}

// Writing returns the file names of the segments that are being written.
func (c *Cache) Writing() (names []string) {
	c.held.mu.RLock()
	defer c.held.mu.RUnlock()
	for _, v := range c.held.volumes {
		if !v.sealed {
			names = append(names, fileName(v))
		}
	}
	return names
}

// DropOne drops the segment that is next, as a put does that needs its room, and
// waits until its file is gone.
func (c *Cache) DropOne() bool {
	w := &c.writer
	if w.acquire() != nil {
		return false
	}
	defer w.release()
	ok := w.dropOne(hotHalf, true)
	wait(&w.removal)
	return ok
}

// OnDisk returns how much of each segment outlives a power loss, by the names of
// their files, and whether all of the database does.
func (c *Cache) OnDisk() (segments map[string]int64, database bool) {
	segments = make(map[string]int64)
	c.held.mu.RLock()
	defer c.held.mu.RUnlock()
	for _, v := range c.held.volumes {
		segments[fileName(v)] = v.Synced.Load()
	}
	return segments, !c.db.Unsynced.Load()
}

func fileName(v *volume) string { return fmt.Sprintf("%010d-%c", v.Seq, v.Class) }

// Synced reports whether a piece is held in a segment that is sealed.
func (c *Cache) Synced(id weir.PieceID) bool {
	c.held.mu.RLock()
	defer c.held.mu.RUnlock()
	s := c.held.at(id)
	return s != nil && s.in.sealed
}
