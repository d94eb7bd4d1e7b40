package reader_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

// simKernel stands for what lies between a program and the mount: a page cache
// and Linux's read-ahead with read_ahead_kb=1024, which asks for 128 KiB at most
// at a time, several at once and out of order (recorded from real programs on
// Linux 6.18, of which it is a model).
type simKernel struct {
	tb      testing.TB
	swarm   *simSwarm
	torrent *reader.Torrent
	budget  *reader.Budget
	rng     *rand.Rand

	mu      sync.Mutex
	opens   int
	caches  map[int]*simPages // by file
	slowest time.Duration     // of a program's reads
	stalled time.Duration     // that programs have waited in all
	began   time.Time
	late    time.Duration // the slowest after the first second
}

// simStep separates events that would happen at one moment of simulated time, whose order
// the scheduler would choose anew in each run. No two of some hundred open files have the
// same delay.
const simStep = 2 * time.Microsecond

const (
	page           = 4096
	readAheadPages = 1 << 20 / page
	requestPages   = 128 << 10 / page
)

// simPages is the page cache of one file.
type simPages struct {
	mu    sync.Mutex
	ready sync.Cond
	state []uint8 // per page
}

const (
	absent uint8 = iota
	requested
	loaded
)

// simFile is a file that a program has open.
type simFile struct {
	k     *simKernel
	h     *reader.Handle
	size  int64
	cache *simPages
	flown sync.WaitGroup // requests
	step  time.Duration  // what the kernel takes for a request, and to wake the program

	// Read-ahead, in pages, as in the kernel's struct file_ra_state.
	start, pages, async int
	last                int // page of the last read's end
}

const mbitPerSec = 1e6 / 8

func newSimKernel(tb testing.TB, info *weir.TorrentInfo, rate float64, rtt time.Duration) *simKernel {
	k := &simKernel{tb: tb, swarm: newSimSwarm(tb, info, rate, rtt), budget: reader.NewBudget(0), rng: rand.New(rand.NewPCG(5, 5)), caches: map[int]*simPages{}, began: time.Now()}
	k.torrent = reader.NewTorrent(k.swarm, k.swarm, k.budget)
	tb.Cleanup(k.torrent.Close)
	return k
}

func (k *simKernel) open(file int) *simFile {
	h, err := k.torrent.Open(k.swarm.info, file, reader.Full)
	if err != nil {
		k.tb.Fatal(err)
	}
	f := &simFile{k: k, h: h, size: k.swarm.info.Files[file].Length, last: -1}
	k.mu.Lock()
	defer k.mu.Unlock()
	f.step = simStep + time.Duration(k.opens%1000)
	k.opens++
	if f.cache = k.caches[file]; f.cache == nil {
		f.cache = &simPages{state: make([]uint8, (f.size+page-1)/page)}
		f.cache.ready.L = &f.cache.mu
		k.caches[file] = f.cache
	}
	return f
}

func (f *simFile) close() {
	f.flown.Wait()
	if err := f.h.Close(); err != nil {
		f.k.tb.Error(err)
	}
}

// read is a program's pread. It returns when all bytes are there.
func (f *simFile) read(off, n int64) {
	n = min(n, f.size-off)
	if n <= 0 {
		return
	}
	began := time.Now()
	first, end := int(off/page), int((off+n+page-1)/page)
	for i := first; i < end; i++ {
		f.cache.mu.Lock()
		state := f.cache.state[i]
		f.cache.mu.Unlock()
		if state == absent {
			f.syncAhead(i, end-i)
		} else if f.pages > 0 && f.async > 0 && i == f.start+f.pages-f.async {
			f.ramp()
		}
		f.await(i)
	}
	f.last = end - 1
	f.k.account(time.Now(), time.Since(began))
}

// fetched returns what has arrived, with what the windows of the last moment bring
// after the reader has stopped.
func (k *simKernel) fetched() int64 {
	time.Sleep(5 * time.Second)
	k.swarm.mu.Lock()
	defer k.swarm.mu.Unlock()
	return k.swarm.fetched
}

