package cache_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// sampleDisk calls du every 100 ms until stop is called, which returns the most
// that it saw.
func sampleDisk(dir string) (stop func() int64) {
	end, result := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, diskUsage(dir))
			select {
			case <-tick.C:
			case <-end:
				result <- most
				return
			}
		}
	}()
	return func() int64 { close(end); return <-result }
}

// unlessRace returns the first value, and the second under the race detector, which
// makes writing many times slower.
func unlessRace(n, race int64) int64 {
	if underRace {
		return race
	}
	return n
}

func TestChurnStaysInTheBudget(t *testing.T) {
	for _, test := range []struct {
		name         string
		limit, total int64
		size         int
	}{
		{"SmallPieces", 24 * mib, unlessRace(240*mib, 72*mib), 16 * kib},
		{"MiddlePieces", 32 * mib, unlessRace(320*mib, 96*mib), mib},
		{"LargePieces", 64 * mib, unlessRace(640*mib, 128*mib), 16 * mib},
		{"HugePieces", 160 * mib, unlessRace(1600*mib, 256*mib), 64 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			var mu sync.Mutex
			held := map[weir.PieceID]bool{}
			c := openCache(t, cache.Options{Dir: dir, LimitBytes: test.limit, Changed: func(id weir.PieceID, is bool) {
				mu.Lock()
				defer mu.Unlock()
				held[id] = is
			}})
			stop := sampleDisk(dir)
			b := content(piece('a', 0), test.size)
			for i := range int(test.total / int64(test.size)) {
				if err := c.Put(piece('a', i), [][]byte{b}); err != nil {
					t.Fatal(err)
				}
				// A tenth is in use and should mostly stay.
				if _, err := c.View(piece('a', i%10), 0, 1, func([]byte) {}); err != nil {
					t.Fatal(err)
				}
			}
			if most, allowed := stop(), test.limit*105/100+64*mib; most > allowed {
				t.Errorf("%d bytes on disk, allowed are %d", most, allowed)
			} else {
				t.Logf("at most %.3f of the limit on disk", float64(most)/float64(test.limit))
			}
			s := c.Stat()
			if s.Bytes < test.limit/4 {
				t.Errorf("only %d bytes are held", s.Bytes)
			}
			if du := diskUsage(dir); s.DiskBytes < du-16*mib || s.DiskBytes > du+64*mib {
				t.Errorf("Stat says %d bytes on disk, du says %d", s.DiskBytes, du)
			}
			for id, is := range held {
				if c.Has(id) != is {
					t.Errorf("%s: Changed said %v", id, is)
				}
			}
		})
	}
}

func TestSetLimit(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: 100 * mib})
	for i := range 60 {
		put(t, c, piece('a', i), mib)
	}
	if err := c.SetLimit(1 << 20); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("a tiny budget: %v, want ErrInvalid", err)
	}
	if err := c.SetLimit(32 * mib); err != nil {
		t.Fatal(err)
	}
	if du := diskUsage(dir); du > 32*mib*105/100+24*mib {
		t.Errorf("%d bytes on disk after shrinking to 32 MiB", du)
	}
	if s := c.Stat(); s.Pieces == 0 || s.LimitBytes != 32*mib {
		t.Errorf("%+v", s)
	}
	checkAll(t, c, func(weir.PieceID) int { return mib })
	if err := c.SetLimit(100 * mib); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		put(t, c, piece('b', i), mib)
	}
	if held := c.Stat().Pieces; held < 65 {
		t.Errorf("%d pieces after growing again", held)
	}
}

