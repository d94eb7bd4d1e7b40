// Package cache keeps verified pieces on disk, in badger v4, and hands them out
// again: put, view, evict, pin, and be alive after kill -9. What lives here: the
// folder and its lock, the generations (a row of small badger databases of which
// the oldest is dropped whole), the index in memory, the names that share a row,
// the eviction policy (pure, policy.go) and the catalogue (records that eviction
// never touches).
//
// What must not live here: anything that knows about peers, kernels or files of
// a torrent; deciding what to fetch; hashing pieces. The package imports the
// root vocabulary and badger, and none of its siblings.
//
// Lock order: turn (one writer at a time; held over disk writes), then mu (the
// index; never held over I/O). Readers take only mu, for reading, for well below
// a microsecond. Options.Changed is called with neither held; Options.Protect is
// called by whoever has the turn, so it may read from the cache but not write.
package cache
