package cache

import (
	"fmt"

	"github.com/weirfs/weir"
)

// Settle waits until nothing is sealed and nothing is removed in the background.
func (c *Cache) Settle() {
	c.writer.waitSealed()
	c.writer.waitRemoved()
}

// Writing returns the file names of the segments that are being written.
func (c *Cache) Writing() (names []string) {
	c.held.mu.RLock()
	defer c.held.mu.RUnlock()
	for _, v := range c.held.volumes {
		if !v.sealed {
			names = append(names, fmt.Sprintf("%010d-%c", v.Seq, v.Class))
		}
	}
	return names
}

// Synced reports whether a piece is held in a segment that is sealed.
func (c *Cache) Synced(id weir.PieceID) bool {
	c.held.mu.RLock()
	defer c.held.mu.RUnlock()
	s := c.held.at(id)
	return s != nil && s.in.sealed
}