// TestLimitIsRemembered: the last SetLimit holds for later starts without LimitBytes.
func TestLimitIsRemembered(t *testing.T) {
	dir := t.TempDir()
	o := cache.Options{Dir: dir, MinFreeBytes: -1}
	limit := func(o cache.Options) int64 {
		t.Helper()
		c, err := cache.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Stat().LimitBytes
	}
	if _, err := cache.Open(cache.Options{Dir: dir, MustExist: true}); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("MustExist without a cache: %v, want ErrNotFound", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("MustExist made %v, %v", entries, err)
	}
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: 64 * mib})
	if err := errors.Join(c.SetLimit(48*mib), c.Close()); err != nil {
		t.Fatal(err)
	}
	o.MustExist = true
	if got := limit(o); got != 48*mib {
		t.Errorf("a start that says nothing takes %d", got)
	}
	o.LimitBytes = 32 * mib
	if got := limit(o); got != 32*mib {
		t.Errorf("a start that says 32 MiB takes %d", got)
	}
	o.LimitBytes = 0
	if got := limit(o); got != 48*mib {
		t.Errorf("the start after that takes %d", got)
	}
	c = openCache(t, o)
	ti := &weir.TorrentInfo{InfoHash: hash('p'), PieceLength: mib, Length: 10 * mib}
	if err := errors.Join(c.Pin(ti, 0, 5), c.PutRecord("r", nil, []byte("v")), c.ClearRecords()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Record("r", nil); !errors.Is(err, weir.ErrNotFound) || c.Stat().PinnedBytes != 0 {
		t.Errorf("after ClearRecords: %v, %d bytes pinned", err, c.Stat().PinnedBytes)
	}
	if err := errors.Join(c.PutRecord("r", nil, []byte("new")), c.Close()); err != nil {
		t.Fatal(err)
	}
	o.LimitBytes = 64 * mib
	c = openCache(t, o)
	if b, err := c.Record("r", nil); string(b) != "new" {
		t.Errorf("a record after ClearRecords: %q, %v", b, err)
	}
	if got := c.Pinned(hash('p')); got != nil {
		t.Errorf("pinned after ClearRecords: %v", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.LimitBytes = 0
	if got := limit(o); got == 48*mib {
		t.Error("the budget outlived ClearRecords")
	}
	for _, percent := range []float64{-1, 101} {
		if _, err := cache.Open(cache.Options{Dir: dir, MinFreePercent: percent}); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%g %% free: %v, want ErrInvalid", percent, err)
		}
	}
}

// protect is Options.Protect of a test.
func protect(pieces func(weir.PieceID) bool) func(int64) func(weir.PieceID) bool {
	return func(int64) func(weir.PieceID) bool { return pieces }
}

func TestProtectedPiecesStay(t *testing.T) {
	most := int64(0)
	window := func(id weir.PieceID) bool { return id.Torrent == hash('a') && id.Index < int(most/mib) }
	c := openCache(t, cache.Options{LimitBytes: 64 * mib, Protect: func(n int64) func(weir.PieceID) bool {
		most = n
		return window
	}})
	for i := range 32 {
		put(t, c, piece('a', i), mib)
	}
	const churn = 90
	for i := range churn {
		put(t, c, piece('b', i), mib)
	}
	if most != 32*mib {
		t.Fatalf("%d bytes may be protected", most)
	}
	for i := range 32 {
		want(t, c, piece('a', i), mib, 100, 5000)
	}
	if s := c.Stat(); s.Evictions < churn-32 || s.Moves > 2*churn {
		t.Errorf("%d evictions, %d moves for %d pieces", s.Evictions, s.Moves, churn)
	}
	most = 0
	ti := &weir.TorrentInfo{InfoHash: hash('p'), PieceLength: mib, Length: 40 * mib}
	if err := c.Pin(ti, 0, 40); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		put(t, c, piece('p', i), mib)
	}
	if most != 12*mib {
		t.Errorf("beside 40 MiB of pins, %d bytes may be protected", most)
	}
}

// TestTooMuchProtected: a cache in which everything is protected, or that is so
// small that nearly all of it is in two segments, takes new pieces all the same,
// and without writing the old ones again and again.
func TestTooMuchProtected(t *testing.T) {
	for name, test := range map[string]struct {
		limit    int64
		protects func(id weir.PieceID) bool
	}{
		"All":   {cache.MinLimitBytes, func(weir.PieceID) bool { return true }},
		"Small": {cache.MinLimitBytes, func(id weir.PieceID) bool { return id == piece('a', 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, cache.Options{LimitBytes: test.limit, Protect: protect(test.protects)})
			const pieces = 30
			for i := range pieces {
				put(t, c, piece('a', i), mib)
				if !c.Has(piece('a', i)) {
					t.Fatalf("piece %d is not held", i)
				}
			}
			s := c.Stat()
			t.Logf("%d moves", s.Moves)
			if s.Moves > 8*pieces || s.DiskBytes > test.limit+24*mib {
				t.Errorf("%d moves for %d pieces, %d bytes on disk", s.Moves, pieces, s.DiskBytes)
			}
		})
	}
}

