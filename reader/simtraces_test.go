package reader_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// oneFile is a torrent of a single file.
func oneFile(length, pieceLength int64) *weir.TorrentInfo {
	return manyFiles(1, length, pieceLength)
}

// manyFiles are n files of one length, in folders of a hundred.
func manyFiles(n int, length, pieceLength int64) *weir.TorrentInfo {
	info := &weir.TorrentInfo{PieceLength: pieceLength, Length: int64(n) * length}
	for i := range n {
		info.Files = append(info.Files, weir.FileInfo{
			Path: []string{fmt.Sprintf("d%04d", i/100), fmt.Sprintf("f%06d", i)}, Offset: int64(i) * length, Length: length,
		})
	}
	return info
}

// shuffled are the same files, lying in the torrent in another order than they
// are listed.
func shuffled(n int, length, pieceLength int64) *weir.TorrentInfo {
	info := manyFiles(n, length, pieceLength)
	for i, j := range rand.New(rand.NewPCG(3, 3)).Perm(n) {
		info.Files[i].Path = []string{fmt.Sprintf("f%06d", j)}
	}
	return info
}

// alignedFiles are n files of one length, in folders of a hundred, each of which
// begins with a piece: what lies between is padding.
func alignedFiles(n int, length, pieceLength int64) *weir.TorrentInfo {
	info := &weir.TorrentInfo{PieceLength: pieceLength, Padded: true}
	for i := range n {
		if over := info.Length % pieceLength; over != 0 {
			info.Files = append(info.Files, weir.FileInfo{Path: []string{".pad", fmt.Sprint(i)}, Offset: info.Length, Length: pieceLength - over, Padding: true})
			info.Length += pieceLength - over
		}
		info.Files = append(info.Files, weir.FileInfo{Path: []string{fmt.Sprintf("d%04d", i/100), fmt.Sprintf("f%06d", i)}, Offset: info.Length, Length: length})
		info.Length += length
	}
	return info
}

// copyAll reads all files one after another, as cp -r does.
func copyAll(k *simKernel) {
	for i := range k.swarm.info.Files {
		if k.swarm.info.Files[i].Padding {
			continue
		}
		f := k.open(i)
		sequential(f, 0, f.size, 128*kib)
		f.close()
	}
}

// trace is what a program does, and the bounds that hold for it.
type trace struct {
	name  string
	info  *weir.TorrentInfo
	rate  float64 // of the link; 4 × 5 MB/s if nothing is said
	run   func(k *simKernel)
	most  time.Duration // in all
	stall time.Duration // of one read, at most
	late  time.Duration // of one read after the first second, at most
	link  float64       // the share of the link that what was needed took, at least
	waste int64         // bytes fetched beyond the pieces that were read, at most
	bytes int64         // bytes fetched, at most
}

// sequential reads a file like cat, with a buffer.
func sequential(f *simFile, from, to, buffer int64) {
	for off := from; off < to; off += buffer {
		f.read(off, min(buffer, to-off))
	}
}

// moovAtEnd is how ffprobe reads an MP4 whose index of n bytes is at the end.
func moovAtEnd(f *simFile, n int64) {
	f.read(0, 32*kib)
	sequential(f, f.size-n, f.size, 32*kib)
	sequential(f, 32*kib, 384*kib, 32*kib)
}

// play reads at 25 Mbit/s for a while, a second's worth of buffer at full speed
// first, and returns where it stopped.
func play(f *simFile, from int64, d time.Duration) int64 {
	off := from
	const chunk = 64 << 10
	for ; off < from+25*mbitPerSec; off += chunk {
		f.read(off, chunk)
	}
	for end := time.Now().Add(d); time.Now().Before(end) && off < f.size; off += chunk {
		time.Sleep(time.Second * chunk / (25 * mbitPerSec))
		f.read(off, chunk)
	}
	return off
}

