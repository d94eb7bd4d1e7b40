package cache

// Settle waits until no generation is being closed. A test that fills the disk
// calls it first: badger closes through mapped memory, and when somebody takes the
// last of the disk within those milliseconds, that is a fault which nobody can
// catch (docs/decisions/0002-cache-generations.md).
func (c *Cache) Settle() {
	<-c.sealing
	c.sealing <- struct{}{}
}
