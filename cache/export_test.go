package cache

import "bytes"

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

// Ahead tells of the logs that are being written.
func (c *Cache) Ahead() (logs []AheadLog) {
	<-c.turn
	defer func() { c.turn <- struct{}{} }()
	for _, g := range c.active {
		if g == nil {
			continue
		}
		_ = g.awaitAhead()
		dirty := int(g.alloc-g.next) - bytes.Count(g.log[g.next:g.alloc], []byte{0})
		logs = append(logs, AheadLog{g.next, g.ahead.made, g.alloc, g.ahead.mapped.bytes >= g.cap, dirty})
	}
	return logs
}

// AheadLog is one of them: where its rows end, its zeros, and what is reserved;
// whether badger's map of it was found; how many bytes behind the rows are not zero.
type AheadLog struct {
	Rows, Made, Reserved int64
	Mapped               bool
	Dirty                int
}
