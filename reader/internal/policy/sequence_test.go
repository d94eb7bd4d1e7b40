package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// files makes a torrent of 64 KiB files with these names.
func files(names ...string) *weir.TorrentInfo {
	info := &weir.TorrentInfo{PieceLength: 256 * kib}
	for _, name := range names {
		info.Files = append(info.Files, weir.FileInfo{Path: []string{name}, Offset: info.Length, Length: 64 * kib})
		info.Length += 64 * kib
	}
	return info
}

func numbered(n int) *weir.TorrentInfo {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("f%04d", i))
	}
	return files(names...)
}

// step reads n bytes of a file of the sequence, and closes it.
func (w *Sequence) step(now time.Time, file int, n int64) bool {
	if !w.Enter(file) {
		return false
	}
	w.Read(now, file, n, n)
	w.Leave(n, w.order.info.Files[file].Length)
	return true
}

func begin(o *Order, n int64) *Sequence {
	w := NewSequence(o, 0, nil)
	w.Read(time.Unix(1, 0), 0, n, n)
	w.Leave(n, o.info.Files[0].Length)
	return w
}

func TestSequence(t *testing.T) {
	now := time.Unix(1, 0)
	info := numbered(1000)
	t.Run("ThirdFileOpens", func(t *testing.T) {
		w := begin(TorrentOrder(info), 64*kib)
		if !w.step(now, 1, 64*kib) || len(w.Windows(nil)) != 0 {
			t.Error("the second file opened a window, or did not continue")
		}
		if !w.step(now, 2, 64*kib) {
			t.Fatal("the third file did not continue")
		}
		if got := w.Windows(nil); len(got) != 1 || got[0] != (weir.Range{Off: 192 * kib, End: 192*kib + info.PieceLength}) {
			t.Errorf("windows %v, want a piece behind the third file", got)
		}
	})
	t.Run("GrowsAndEnds", func(t *testing.T) {
		w := begin(TorrentOrder(info), 64*kib)
		for i := 1; i < 200; i++ {
			w.step(now.Add(time.Duration(i)*2*time.Millisecond), i, 64*kib)
		}
		if got := w.Windows(nil); len(got) != 1 || got[0].Len() < 8*mib {
			t.Errorf("windows %v", got)
		}
		for i := 200; i < 1000; i++ {
			w.step(now.Add(time.Duration(i)*2*time.Millisecond), i, 64*kib)
		}
		if got := w.Windows(nil); len(got) > 0 && !got[0].Empty() {
			t.Errorf("windows %v behind the last file", got)
		}
	})
	t.Run("OutOfOrderAndSkips", func(t *testing.T) {
		w := begin(TorrentOrder(info), 64*kib)
		for _, i := range []int{2, 1, 4, 8, 6, 20} {
			if !w.step(now, i, 64*kib) {
				t.Errorf("file %d did not continue", i)
			}
		}
		for _, i := range []int{100, 20, 1} {
			if w.Enter(i) {
				t.Errorf("file %d continues behind file 20", i)
			}
		}
	})
	t.Run("OnlyHeads", func(t *testing.T) {
		w := begin(TorrentOrder(info), 4*kib)
		for i := 1; i < 100; i++ {
			w.step(now, i, 4*kib)
		}
		got := w.Windows(nil)
		for _, r := range got {
			if r.Len() > 4*kib || r.Off%(64*kib) != 0 {
				t.Errorf("window %v, want heads of 4 KiB", r)
			}
		}
		if len(got) == 0 || len(got) > 2 {
			t.Errorf("windows %v, want the heads in a piece or two", got)
		}
	})
	t.Run("Unread", func(t *testing.T) {
		w := begin(TorrentOrder(info), 0)
		for i := 1; i < 100; i++ {
			w.step(now, i, 0)
		}
		if got := w.Windows(nil); len(got) != 0 {
			t.Errorf("windows %v for files of which nothing is read", got)
		}
	})
}

func TestListedOrder(t *testing.T) {
	info := files("c", "a", "b0", "b", "d")
	info.Files[2].Path = []string{"b", "z"} // b/z, then b0, as a listing has them
	info.Files[3].Path = []string{"b0"}
	info.Files[4].Padding = true
	o := ListedOrder(info)
	var got []int
	for at := int(o.file[0]); at >= 0; at = o.next(at) {
		got = append(got, at)
	}
	if want := []int{1, 2, 3, 0, 4}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("order %v, want %v", got, want)
	}
	if !o.continues(1, 2) || o.continues(1, 1) {
		t.Error("continues")
	}
	w := NewSequence(TorrentOrder(info), 0, nil)
	rising := 0
	for _, i := range []int{1, 2, 3, 0} {
		if w.FollowsListing(i); w.listedRun > rising {
			rising = w.listedRun
		}
	}
	if rising != 3 {
		t.Errorf("%d files in a row rise, want 3", rising)
	}
}

// TestProven: only a reader of enough whole files passes what it has read on to the pattern
// of the next file.
func TestProven(t *testing.T) {
	info := numbered(100)
	for name, c := range map[string]struct {
		files int
		n     int64 // of each
		want  int64
	}{
		"Whole":   {5, 64 * kib, 5 * 64 * kib},
		"TooFew":  {2, 64 * kib, 0},
		"Headers": {5, 4 * kib, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1, 0)
			w := begin(TorrentOrder(info), c.n)
			for i := 1; i < c.files; i++ {
				now = now.Add(time.Second)
				if !w.step(now, i, c.n) {
					t.Fatalf("file %d does not continue", i)
				}
			}
			bytes, rate := w.Proven()
			if bytes != c.want || (rate > 0) != (c.want > 0) {
				t.Errorf("%d bytes at %.0f a second, want %d", bytes, rate, c.want)
			}
		})
	}
}

// TestDue: a window is published at once, and again after half a piece, or a sixteenth of
// the distance if that is more.
func TestDue(t *testing.T) {
	info := numbered(10_000)
	w := begin(TorrentOrder(info), 64*kib)
	if !w.Due() {
		t.Error("the first window is not due")
	}
	now := time.Unix(1, 0)
	for i, read := 1, int64(0); i < 2000; i++ {
		now = now.Add(time.Millisecond)
		if !w.step(now, i, 64*kib) {
			t.Fatalf("file %d does not continue", i)
		}
		read += 64 * kib
		most := max(info.PieceLength/2, w.distance()/16)
		if due := w.Due(); due != (i == 1 || read >= most) {
			t.Fatalf("after %d of %d bytes: due %v", read, most, due)
		} else if due || i == 1 {
			w.Windows(nil)
			read = 0
		}
	}
}