// listed returns the files in the order of their paths.
func listed(info *weir.TorrentInfo) []int {
	order := make([]int, len(info.Files))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return slices.Compare(info.Files[a].Path, info.Files[b].Path) })
	return order
}

func (k *simKernel) account(now time.Time, d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slowest = max(k.slowest, d)
	k.stalled += d
	if now.Sub(k.began)-d > time.Second {
		k.late = max(k.late, d)
	}
}

// touch is a fault on a mapped page: the kernel reads around it.
func (f *simFile) touch(off int64) {
	i := int(off / page)
	f.cache.mu.Lock()
	state := f.cache.state[i]
	f.cache.mu.Unlock()
	began := time.Now()
	if state == absent {
		f.fetch(max(0, i-readAheadPages/2), readAheadPages)
	}
	f.await(i)
	f.k.account(time.Now(), time.Since(began))
}

// await returns when page i is here.
func (f *simFile) await(i int) {
	f.cache.mu.Lock()
	waited := f.cache.state[i] != loaded
	for f.cache.state[i] != loaded {
		f.cache.ready.Wait()
	}
	f.cache.mu.Unlock()
	if waited {
		time.Sleep(f.step)
	}
}

// syncAhead is page_cache_sync_ra: page i is missing, of so many wanted.
func (f *simFile) syncAhead(i, wanted int) {
	switch {
	case i == 0 || i == f.last || i == f.last+1 || wanted > readAheadPages:
		f.start, f.pages = i, firstPages(wanted)
		if f.async = f.pages - wanted; f.async <= 0 {
			f.async = f.pages
		}
		f.fetch(f.start, f.pages)
	case f.pages > 0 && i == f.start+f.pages:
		f.ramp()
	default:
		f.fetch(i, wanted)
	}
}

// ramp reads the next window ahead, larger than the last.
func (f *simFile) ramp() {
	f.start += f.pages
	switch {
	case f.pages < readAheadPages/16:
		f.pages *= 4
	case f.pages <= readAheadPages/2:
		f.pages *= 2
	default:
		f.pages = readAheadPages
	}
	f.async = f.pages
	f.fetch(f.start, f.pages)
}

func firstPages(wanted int) int {
	n := 1
	for n < wanted {
		n *= 2
	}
	switch {
	case n <= readAheadPages/32:
		return n * 4
	case n <= readAheadPages/4:
		return n * 2
	}
	return readAheadPages
}

// fetch asks the mount for the missing pages of n from i on.
func (f *simFile) fetch(i, n int) {
	var requests []weir.Range
	f.cache.mu.Lock()
	for end := min(i+n, len(f.cache.state)); i < end; {
		if f.cache.state[i] != absent {
			i++
			continue
		}
		from := i
		for i < end && f.cache.state[i] == absent && i-from < requestPages {
			f.cache.state[i] = requested
			i++
		}
		requests = append(requests, weir.Range{Off: int64(from) * page, End: min(int64(i)*page, f.size)})
	}
	f.cache.mu.Unlock()
	f.k.mu.Lock()
	for i := range requests { // a few loops take them, none of them in a hurry
		if j := i + f.k.rng.IntN(4); j < len(requests) {
			requests[i], requests[j] = requests[j], requests[i]
		}
	}
	f.k.mu.Unlock()
	for _, r := range requests {
		f.request(r)
	}
}

func (f *simFile) request(r weir.Range) {
	n := int(r.Len())
	miss, err := f.h.View(r.Off, n, func([]byte) {})
	if err != nil {
		f.k.tb.Error(err)
	}
	if miss == nil {
		f.arrived(r)
		return
	}
	f.flown.Go(func() {
		if err := f.h.Fetch(context.Background(), miss, make([]byte, n)); err != nil {
			f.k.tb.Error(err)
		}
		f.arrived(r)
	})
	time.Sleep(f.step) // until it waits
}

func (f *simFile) arrived(r weir.Range) {
	f.cache.mu.Lock()
	for i := r.Off / page; i < (r.End+page-1)/page; i++ {
		f.cache.state[i] = loaded
	}
	f.cache.mu.Unlock()
	f.cache.ready.Broadcast()
}