func TestPins(t *testing.T) {
	dir := t.TempDir()
	ti := &weir.TorrentInfo{InfoHash: hash('p'), PieceLength: mib, Length: 100*mib - 5}
	size := func(i int) int { return int(ti.PieceRange(i).Len()) }
	o := cache.Options{Dir: dir, LimitBytes: 64 * mib}
	c := openCache(t, o)
	put(t, c, piece('p', 0), mib) // held before it is pinned
	for _, r := range [][2]int{{0, 10}, {20, 30}, {10, 12}, {25, 35}, {99, 100}} {
		if err := c.Pin(ti, r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Stat().PinnedBytes; got != 28*mib-5 {
		t.Errorf("%d bytes pinned", got)
	}
	for name, r := range map[string][2]int{"Empty": {5, 5}, "Negative": {-1, 5}, "Outside": {90, 101}} {
		if err := c.Pin(ti, r[0], r[1]); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if err := c.Pin(ti, 0, 80); !errors.Is(err, weir.ErrNoSpace) {
		t.Errorf("more than fits: %v, want ErrNoSpace", err)
	}
	if err := c.SetLimit(32 * mib); !errors.Is(err, weir.ErrNoSpace) {
		t.Errorf("SetLimit below the pins: %v, want ErrNoSpace", err)
	}
	runs := c.Pinned(hash('p'))
	for _, r := range runs {
		for i := r[0]; i < r[1]; i++ {
			put(t, c, piece('p', i), size(i))
		}
	}
	check := func() {
		t.Helper()
		for _, r := range runs {
			for i := r[0]; i < r[1]; i++ {
				want(t, c, piece('p', i), size(i), size(i)/2, 1000)
			}
		}
		if du := diskUsage(dir); du > 64*mib*105/100+64*mib {
			t.Errorf("%d bytes on disk", du)
		}
	}
	churn := func(torrent byte) {
		for i := range 90 {
			put(t, c, piece(torrent, i), mib)
		}
	}
	churn('x')
	check()
	if err := c.Evict(hash('p'), []int{1, 2}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	churn('y')
	check()
	if err := c.Unpin(hash('p'), 0, 1000); err != nil {
		t.Fatal(err)
	}
	churn('z')
	// Pieces that were read meanwhile may stay, as always.
	if left := c.HeldBytes(ti, weir.Range{End: ti.Length}); left > 20*mib {
		t.Errorf("%d bytes are left after unpinning", left)
	}
	if got := c.Pinned(hash('p')); got != nil {
		t.Errorf("pinned: %v", got)
	}
}

// mountTmpfs gives a file system of its own size.
func mountTmpfs(tb testing.TB, size string) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := unix.Mount("weir-test", dir, "tmpfs", 0, "size="+size); err != nil {
		tb.Fatalf("this test mounts a small file system, which needs root: %v", err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	disk := mountTmpfs(t, "512m")
	var log bytes.Buffer
	o := cache.Options{
		Dir: filepath.Join(disk, "cache"), LimitBytes: 4 << 30, MinFreeBytes: -1,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	c := openCache(t, o)
	filler := filepath.Join(disk, "hog")
	fill(t, filler)
	for i := range 50 {
		if err := c.Put(piece('a', i), blocks(content(piece('a', i), mib))); !errors.Is(err, weir.ErrNoSpace) {
			t.Fatalf("put on a full disk: %v, want ErrNoSpace", err)
		}
	}
	// The database's log is reserved: some records have room, later ones have none.
	records := 0
	for ; records < 200; records++ {
		if err := c.PutRecord("r", []byte{byte(records)}, make([]byte, 20_000)); errors.Is(err, weir.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatalf("PutRecord on a full disk: %v", err)
		}
	}
	if records < 10 || records == 200 {
		t.Errorf("%d records on a full disk", records)
	}
	if warned := strings.Count(log.String(), "the disk is full"); warned != 1 {
		t.Errorf("warned %d times: %s", warned, &log)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, c, piece('a', i), mib)
	}
	// Full again, with pieces in the cache: it goes on with the space it has.
	fill(t, filler)
	full := 0
	for i := 20; i < 220; i++ {
		err := c.Put(piece('a', i), blocks(content(piece('a', i), mib)))
		switch {
		case errors.Is(err, weir.ErrNoSpace):
			full++
		case err != nil:
			t.Fatalf("put on a full disk: %v", err)
		}
	}
	if n := checkAll(t, c, func(weir.PieceID) int { return mib }); n == 0 {
		t.Error("nothing can be read on a full disk")
	}
	t.Logf("%d of 200 refused, %+v", full, c.Stat())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, c, piece('b', i), mib)
	}
	for i := range 20 {
		want(t, c, piece('b', i), mib, 0, mib)
	}
	// Closing on a full disk loses nothing either.
	fill(t, filler)
	before := c.Stat().Pieces
	if err := c.Close(); err != nil {
		t.Errorf("close on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	if n := checkAll(t, c, func(weir.PieceID) int { return mib }); n != before {
		t.Errorf("%d pieces after closing on a full disk, %d before", n, before)
	}
	for i := range records {
		if _, err := c.Record("r", []byte{byte(i)}); err != nil {
			t.Error(err)
		}
	}
}

// TestLostPinsAreNamed: pinned pieces that find no room when their segment is dropped are
// a warning, which names the torrent and says what to do.
func TestLostPinsAreNamed(t *testing.T) {
	disk := mountTmpfs(t, "256m")
	var log bytes.Buffer
	c := openCache(t, cache.Options{
		Dir: filepath.Join(disk, "cache"), LimitBytes: 128 * mib, MinFreeBytes: -1,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	for i := range 8 {
		put(t, c, piece('a', i), mib)
	}
	ti := &weir.TorrentInfo{InfoHash: hash('a'), PieceLength: mib, Length: 8 * mib}
	if err := c.Pin(ti, 0, 2); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(disk, "hog")
	fill(t, filler)
	for range 8 {
		c.DropOne()
	}
	if err := os.Remove(filler); err != nil { // so that the database can be closed
		t.Fatal(err)
	}
	if c.Has(piece('a', 0)) {
		t.Fatal("the pinned pieces found room")
	}
	for _, want := range []string{"pinned pieces were dropped", "free space on the disk", "weir unpin PATH", "torrent=" + hash('a').String(), "bytes="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
}

// TestDiskTooFullToOpen: without room for badger's files there is an error.
func TestDiskTooFullToOpen(t *testing.T) {
	disk := mountTmpfs(t, "256m")
	filler := filepath.Join(disk, "hog")
	fill(t, filler)
	o := cache.Options{Dir: filepath.Join(disk, "cache"), LimitBytes: 64 * mib, MinFreeBytes: -1}
	if _, err := cache.Open(o); !errors.Is(err, weir.ErrNoSpace) {
		t.Errorf("open on a full disk: %v, want ErrNoSpace", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c := openCache(t, o)
	put(t, c, piece('a', 1), mib)
	want(t, c, piece('a', 1), mib, 0, mib)
}

// fill writes to path until the disk is full.
func fill(tb testing.TB, path string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	for b := make([]byte, mib); len(b) > 100; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			b = b[:len(b)/2]
		} else if err != nil {
			tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestMinFreeIsKept(t *testing.T) {
	disk := mountTmpfs(t, "320m")
	o := cache.Options{Dir: filepath.Join(disk, "cache"), LimitBytes: 1 << 30, MinFreePercent: 45}
	c, err := cache.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 300 {
		put(t, c, piece('a', i), mib)
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		// Moving and closing take a little for a moment.
		if free := int64(st.Bavail) * st.Bsize; free < 130*mib {
			t.Fatalf("after %d pieces %d bytes are free", i, free)
		}
	}
	if s := c.Stat(); s.Pieces < 20 {
		t.Errorf("the cache has worn away: %+v", s)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childSeed+"=1", childLimit+"=33554432")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_, err = cache.Open(cache.Options{Dir: dir})
	if !errors.Is(err, weir.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	for _, part := range []string{"/mnt/child", dir, "process"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	var held *cache.InUseError
	if want := (cache.Owner{PID: cmd.Process.Pid, Mountpoint: "/mnt/child", Control: "/run/child.sock"}); !errors.As(err, &held) || held.Owner != want {
		t.Errorf("got %+v, want %+v", held, want)
	}
	// In the same process too.
	mine := t.TempDir()
	openCache(t, cache.Options{Dir: mine})
	if _, err := cache.Open(cache.Options{Dir: mine}); !errors.Is(err, weir.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestFolder(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  error
		says  string
	}{
		{"Newer", map[string]string{"version": "weir cache 3\n"}, weir.ErrInvalid, "another version"},
		{"Foreign", map[string]string{"thesis.tex": "x"}, weir.ErrInvalid, "thesis.tex"},
		{"ForeignVersion", map[string]string{"version": "3.1\n", "thesis.tex": "x"}, weir.ErrInvalid, "thesis.tex"},
		{"EmptyVersion", map[string]string{"version": "", "CACHEDIR.TAG": ""}, nil, ""},
		{"OnlyAMount", map[string]string{"lost+found": ""}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: 32 * mib})
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v saying %q", err, test.want, test.says)
			}
			if err == nil {
				tag, err := os.ReadFile(filepath.Join(dir, "CACHEDIR.TAG"))
				if err != nil || !strings.HasPrefix(string(tag), "Signature: 8a477f597d28d172789f06886806bc55") {
					t.Errorf("CACHEDIR.TAG: %q, %v", tag, err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			} else if entries, _ := os.ReadDir(dir); len(entries) != len(test.files) {
				t.Errorf("a refused folder was changed: %v", entries)
			}
		})
	}
}
