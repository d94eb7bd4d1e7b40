package webseed

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// blocksOf returns the blocks of some pieces, as a peer is asked for them.
func blocksOf(info *weir.TorrentInfo, first, end int) []weir.Range {
	var all []weir.Range
	for p := first; p < end; p++ {
		for b := range int((info.PieceRange(p).Len() + weir.BlockBytes - 1) / weir.BlockBytes) {
			if r := info.BlockRange(p, b); !r.Empty() {
				all = append(all, r)
			}
		}
	}
	return all
}

const kib = 1 << 10

// large is an item in pieces of 64 KiB.
func large(lengths ...int64) *weir.TorrentInfo {
	info := item(lengths...)
	info.PieceLength = 64 * kib
	return info
}

// memory is a buffer that is full of what was in it before, and can tell that it was
// given back.
type memory struct {
	b     []byte
	freed bool
}

func newMemory(n int) Buffer { return &memory{b: bytes.Repeat([]byte{0xee}, n)} }

func (m *memory) Bytes() []byte {
	if m.freed {
		panic("used after it was given back")
	}
	return m.b
}

func (m *memory) Extend(int, int) { panic("that is the owner's") }

func (m *memory) Free() {
	m.Bytes()
	m.freed = true
}

// come lets the next n bytes of a run come, and what is left of the part with the last
// of them, out of data's place in the torrent. It returns the blocks that are complete.
func come(s *schedule, now time.Time, r *run, n int64, data []byte) (whole []weir.Range, bytes [][]byte) {
	for end := min(r.at+n, r.in.End); r.at < end; {
		part := newMemory(r.parts[len(r.parts)-len(r.blocks)])
		copy(part.Bytes(), data[r.at:])
		if b, data := s.came(now, r, part); b != nil {
			whole, bytes = append(whole, b.in), append(bytes, data.Bytes())
			data.Free()
		}
	}
	return whole, bytes
}

func runsOf(s *schedule, now time.Time) (all []string) {
	for {
		r, ok := s.nextRun(now, 0)
		if !ok {
			return all
		}
		f := s.info.Files[r.file]
		all = append(all, fmt.Sprintf("%c %d-%d", 'a'+r.file, r.in.Off-f.Offset, r.in.End-f.Offset))
	}
}

func TestScheduleRuns(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		name string
		info *weir.TorrentInfo
		ask  func(*weir.TorrentInfo) []weir.Range
		want []string
	}{
		{"Piece", large(1000 * kib), func(i *weir.TorrentInfo) []weir.Range { return blocksOf(i, 2, 3) }, []string{"a 131072-196608"}},
		{"Pieces", large(1000 * kib), func(i *weir.TorrentInfo) []weir.Range { return blocksOf(i, 2, 9) }, []string{"a 131072-589824"}},
		{"Backwards", large(1000 * kib), func(i *weir.TorrentInfo) []weir.Range { return append(blocksOf(i, 2, 3), blocksOf(i, 1, 2)...) },
			[]string{"a 131072-196608", "a 65536-131072"}},
		{"Apart", large(1000 * kib), func(i *weir.TorrentInfo) []weir.Range { return append(blocksOf(i, 2, 3), blocksOf(i, 9, 10)...) },
			[]string{"a 131072-196608", "a 589824-655360"}},
		{"Files", large(10, 20, 30), func(i *weir.TorrentInfo) []weir.Range { return blocksOf(i, 0, 1) }, []string{"a 0-10", "b 0-20", "c 0-30"}},
		{"NoPadding", large(10, -64*kib+10, 20, -16*kib, 30*kib), func(i *weir.TorrentInfo) []weir.Range { return blocksOf(i, 0, 2) },
			[]string{"a 0-10", "c 0-20", "e 0-30720"}},
		{"MuchAtOnce", large(40 << 20), func(i *weir.TorrentInfo) []weir.Range { return blocksOf(i, 0, i.NumPieces()) },
			[]string{"a 0-16777216"}}, // and no more before that is nearly done
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSchedule(tt.info, newMemory)
			for _, b := range tt.ask(tt.info) {
				s.ask(b)
			}
			if got := runsOf(&s, now); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("runs %q, want %q", got, tt.want)
			}
		})
	}
}

