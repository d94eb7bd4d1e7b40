package engine_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// flashCrowd are engines in simulated time that read the same from one seed, each from the
// beginning, in reads of 128 KiB of which eight wait at a time, as the kernel asks.
type flashCrowd struct {
	readers     int
	length      int64
	pieceLength int64
	apart       time.Duration // between the arrivals of two
	link        simnet.Link   // of each reader
	seed        simnet.Link
}

// flashCrowdResult is how long the slowest took from its arrival, and how often the seed sent
// the whole.
type flashCrowdResult struct {
	slowest time.Duration
	copies  float64
}

func (c flashCrowd) run(t *testing.T) (o flashCrowdResult) {
	t.Helper()
	content, err := swarmtest.NewContent(swarmtest.ContentOptions{Name: "same", Files: []swarmtest.File{{Path: []string{"same"}, Length: c.length}}, PieceLength: c.pieceLength})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var net simnet.Network
		seeder, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{
			Host: net.Host(netip.MustParseAddr("45.0.0.1"), c.seed), Addr: ":6881", Contents: []*swarmtest.Content{content},
		})
		if err != nil {
			t.Fatal(err)
		}
		addrs := []string{seeder.Addr()}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range c.readers {
			time.Sleep(c.apart)
			host := net.Host(netip.AddrFrom4([4]byte{44, 0, byte(i / 250), byte(i%250 + 1)}), c.link)
			e := engine.New(engine.Options{Store: newMemStore(), Network: host, Listen: ":6881"})
			if err := e.Open(); err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			tor, err := e.Add(specOf(content, addrs...))
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, fmt.Sprintf("%v:6881", host.Addr()))
			all.Go(func() {
				begin := time.Now()
				readInOrder(t, tor, content, c.length)
				mu.Lock()
				defer mu.Unlock()
				o.slowest = max(o.slowest, time.Since(begin))
			})
		}
		all.Wait()
		o.copies = float64(seeder.Counters().PayloadBytes) / float64(c.length)
		_ = seeder.Close()
	})
	return o
}

// readInOrder reads in order, with a window ahead.
func readInOrder(t *testing.T, tor *engine.Torrent, content *swarmtest.Content, length int64) {
	const read, waiting, ahead = 128 << 10, 8, 32 << 20
	w := tor.NewWant()
	defer w.Close()
	for off := int64(0); off < length; off += read * waiting {
		w.Set([]weir.Range{{Off: off, End: min(off+min(ahead, 2<<20+2*off), length)}})
		var reads sync.WaitGroup
		for i := range int64(waiting) {
			if off+i*read < length {
				reads.Go(func() { wantBytes(t, t.Context(), tor, content, off+i*read, int(min(read, length-off-i*read))) })
			}
		}
		reads.Wait()
	}
}

// TestCrowd: engines that arrive one after another and read the same take little longer than
// one alone, and the seed sends little more than one copy.
func TestCrowd(t *testing.T) {
	near := flashCrowd{
		readers: 8, length: 16 << 20, pieceLength: 512 << 10, apart: 30 * time.Millisecond,
		link: simnet.Link{RTT: 2 * time.Millisecond, BytesPerSec: 125_000_000}, seed: simnet.Link{RTT: 48 * time.Millisecond, BytesPerSec: 3_000_000},
	}
	one := near
	one.readers = 1
	alone, all := one.run(t), near.run(t)
	t.Logf("alone %.1f s, the slowest of %d %.1f s: %.2f of it; %.2f copies", alone.slowest.Seconds(), near.readers, all.slowest.Seconds(), all.slowest.Seconds()/alone.slowest.Seconds(), all.copies)
	if all.slowest > alone.slowest*5/4 || all.copies > 1.3 {
		t.Errorf("the slowest took %v, want %v at most; %.2f copies, want 1.3", all.slowest, alone.slowest*5/4, all.copies)
	}
}
