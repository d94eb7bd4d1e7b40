package cache

// Settle waits until nothing is sealed and nothing is removed in the background.
func (c *Cache) Settle() {
	c.writer.waitSealed()
	c.writer.waitRemoved()
}