func traces() []trace {
	const film = 385_000_000
	return []trace{
		{name: "Cat", info: oneFile(200*mib, 4*mib), link: 0.95, run: func(k *simKernel) {
			f := k.open(0)
			sequential(f, 0, f.size, 128*kib)
			f.close()
		}},
		{name: "CatSmallPieces", info: oneFile(100*mib, 64*kib), link: 0.95, run: func(k *simKernel) {
			f := k.open(0)
			sequential(f, 0, f.size, 128*kib)
			f.close()
		}},
		{name: "CatLargePieces", info: oneFile(512*mib, 64*mib), link: 0.90, run: func(k *simKernel) {
			f := k.open(0)
			sequential(f, 0, f.size, 128*kib)
			f.close()
		}},
		{name: "CatFastLink", info: oneFile(1024*mib, 4*mib), rate: 200e6, link: 0.90, run: func(k *simKernel) {
			f := k.open(0)
			sequential(f, 0, f.size, 128*kib)
			f.close()
		}},
		{name: "HeadOf4096", info: oneFile(400*mib, mib), bytes: mib, run: func(k *simKernel) {
			f := k.open(0)
			f.read(0, 4096)
			f.close()
		}},
		{name: "TarOfSmallFiles", info: manyFiles(10_000, 64*kib, mib), link: 0.95, run: func(k *simKernel) {
			for i := range k.swarm.info.Files {
				f := k.open(i)
				sequential(f, 0, f.size, 32*kib)
				f.close()
				time.Sleep(200 * time.Microsecond)
			}
		}},
		{name: "TarOfSmallFilesLargePieces", info: manyFiles(10_000, 64*kib, 16*mib), link: 0.90, run: func(k *simKernel) {
			for i := range k.swarm.info.Files {
				f := k.open(i)
				sequential(f, 0, f.size, 32*kib)
				f.close()
			}
		}},
		{name: "CopyOfLargeFiles", info: manyFiles(8, 30*mib+12345, mib), link: 0.95, run: func(k *simKernel) {
			for i := range k.swarm.info.Files {
				f := k.open(i)
				sequential(f, 0, f.size, 128*kib)
				f.close()
			}
		}},
		{name: "LoaderWithEightWorkers", info: manyFiles(3_000, 100*kib, mib), link: 0.90, run: func(k *simKernel) {
			var mu sync.Mutex
			var workers sync.WaitGroup
			next := 0
			for worker := range 8 {
				workers.Go(func() {
					time.Sleep(time.Duration(worker) * 10 * time.Microsecond)
					for {
						mu.Lock()
						i := next
						next++
						mu.Unlock()
						if i >= len(k.swarm.info.Files) {
							return
						}
						f := k.open(i)
						sequential(f, 0, f.size, 128*kib)
						f.close()
						time.Sleep(5 * time.Millisecond)
					}
				})
			}
			workers.Wait()
		}},
		{name: "ListedOrder", info: shuffled(600, 512*kib, 512*kib), link: 0.85, run: func(k *simKernel) {
			for _, i := range listed(k.swarm.info) {
				f := k.open(i)
				sequential(f, 0, f.size, 128*kib)
				f.close()
			}
		}},
		{name: "HeadsOfLargeFiles", info: manyFiles(50, 40*mib, mib), waste: 2 * mib, run: func(k *simKernel) {
			for i := range k.swarm.info.Files {
				f := k.open(i)
				f.read(0, 4096)
				f.close()
			}
		}},
		{name: "FfprobeMoovAtEnd", info: oneFile(film, mib), most: 900 * time.Millisecond, bytes: 4_000_000, run: func(k *simKernel) {
			f := k.open(0)
			moovAtEnd(f, 600*kib)
			f.close()
		}},
		{name: "FfprobeFaststart", info: oneFile(film, mib), most: 700 * time.Millisecond, bytes: 4 * mib, run: func(k *simKernel) { // three of them the kernel's own read-ahead
			f := k.open(0)
			sequential(f, 0, mib, 32*kib)
			f.close()
		}},
		{name: "FfprobeMkvCuesAtEnd", info: oneFile(film, mib), most: 700 * time.Millisecond, bytes: 4_000_000, run: func(k *simKernel) {
			f := k.open(0)
			sequential(f, 0, 300*kib, 32*kib)
			f.read(film-40*kib, 40*kib)
			sequential(f, 300*kib, 400*kib, 32*kib)
			f.close()
		}},
		{name: "FrameAt80Percent", info: oneFile(film, mib), bytes: 6_000_000 + 4_000_000, stall: 500 * time.Millisecond, run: func(k *simKernel) {
			f := k.open(0)
			moovAtEnd(f, 600*kib)
			f.close()
			f = k.open(0)
			moovAtEnd(f, 600*kib)
			sequential(f, film/10*8, film/10*8+mib, 32*kib)
			f.close()
		}},
		{name: "PlayWithSeeks", info: oneFile(film, mib), stall: 600 * time.Millisecond, waste: 4 * 16 * mib, run: func(k *simKernel) {
			f := k.open(0)
			moovAtEnd(f, 600*kib)
			for _, at := range []int64{0, film / 2, film / 4, film / 10 * 8} {
				play(f, at, 8*time.Second)
			}
			f.close()
		}},
		{name: "PlayLargePieces", info: oneFile(film, 16*mib), late: 100 * time.Millisecond, run: func(k *simKernel) {
			f := k.open(0)
			play(f, 0, 40*time.Second)
			f.close()
		}},
		{name: "PlayOnNarrowLink", info: oneFile(film, 2*mib), rate: 30 * mbitPerSec, late: 400 * time.Millisecond, run: func(k *simKernel) {
			f := k.open(0)
			play(f, 0, 60*time.Second)
			f.close()
		}},
		{name: "UnzipList", info: oneFile(300*mib, mib), waste: mib, run: func(k *simKernel) {
			f := k.open(0)
			f.read(f.size-22, 22)
			f.read(f.size-3*mib, 8*kib)
			sequential(f, f.size-3*mib, f.size, 8*kib)
			f.close()
		}},
		{name: "ParquetFooter", info: oneFile(300*mib, mib), waste: 0, run: func(k *simKernel) {
			f := k.open(0)
			f.read(f.size-8, 8)
			f.read(f.size-200*kib, 200*kib)
			f.read(17*mib, 600*kib)
			f.read(90*mib, 600*kib)
			f.close()
		}},
		{name: "Random4K", info: oneFile(4096*mib, 4*mib), waste: 0, run: func(k *simKernel) {
			f := k.open(0)
			for range 200 {
				f.read(k.rng.Int64N(f.size/page)*page, page)
			}
			f.close()
		}},
		{name: "SqliteRandom", info: oneFile(96*mib, mib), waste: 0, run: func(k *simKernel) {
			f := k.open(0)
			f.read(0, 100)
			for range 400 { // a few hot pages, leaves anywhere
				f.read(k.rng.Int64N(64)*page, page)
				f.read(k.rng.Int64N(f.size/page)*page, page)
			}
			f.close()
		}},
		{name: "CopyAligned", info: alignedFiles(5000, 1600, 32*kib), link: 0.55, bytes: 5000 * 1600, run: copyAll},
		{name: "CopyTinyAligned", info: alignedFiles(5000, 200, 16*kib), most: 450 * time.Millisecond, bytes: 5000 * 200, run: copyAll},
		{name: "SomeTinyFiles", info: alignedFiles(5000, 200, 16*kib), bytes: 120*200 + 120*4*kib, run: func(k *simKernel) {
			for i := 0; i < 240; i += 2 { // every other one is padding
				f := k.open(i)
				f.read(0, f.size)
				f.close()
			}
		}},
		{name: "MappedRandom", info: oneFile(1024*mib, 4*mib), waste: 8 * mib, run: func(k *simKernel) {
			f := k.open(0)
			for range 100 {
				f.touch(k.rng.Int64N(f.size))
			}
			f.close()
		}},
		{name: "RandomChunksOf2MiB", info: oneFile(2048*mib, mib), waste: 6 * mib, run: func(k *simKernel) {
			f := k.open(0)
			for range 60 {
				f.read(k.rng.Int64N(f.size-2*mib), 2*mib)
			}
			f.close()
		}},
		{name: "StridedColumn", info: oneFile(2000*mib, mib), most: 9 * time.Second, waste: 33 * mib, run: func(k *simKernel) {
			f := k.open(0)
			for off := 3 * mib; off < f.size; off += 20 * mib {
				f.read(off, 64*kib)
			}
			f.close()
		}},
		{name: "Backward", info: oneFile(100*mib, mib), link: 0.85, run: func(k *simKernel) {
			f := k.open(0)
			for off := f.size - 8*kib; off >= 0; off -= 8 * kib {
				f.read(off, 8*kib)
			}
			f.close()
		}},
		{name: "TwoPlacesByTurns", info: oneFile(600*mib, mib), link: 0.80, run: func(k *simKernel) {
			f := k.open(0)
			for off := int64(0); off < 100*mib; off += 512 * kib {
				f.read(off, 512*kib)
				f.read(300*mib+off, 512*kib)
			}
			f.close()
		}},
		{name: "LoopMountedImage", info: oneFile(700*mib, mib), waste: 2 * mib, run: func(k *simKernel) {
			f := k.open(0)
			f.read(32*kib, 2*kib) // the volume descriptors, folders, then files
			for i := range int64(40) {
				f.read(40*kib+i*2*kib, 2*kib)
			}
			for range 30 {
				at := k.rng.Int64N(f.size / 2048)
				f.read(at*2048, 20*kib)
			}
			f.close()
		}},
		{name: "ManyReadersOfOneFile", info: oneFile(100*mib, mib), link: 0.85, bytes: 101 * mib, run: func(k *simKernel) {
			var readers sync.WaitGroup
			for i := range 100 {
				readers.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					f := k.open(0)
					sequential(f, 0, f.size, mib)
					f.close()
				})
			}
			readers.Wait()
		}},
	}
}

