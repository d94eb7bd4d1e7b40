package cache_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// The child is this test binary, started again to be killed. It writes to a
// cache without end and says each thing that it has done, after it was done.
const (
	childDir   = "WEIR_TEST_CHILD_DIR"
	childSeed  = "WEIR_TEST_CHILD_SEED"
	childLimit = "WEIR_TEST_CHILD_LIMIT"

	// fullDisk is the limit of a child whose disk is filled: it goes on then.
	fullDisk = 200 * mib
)

// runChild does the child's work when this process is one.
func runChild() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	seed, _ := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	limit, _ := strconv.ParseInt(os.Getenv(childLimit), 10, 64)
	if err := childWork(dir, seed, limit); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	return true
}

func childWork(dir string, seed uint64, limit int64) error {
	c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: limit, MinFreeBytes: -1, Mountpoint: "/mnt/child", Control: "/run/child.sock"})
	if err != nil {
		return err
	}
	fmt.Println("open")
	full := func(err error) bool { return limit == fullDisk && errors.Is(err, weir.ErrNoSpace) }
	r := rand.New(rand.NewPCG(seed, 1))
	for n := uint64(0); ; n++ {
		// The size of a piece follows from its index, so that everybody knows it.
		index := int(seed%1000)*10_000 + int(n)
		id, size := piece('c', index), childSize(index)
		if err := c.PutHashed(id, sum(id, size), blocks(content(id, size))); err == nil {
			fmt.Println("put", index)
		} else if !full(err) {
			return err
		}
		if n%8 == 0 && limit != fullDisk {
			if err := childGroup(c, seed, n/8); err != nil {
				return err
			}
			fmt.Println("put", index) // what is evicted was said last
		}
		switch r.IntN(10) {
		case 0:
			if err := c.Evict(hash('c'), []int{index}); err == nil {
				fmt.Println("evict", index)
			} else if !full(err) {
				return err
			}
		case 1:
			if err := c.PutRecord("child", []byte("n"), childRecord(n)); err == nil {
				fmt.Println("record", n)
			} else if !full(err) {
				return err
			}
		case 3, 4:
			// The same under another name, now or of a while ago, before and after the
			// first name is evicted.
			same := max(0, index-r.IntN(30))
			if id := piece('c', same); c.Adopt(twin(id), sum(id, childSize(same)), int64(childSize(same))) {
				fmt.Println("adopt", same)
			}
		case 2:
			// Used again, so that evictions move something.
			for i := max(0, index-20); i < index; i++ {
				if _, err := c.View(piece('c', i), 0, 1, func([]byte) {}); err != nil {
					return err
				}
			}
		}
	}
}

// childGroup puts pieces of all sizes, most of them small, at the same time.
func childGroup(c *cache.Cache, seed, n uint64) error {
	var group errgroup.Group
	for i := range 12 {
		group.Go(func() error {
			index := int(seed%1000)*10_000 + 5_000 + 12*int(n) + i
			id, size := piece('c', index), childSize(index)
			if err := c.PutHashed(id, sum(id, size), blocks(content(id, size))); err != nil {
				return err
			}
			fmt.Println("put", index)
			return nil
		})
	}
	return group.Wait()
}

// twin is the name under which the child adopts a piece; original takes it back.
func twin(id weir.PieceID) weir.PieceID { return piece('d', id.Index) }

func original(id weir.PieceID) weir.PieceID {
	if id.Torrent == hash('d') {
		return piece('c', id.Index)
	}
	return id
}

func childSize(index int) int { return []int{1000, 100 * kib, 600 * kib, 2*mib + 3}[index%4] }

// childRecord is short for even n and long for odd.
func childRecord(n uint64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, (n%2)*100_000), n)
}

// childReport is what a child said.
type childReport struct {
	put, evicted, adopted map[int]bool

	last   int   // the last put, -1 if none
	record int64 // -1 if none
}

// killChild starts a child and kills it a while after its first put.
func killChild(tb testing.TB, dir string, seed uint64, limit int64, after time.Duration) childReport {
	tb.Helper()
	d, opened := startChild(tb, dir, seed, limit, after)
	if !opened {
		tb.Error("the child did not open the cache")
	}
	return d
}

// startChild reports what the child said, and whether it opened the cache.
func startChild(tb testing.TB, dir string, seed uint64, limit int64, after time.Duration) (childReport, bool) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed), fmt.Sprintf("%s=%d", childLimit, limit))
	cmd.Stderr = tb.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	d := childReport{put: map[int]bool{}, evicted: map[int]bool{}, adopted: map[int]bool{}, last: -1, record: -1}
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, arg, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.Atoi(arg)
		switch what {
		case "open":
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		case "put":
			d.put[n], d.last = true, n
		case "evict":
			d.evicted[n] = true
		case "adopt":
			d.adopted[n] = true
		case "record":
			d.record = int64(n)
		case "failed":
			if limit != fullDisk || timer != nil {
				tb.Errorf("child said %q", lines.Text())
			}
		default:
			tb.Errorf("child said %q", lines.Text())
		}
	}
	err = cmd.Wait()
	if timer == nil && cmd.ProcessState.ExitCode() == 1 {
		return d, false
	}
	if err == nil || cmd.ProcessState.ExitCode() != -1 {
		tb.Errorf("the child ended by itself: %v", err)
	}
	return d, timer != nil
}

// killFilledChild is killChild on a disk that others fill: the child may find no room
// to open its cache, and says so.
func killFilledChild(tb testing.TB, dir string, seed uint64, after time.Duration) (childReport, bool) {
	tb.Helper()
	for range 100 {
		if d, opened := startChild(tb, dir, seed, fullDisk, after); opened {
			return d, true
		}
	}
	return childReport{record: -1}, false
}
