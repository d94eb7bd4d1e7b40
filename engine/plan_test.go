package engine_test

import (
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TestEnginesThatReadTheSame: of one slow seed each piece is fetched by one of them, and
// passed on. Without that the seed would send a copy to each.
func TestEnginesThatReadTheSame(t *testing.T) {
	const readers, length, pieceLength = 4, 16 << 20, 256 << 10
	c := newContent(t, length, pieceLength)
	seed := openSeeder(t, c, swarmtest.SeederOptions{Link: simnet.Link{BytesPerSec: 2 << 20, RTT: 20 * time.Millisecond}})
	var addrs []string
	var torrents []*engine.Torrent
	for range readers {
		e := openEngine(t, engine.Options{})
		torrents = append(torrents, addTorrent(t, e, specOf(c, addrs...)))
		addrs = append(addrs, portOf(e))
	}
	ctx := testContext(t, time.Minute)
	for i, tor := range torrents { // the readers know each other before they know the seed
		w := tor.NewWant()
		defer w.Close()
		w.Set([]weir.Range{{Off: 0, End: length}})
		for tor.Stats().Peers < readers-1 {
			select {
			case <-ctx.Done():
				t.Fatalf("reader %d has %d peers", i, tor.Stats().Peers)
			case <-time.After(10 * time.Millisecond):
			}
			tor.AddPeers(addrs)
		}
	}
	for _, tor := range torrents {
		tor.AddPeers([]string{seed.Addr()})
	}
	var all sync.WaitGroup
	for _, tor := range torrents {
		all.Go(func() {
			for off := 0; off < length; off += pieceLength {
				wantBytes(t, ctx, tor, c, int64(off), pieceLength)
			}
		})
	}
	all.Wait()
	copies := float64(seed.Counters().PayloadBytes) / length
	t.Logf("the seed sent %.2f copies", copies)
	if copies > 2 {
		t.Errorf("the seed sent %.2f copies to %d readers, want 2 at most", copies, readers)
	}
}
