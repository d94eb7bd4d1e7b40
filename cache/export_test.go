package cache

// Settle waits until no generation is being closed. A test that fills the disk
// calls it first: badger closes through mapped memory, and when somebody takes the
// last of the disk within those milliseconds, that is a fault which nobody can
// catch (docs/decisions/0002-cache-generations.md).
func (c *Cache) Settle() {
	<-c.sealing
	c.sealing <- struct{}{}
}

// SearchPrints is search over bare prints, and where it should lead.
func SearchPrints(prints []uint32, want uint32) (got, exp int) {
	byPrint := make(map[uint32]uint32)
	for i, p := range prints {
		byPrint[p] = uint32(i)
	}
	sorted := sortPrints(byPrint)
	for _, p := range sorted {
		if p.print() < want {
			exp++
		}
	}
	return search(sorted, want), exp
}