// What follows a run waits until the run is nearly done, and is one run then.
func TestScheduleFollows(t *testing.T) {
	now, info := time.Unix(1e9, 0), large(2000*kib)
	s := newSchedule(info, newMemory)
	blocks := blocksOf(info, 0, 8)
	for _, b := range blocks[:16] {
		s.ask(b)
	}
	latency := 50 * time.Millisecond / headStart
	r, ok := s.nextRun(now, latency)
	if !ok || r.in.Len() != 256*kib {
		t.Fatalf("first run %v", r)
	}
	for _, b := range blocks[16:] {
		s.ask(b)
	}
	if _, ok := s.nextRun(now, latency); ok {
		t.Fatal("what follows is asked for before anything came")
	}
	data := make([]byte, info.Length)
	come(&s, now, r, 1, data)
	// 1 MiB/s: in 50 ms, which is the head start, come 51 KiB.
	now = now.Add(100 * time.Millisecond)
	come(&s, now, r, 85*kib, data)
	if _, ok := s.nextRun(now, latency); ok {
		t.Fatal("what follows is asked for too early")
	}
	now = now.Add(100 * time.Millisecond)
	come(&s, now, r, 100*kib, data)
	next, ok := s.nextRun(now, latency)
	if !ok || next.in.Off != r.in.End || next.in.Len() != 256*kib {
		t.Fatalf("next run %+v", next)
	}
	if _, ok := s.nextRun(now, latency); ok {
		t.Error("one more")
	}
}

func TestScheduleTakeBack(t *testing.T) {
	now, info := time.Unix(1e9, 0), large(1000*kib)
	s := newSchedule(info, newMemory)
	blocks := blocksOf(info, 0, 1)
	for _, b := range blocks {
		s.ask(b)
	}
	r, _ := s.nextRun(now, 0)
	stopped := 0
	r.stop = func() { stopped++ }
	for _, b := range blocks[:3] {
		if !s.takeBack(b) || s.takeBack(b) {
			t.Error("taken back once is not the same as twice")
		}
	}
	s.ask(blocks[1])
	if _, ok := s.nextRun(now, 0); ok {
		t.Error("a block that is on its way is asked for again")
	}
	data := make([]byte, info.Length)
	whole, _ := come(&s, now, r, 32*kib, data)
	if len(whole) != 1 || whole[0] != blocks[1] {
		t.Errorf("%d blocks came", len(whole))
	}
	if stopped != 0 {
		t.Error("a request is ended that still brings a block")
	}
	if s.takeBack(blocks[3]); stopped != 1 {
		t.Error("a request goes on that nobody wants anything of")
	}
	s.ask(blocks[3])
	if again, ok := s.nextRun(now, 0); !ok || again.in != blocks[3] {
		t.Error("a block is expected of a request that is being ended")
	} else {
		come(&s, now, again, blocks[3].Len(), data)
		s.ended(again)
	}
	if owed := s.ended(r); len(owed) != 0 || len(s.blocks) != 0 || len(s.queue.spans) != 0 || len(s.late) != 0 {
		t.Errorf("left: %d, %d, %d", len(owed), len(s.blocks), len(s.queue.spans))
	}
}

