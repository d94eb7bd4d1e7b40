// Package swarmtest is a whole BitTorrent swarm inside one process, for tests,
// the demo and benchmarks: made-up content of any size, seeders with chosen
// links and chosen faults, an HTTP tracker, and a small leech that checks what a peer
// uploads. Package simnet slows the connections down.
//
// The protocol is implemented here a second time, from the BEPs (3, 6, 7, 9,
// 10, 23, 47, 52) and not from weir's engine: framing, handshakes and bencoding
// are this package's own, so that tests notice if the engine misreads a BEP. For the
// same reason nothing in here may import engine or engine/source. The demo uses the
// package, so only its tests may import testing.
//
// Everything listens on loopback, or in simulated time at a simnet.Host. Seeders have
// the addresses 127.0.0.2, 127.0.0.3, …, because clients ban and rate peers by address.
//
//	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
//		Name:        "sample",
//		PieceLength: 1 << 20,
//		Files: []swarmtest.File{
//			{Path: []string{"film", "film.mkv"}, Length: 1 << 30, Seed: 1},
//			{Path: []string{"README"}, Bytes: []byte("hello")},
//		},
//	})
//	// …
//	s := swarmtest.New(t, swarmtest.Options{
//		Contents: []*swarmtest.Content{c},
//		Seeders:  4,
//		Link:     simnet.Link{RTT: 50 * time.Millisecond, BytesPerSec: 12_500_000},
//	})
//	s.Seeder(3).SetFaults(swarmtest.Faults{FreezeAfter: 8 << 20})
//	torrent := s.Torrent(c) // the bytes of a .torrent that names the tracker
//	// … read it with weir …
//	totals, err := s.Settle(ctx, 200*time.Millisecond)
//	// totals.PayloadBytes is what the seeders sent; c.ReadAt is the truth.
package swarmtest

// TB is the part of testing.TB that the kit needs, so that programs can use it
// without importing testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}