func TestTraces(t *testing.T) {
	for _, tr := range traces() {
		t.Run(tr.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rtt = 50 * time.Millisecond
				rate := cmp.Or(tr.rate, 20e6)
				k := newSimKernel(t, tr.info, rate, rtt)
				tr.run(k)
				took := time.Since(k.began)
				synctest.Wait()
				fetched, needed := k.fetched(), k.swarm.needed()
				share := float64(needed) / took.Seconds() / rate
				t.Logf("%-26s %7.3f s, slowest read %4d ms, later %4d ms, fetched %7.1f MB, needed %7.1f MB, %3.0f %% of the link, wanted ahead at most %5.1f MiB",
					tr.name, took.Seconds(), k.slowest.Milliseconds(), k.late.Milliseconds(), float64(fetched)/1e6, float64(needed)/1e6, 100*share, float64(k.swarm.mostWant)/float64(mib))
				if tr.most > 0 && took > tr.most {
					t.Errorf("took %v, want at most %v", took, tr.most)
				}
				if tr.stall > 0 && k.slowest > tr.stall {
					t.Errorf("a read took %v, want at most %v", k.slowest, tr.stall)
				}
				if tr.late > 0 && k.late > tr.late {
					t.Errorf("a read after the first second took %v, want at most %v", k.late, tr.late)
				}
				if share < tr.link {
					t.Errorf("%.3f of the link, want %.2f", share, tr.link)
				}
				if over := fetched - needed; over > tr.waste && tr.link == 0 && tr.bytes == 0 && tr.late == 0 {
					t.Errorf("fetched %.1f MB that nobody read, want at most %.1f", float64(over)/1e6, float64(tr.waste)/1e6)
				}
				if tr.bytes > 0 && fetched > tr.bytes {
					t.Errorf("fetched %d bytes, want at most %d", fetched, tr.bytes)
				}
				if most := k.swarm.mostWant; most > 128*mib {
					t.Errorf("windows of %d bytes, more than the budget", most)
				}
			})
		})
	}
}

// TestTracesReplay: a trace is the same each time, block for block, in whatever order
// goroutines run, so that a failure can be reproduced.
func TestTracesReplay(t *testing.T) {
	for _, tr := range traces() {
		switch tr.name {
		case "FfprobeFaststart", "LoaderWithEightWorkers", "TwoPlacesByTurns", "ManyReadersOfOneFile":
		default:
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			var first []simRequest
			var took time.Duration
			for i := range 3 {
				synctest.Test(t, func(t *testing.T) {
					k := newSimKernel(t, tr.info, cmp.Or(tr.rate, 20e6), 50*time.Millisecond)
					tr.run(k)
					d := time.Since(k.began)
					k.fetched()
					if i == 0 {
						first, took = k.swarm.arrived, d
						return
					}
					if d != took {
						t.Errorf("took %v, and %v before", d, took)
					}
					if !slices.EqualFunc(k.swarm.arrived, first, func(a, b simRequest) bool { return a.piece == b.piece && a.block == b.block }) {
						t.Errorf("run %d: other blocks, or in another order", i)
					}
				})
			}
		})
	}
}