// Whatever is asked for, taken back, broken off and asked for again: each block
// comes whole and right, or is given back.
func TestScheduleRandom(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var lengths []int64
		for range 1 + rnd.IntN(12) {
			switch n := int64(rnd.IntN(3 * 64 * kib)); rnd.IntN(4) {
			case 0:
				lengths = append(lengths, n/1000)
			case 1:
				lengths = append(lengths, -n/4)
			default:
				lengths = append(lengths, n)
			}
		}
		info := large(lengths...)
		bytesOf := content(int(info.Length))
		for _, f := range info.Files {
			if f.Padding {
				clear(bytesOf[f.Offset:f.Range().End])
			}
		}
		s, now := newSchedule(info, newMemory), time.Unix(1e9, 0)
		all := blocksOf(info, 0, info.NumPieces())
		waits := map[weir.Range]bool{}
		for range 500 {
			now = now.Add(time.Duration(rnd.IntN(20)) * time.Millisecond)
			switch rnd.IntN(4) {
			case 0:
				if len(all) == 0 {
					break
				}
				i := rnd.IntN(len(all))
				for _, b := range all[i:min(len(all), i+rnd.IntN(20))] {
					s.ask(b)
					waits[b] = true
				}
			case 1:
				if len(all) == 0 {
					break
				}
				b := all[rnd.IntN(len(all))]
				if got := s.takeBack(b); got != waits[b] {
					t.Fatalf("seed %d: taking %v back gives %v", seed, b, got)
				}
				delete(waits, b)
			case 2:
				if len(s.runs) < 4 {
					if r, ok := s.nextRun(now, time.Duration(rnd.IntN(50))*time.Millisecond); ok {
						f := info.Files[r.file]
						if f.Padding || r.in.Empty() || r.in.Off < f.Offset || r.in.End > f.Range().End {
							t.Fatalf("seed %d: run %v of file %d at %v", seed, r.in, r.file, f.Range())
						}
						r.stop = func() {}
					}
				}
			default: // a run that was stopped ends without what it has not brought
				if len(s.runs) == 0 {
					break
				}
				r := s.runs[rnd.IntN(len(s.runs))]
				if r.stopped {
					if owed := s.ended(r); len(owed) > 0 {
						t.Fatalf("seed %d: a request that was ended owes %d blocks", seed, len(owed))
					}
					break
				}
				n := min(int64(rnd.IntN(40*kib)), r.in.End-r.at)
				whole, got := come(&s, now, r, n, bytesOf)
				for i, in := range whole {
					if !waits[in] || !bytes.Equal(got[i], bytesOf[in.Off:in.End]) {
						t.Fatalf("seed %d: block %v is wrong or unasked", seed, in)
					}
					delete(waits, in)
				}
				if r.at == r.in.End || rnd.IntN(10) == 0 {
					for _, in := range s.ended(r) {
						if !waits[in] {
							t.Fatalf("seed %d: block %v is owed to nobody", seed, in)
						}
						delete(waits, in)
					}
				}
			}
			if len(waits) != len(s.blocks) {
				t.Fatalf("seed %d: %d wait, %d are known", seed, len(waits), len(s.blocks))
			}
			checkQueue(t, &s, seed)
		}
		for len(waits) > 0 {
			for len(s.runs) > 0 {
				r := s.runs[0]
				if r.stopped {
					s.ended(r)
					continue
				}
				whole, _ := come(&s, now, r, r.in.Len(), bytesOf)
				for _, in := range whole {
					delete(waits, in)
				}
				for _, in := range s.ended(r) {
					t.Fatalf("seed %d: %v is owed after all came", seed, in)
				}
			}
			r, ok := s.nextRun(now, 0)
			if !ok && len(waits) > 0 {
				t.Fatalf("seed %d: %d blocks are in no run", seed, len(waits))
			}
			if ok {
				r.stop = func() {}
			}
		}
	}
}

// checkQueue looks whether the queue agrees with itself and with the blocks.
func checkQueue(t *testing.T, s *schedule, seed uint64) {
	t.Helper()
	queued := 0
	order := uint64(0)
	for _, sp := range s.queue.spans {
		at := sp.in.Off
		for _, b := range sp.blocks {
			queued++
			if b.next != at || b.span != sp || b.gone || s.blocks[b.in.Off] != b {
				t.Fatalf("seed %d: block %v in span %v", seed, b.in, sp.in)
			}
			at = min(b.in.End, s.info.Files[sp.file].Range().End)
		}
		if sp.blocks[0].order < order || at != sp.in.End || s.queue.starts[sp.in.Off] != sp || s.queue.ends[sp.in.End] != sp {
			t.Fatalf("seed %d: span %v ends at %d", seed, sp.in, at)
		}
		order = sp.blocks[0].order
	}
	if n := len(s.queue.spans); n != len(s.queue.starts) || n != len(s.queue.ends) {
		t.Fatalf("seed %d: %d spans, %d starts, %d ends", seed, n, len(s.queue.starts), len(s.queue.ends))
	}
	for _, b := range s.blocks {
		if b.span != nil {
			queued--
		}
	}
	if queued != 0 {
		t.Fatalf("seed %d: %d more blocks in the queue than are known", seed, queued)
	}
}
