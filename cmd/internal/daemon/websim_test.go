package daemon

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
	"github.com/weirfs/weir/reader"
)

// memCache is a cache in memory.
type memCache struct {
	mu     sync.Mutex
	pieces map[weir.PieceID][]byte
}

var (
	_ engine.Store = (*memCache)(nil)
	_ reader.Cache = (*memCache)(nil)
)

func (m *memCache) piece(id weir.PieceID) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.pieces[id]
	return b, ok
}

func (m *memCache) Put(id weir.PieceID, blocks [][]byte) error {
	b := bytes.Join(blocks, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pieces[id] = b
	return nil
}

func (m *memCache) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	b, ok := m.piece(id)
	if ok {
		copy(p, b[off:])
	}
	return ok, nil
}

func (m *memCache) View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error) {
	b, ok := m.piece(id)
	if ok {
		use(b[off:][:n])
	}
	return ok, nil
}

func (m *memCache) Has(id weir.PieceID) bool {
	_, ok := m.piece(id)
	return ok
}

func (m *memCache) Held(ih weir.InfoHash, n int) []bool {
	held := make([]bool, n)
	for i := range held {
		held[i] = m.Has(weir.PieceID{Torrent: ih, Index: i})
	}
	return held
}

func (m *memCache) PutRecord(string, []byte, []byte) error { return nil }

func (m *memCache) Record(string, []byte) ([]byte, error) { return nil, weir.ErrNotFound }

// webSwarm is a torrent in pieces of 2 MiB on a simulated network: a web seed of 20 MB/s
// and peers of 5 MB/s, 50 ms away.
type webSwarm struct {
	content *swarmtest.Content
	peers   int
	think   time.Duration // before the web server answers
}

// read reads so many bytes from the beginning through reader and engine, and returns how
// long that took. It must be called in a bubble.
func (w *webSwarm) read(t *testing.T, size int64) time.Duration {
	const rtt = 50 * time.Millisecond
	var net simnet.Network
	var peers []string
	for i := range w.peers {
		s, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{
			Host: net.Host(netip.AddrFrom4([4]byte{45, 0, 0, byte(i + 1)}), simnet.Link{RTT: rtt, BytesPerSec: 5_000_000}), Addr: ":0",
			Contents: []*swarmtest.Content{w.content},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		peers = append(peers, s.Addr())
	}
	l, err := net.Host(netip.MustParseAddr("46.0.0.1"), simnet.Link{RTT: rtt, BytesPerSec: 20_000_000, QueueBytes: 400_000}).Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(w.think)
		http.ServeContent(rw, r, "", time.Time{}, w.content.FileReader(0))
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // until Close
	}()
	defer func() {
		server.Close()
		<-ended
		time.Sleep(time.Second) // for those who sleep in a handler
	}()
	store := &memCache{pieces: map[weir.PieceID][]byte{}}
	e := engine.New(engine.Options{
		Store: store, Network: net.Host(netip.MustParseAddr("44.0.0.1"), simnet.Link{}), Listen: "off", WebSeeds: true, AllowPrivate: true,
	})
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	spec, err := source.ParseTorrent(w.content.Torrent(swarmtest.Hints{WebSeeds: []string{"http://46.0.0.1/"}}))
	if err != nil {
		t.Fatal(err)
	}
	spec.Peers = peers
	tor, err := e.Add(spec)
	if err != nil {
		t.Fatal(err)
	}
	files := reader.NewTorrent(store, swarm{tor}, reader.NewBudget(0))
	defer files.Close()
	f, err := files.Open(w.content.Info(), 0, reader.Full)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begin := time.Now()
	p := make([]byte, 128<<10)
	for off := int64(0); off < size; off += int64(len(p)) {
		miss, err := f.View(off, len(p), func([]byte) {})
		if err == nil && miss != nil {
			err = f.Fetch(t.Context(), miss, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(begin)
}

// TestReadFromWeb reads a file in order from a web seed, alone and beside peers, in
// simulated time: what the reader wants ahead, whom the engine asks, and HTTP. It has to be
// near what the lines can give together; the rest is the beginning.
func TestReadFromWeb(t *testing.T) {
	const size = 96 << 20
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "file", Single: true, PieceLength: 2 << 20, Files: []swarmtest.File{{Path: []string{"file"}, Length: 2 * size, Seed: 5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		webSwarm
		least float64 // of the sum of the lines
	}{
		{webSwarm{c, 0, 0}, 0.93},
		{webSwarm{c, 4, 0}, 0.78},
		{webSwarm{c, 4, 50 * time.Millisecond}, 0.74},
	} {
		t.Run(fmt.Sprintf("peers=%d,think=%v", tt.peers, tt.think), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := tt.read(t, size)
				if share := size / took.Seconds() / float64(20e6+5e6*tt.peers); share < tt.least {
					t.Errorf("%.2f of what the lines give, want %.2f at least", share, tt.least)
				} else {
					t.Logf("%.2f of what the lines give", share)
				}
			})
		})
	}
}
