package cache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// thorough makes the tests of crashes long: hundreds of kills, every damage to
// every file.
var thorough = flag.Bool("thorough", false, "take minutes for the tests of crashes")

func kills() uint64 {
	if *thorough {
		return 200
	}
	return 12
}

// checkAll reads everything that is held and returns how many pieces that is.
func checkAll(tb testing.TB, c *cache.Cache, size func(weir.PieceID) int) int {
	tb.Helper()
	report := verifyAll(tb, c, size)
	return report.Pieces - len(report.Dropped)
}

// verifyAll reads everything that is held, and fails if a wrong byte is handed out.
func verifyAll(tb testing.TB, c *cache.Cache, size func(weir.PieceID) int) cache.Report {
	tb.Helper()
	report, err := c.Verify(context.Background(), func(id weir.PieceID, data []byte) error {
		if !bytes.Equal(data, content(original(id), size(id))) {
			tb.Errorf("%s: wrong bytes were served", id)
		}
		return nil
	})
	if err != nil {
		tb.Error(err)
	}
	return report
}

func TestKilled(t *testing.T) {
	for _, mode := range []struct {
		name  string
		limit int64
	}{{"Roomy", 4 << 30}, {"Evicting", 40 * mib}} {
		t.Run(mode.name, func(t *testing.T) {
			dir := t.TempDir()
			r := rand.New(rand.NewPCG(42, uint64(mode.limit)))
			for seed := range kills() {
				after := time.Duration(r.IntN(150)) * time.Millisecond
				d := killChild(t, dir, seed, mode.limit, after)
				if seed%4 == 3 {
					continue // the next child finds what this one left
				}
				c := openCache(t, cache.Options{Dir: dir, LimitBytes: mode.limit})
				// A put that the kill cut short may be listed before all of its bytes are there,
				// and is found out when it is read.
				for _, id := range verifyAll(t, c, func(id weir.PieceID) int { return childSize(id.Index) }).Dropped {
					if d.put[id.Index] {
						t.Errorf("kill %d: %s was put and is damaged", seed, id)
					}
				}
				for i := range d.put {
					held := c.Has(piece('c', i))
					if !held && !d.evicted[i] && (mode.name == "Roomy" && i != d.last) {
						t.Errorf("kill %d: piece %d was put and is gone", seed, i)
					}
					if held && d.evicted[i] {
						t.Errorf("kill %d: piece %d was evicted and is back", seed, i)
					}
				}
				for i := range d.adopted {
					if !c.Has(twin(piece('c', i))) && mode.name == "Roomy" {
						t.Errorf("kill %d: piece %d was adopted and is gone", seed, i)
					}
				}
				if b, err := c.Record("child", []byte("n")); d.record >= 0 {
					if err != nil {
						t.Errorf("kill %d: record: %v", seed, err)
					} else if n := int64(binary.LittleEndian.Uint64(b[len(b)-8:])); n < d.record {
						t.Errorf("kill %d: record %d was put and %d is there", seed, d.record, n)
					}
				}
				if du := diskUsage(dir); du > mode.limit*105/100+64*mib {
					t.Errorf("kill %d: %d bytes on disk", seed, du)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestFullDiskIsNoSignal lets another program take all of the disk, again and again,
// while a child writes to its cache there, is killed, and starts anew.
func TestFullDiskIsNoSignal(t *testing.T) {
	starts := unlessRace(6, 3)
	if *thorough {
		starts = 100
	}
	disk := mountTmpfs(t, "300m")
	dir, filler := filepath.Join(disk, "cache"), filepath.Join(disk, "hog")
	r := rand.New(rand.NewPCG(3, 4))
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: fullDisk})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(starts) {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				fill(t, filler)
				wait := time.After(time.Duration(r.IntN(400)) * time.Millisecond)
				select {
				case <-wait:
				case <-stop:
				}
				if err := os.Remove(filler); err != nil {
					t.Error(err)
				}
				select {
				case <-time.After(time.Duration(r.IntN(100)) * time.Millisecond):
				case <-stop:
					return
				}
			}
		}()
		d, opened := killFilledChild(t, dir, seed, time.Second)
		close(stop)
		<-stopped
		t.Logf("start %d: opened %v, %d put, record %d", seed, opened, len(d.put), d.record)
		c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: fullDisk, MinFreeBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		checkAll(t, c, func(id weir.PieceID) int { return childSize(id.Index) })
		if b, err := c.Record("child", []byte("n")); d.record >= 0 && (err != nil || int64(binary.LittleEndian.Uint64(b[len(b)-8:])) < d.record) {
			t.Errorf("start %d: record %d was put: %x, %v", seed, d.record, b, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// diskUsage is what du says of dir.
func diskUsage(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// damages are what a power loss or a bad disk does to one file.
var damages = []struct {
	name string
	do   func(b []byte, r *rand.Rand) []byte
}{
	{"Empty", func(b []byte, _ *rand.Rand) []byte { return nil }},
	{"Truncated", func(b []byte, r *rand.Rand) []byte { return b[:r.IntN(len(b))] }},
	{"TruncatedByOne", func(b []byte, _ *rand.Rand) []byte { return b[:len(b)-1] }},
	{"ZeroTail", func(b []byte, r *rand.Rand) []byte { clear(b[r.IntN(len(b)):]); return b }},
	{"ZeroPage", func(b []byte, r *rand.Rand) []byte {
		at := r.IntN(len(b)) &^ 4095
		clear(b[at:min(at+4096, len(b))])
		return b
	}},
	{"Zero", func(b []byte, _ *rand.Rand) []byte { clear(b); return b }},
	{"Flipped", func(b []byte, r *rand.Rand) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"Garbage", func(b []byte, r *rand.Rand) []byte {
		for i := r.IntN(len(b)); i < len(b); i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
}

// TestDamaged damages each file of a cache, one after the other, and opens it:
// that must work, and what is served must be right.
func TestDamaged(t *testing.T) {
	origins := map[string]func(t *testing.T, dir string){
		"Closed": func(t *testing.T, dir string) {
			c := openCache(t, cache.Options{Dir: dir, LimitBytes: 16 * mib})
			for i := range 8 {
				id := piece('c', 4*i+1)
				putHashed(t, c, id, childSize(id.Index))
				if i%3 == 0 && !c.Adopt(twin(id), sum(id, childSize(id.Index)), int64(childSize(id.Index))) {
					t.Fatal("not adopted")
				}
			}
			for i := range 40 {
				if err := c.PutRecord("r", fmt.Append(nil, i), make([]byte, 1+i*2000)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(c.Evict(hash('c'), []int{5}), c.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"Killed": func(t *testing.T, dir string) { killChild(t, dir, 1, 16*mib, 100*time.Millisecond) },
	}
	for name, origin := range origins {
		t.Run(name, func(t *testing.T) {
			from := t.TempDir()
			origin(t, from)
			files := readFolder(t, from)
			for i, file := range files {
				for j, damage := range damages {
					if len(file.content) == 0 || int64(i+j)%unlessRace(5, 10) != 0 && !*thorough {
						continue
					}
					to := filepath.Join(t.TempDir(), "cache")
					for k, f := range files {
						if k == i {
							f.content = damage.do(bytes.Clone(f.content), rand.New(rand.NewPCG(uint64(i), uint64(j))))
							if len(f.content) < len(file.content) {
								f.size = int64(len(f.content))
							}
						}
						f.write(t, to)
					}
					openDamaged(t, to, damage.name+" "+file.path)
				}
			}
		})
	}
}

func openDamaged(t *testing.T, dir, what string) {
	t.Helper()
	t.Logf("%s", what)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: 16 * mib, MinFreeBytes: -1, Log: log})
	if strings.HasSuffix(what, " version") && errors.Is(err, weir.ErrInvalid) {
		return // a version that can't be read is not guessed
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	checkAll(t, c, func(id weir.PieceID) int { return childSize(id.Index) })
	if err := c.EachRecord("r", func(key, value []byte) error {
		if n := 1 + 2000*parseInt(key); len(value) != n || !bytes.Equal(value, make([]byte, n)) {
			t.Errorf("%s: record %s is wrong", what, key)
		}
		return nil
	}); err != nil {
		t.Errorf("%s: records: %v", what, err)
	}
	put(t, c, piece('n', 1), mib)
	want(t, c, piece('n', 1), mib, 0, mib)
	if err := c.PutRecord("n", nil, []byte("new")); err != nil {
		t.Errorf("%s: put record: %v", what, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
}

func parseInt(b []byte) (n int) {
	for _, d := range b {
		n = 10*n + int(d-'0')
	}
	return n
}

// testFile is a file, without the zeros at its end: value logs are mostly that.
type testFile struct {
	path    string // in the cache folder
	content []byte
	size    int64
}

func readFolder(tb testing.TB, dir string) (files []testFile) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		b, err := os.ReadFile(path)
		files = append(files, testFile{rel, bytes.Clone(bytes.TrimRight(b, "\x00")), int64(len(b))})
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

func (f testFile) write(tb testing.TB, dir string) {
	tb.Helper()
	path := filepath.Join(dir, f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, f.content, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(path, f.size); err != nil {
		tb.Fatal(err)
	}
}
