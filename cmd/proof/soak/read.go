package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/engine/swarmtest"
)

// Job is the task of one reading program.
type Job struct {
	Way     string // of reading
	Mount   string
	Files   []File
	Seed    uint64
	Threads int
	For     time.Duration
}

// ways are the ways of reading.
var ways = []string{"sequential", "random", "mapped", "direct", "small", "backward", "skipping"}

// Progress is what a reading program prints now and then, and at its end.
type Progress struct {
	Bytes int64 // compared
	Done  bool
	Wrong string // what differs from the right content, or ""
	Errno string // that ended it, or ""
	Where string
}

// readMain is a reading program: it compares what it reads with the right content, and ends
// at the first difference or error.
func readMain(job string, stdout io.Writer) (int, error) {
	var j Job
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return 2, err
	}
	r := &readJob{job: j, until: time.Now().Add(j.For)}
	var all sync.WaitGroup
	failed := make(chan error, j.Threads)
	for i := range j.Threads {
		all.Go(func() { failed <- r.work(rand.New(rand.NewPCG(j.Seed, uint64(i)))) })
	}
	go func() { all.Wait(); close(failed) }()
	out := json.NewEncoder(stdout)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := out.Encode(Progress{Bytes: r.compared.Load()}); err != nil {
				return 1, err
			}
		case err, ok := <-failed:
			if ok && err == nil {
				continue
			}
			p := Progress{Bytes: r.compared.Load(), Done: true}
			var w *mismatchError
			if errors.As(err, &w) {
				p.Wrong = w.Error()
			} else if err != nil {
				p.Errno, p.Where = errnoName(err), err.Error()
			}
			return 0, out.Encode(p)
		}
	}
}

// mismatchError is a difference from the right content.
type mismatchError struct{ what string }

func (e *mismatchError) Error() string { return e.what }

func wrong(format string, args ...any) error { return &mismatchError{fmt.Sprintf(format, args...)} }

// faultError is a SIGBUS of a mapped file.
type faultError struct{ what string }

func (e *faultError) Error() string { return e.what }

// errnoName returns the name that an error has in explains.
func errnoName(err error) string {
	var fault *faultError
	if errors.As(err, &fault) {
		return "SIGBUS"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// readJob is a running job.
type readJob struct {
	job      Job
	until    time.Time
	compared atomic.Int64
}

func (r *readJob) over() bool { return time.Now().After(r.until) }

// work reads files until the time is over.
func (r *readJob) work(random *rand.Rand) error {
	buf := aligned(1 << 20)
	for first := true; first || !r.over(); first = false {
		if err := r.file(r.job.Files[random.IntN(len(r.job.Files))], buf, random); err != nil {
			return err
		}
	}
	return nil
}

// file opens a file, checks its size and reads it in the job's way.
func (r *readJob) file(f File, buf []byte, random *rand.Rand) error {
	flags := os.O_RDONLY
	if r.job.Way == "direct" {
		flags |= unix.O_DIRECT
	}
	h, err := os.OpenFile(filepath.Join(r.job.Mount, f.Path), flags, 0)
	if err != nil {
		return err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.Length {
		return wrong("%s has %d bytes, not %d", f.Path, info.Size(), f.Length)
	}
	if random.IntN(3) == 0 { // drop the kernel's pages, so that weir is read
		if err := unix.Fadvise(int(h.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
	}
	if r.job.Way == "mapped" {
		return r.mapped(h, f, buf, random)
	}
	return r.reads(h, f, buf, random)
}

// reads uses pread.
func (r *readJob) reads(h *os.File, f File, buf []byte, random *rand.Rand) error {
	const page = 4096
	size := int64(page) << random.IntN(9) // to 1 MiB
	off := int64(0)
	switch r.job.Way {
	case "sequential", "skipping":
		off = random.Int64N(f.Length) / 2 / page * page
	case "backward":
		off = (f.Length - 1) / page * page
	}
	for n := 0; n == 0 || !r.over(); n++ {
		if r.job.Way == "random" || r.job.Way == "direct" {
			if n == 50 {
				return nil
			}
			off = random.Int64N(f.Length)
			if r.job.Way == "direct" {
				off = off / page * page
			} else {
				size = 1 + random.Int64N(256<<10)
			}
		}
		if off < 0 || off >= f.Length {
			return nil
		}
		p := buf[:size]
		got, err := h.ReadAt(p, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if want := min(size, f.Length-off); int64(got) != want {
			return wrong("%s at %d: %d bytes of %d", f.Path, off, got, want)
		}
		if err := r.compare(p[:got], f, off); err != nil {
			return err
		}
		switch r.job.Way {
		case "backward":
			off -= size
		case "skipping":
			off += size * 5
		default:
			off += size
		}
	}
	return nil
}

// mapped reads parts of a memory map.
func (r *readJob) mapped(h *os.File, f File, buf []byte, random *rand.Rand) (err error) {
	m, err := unix.Mmap(int(h.Fd()), 0, int(f.Length), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap "+f.Path, err)
	}
	defer func() { _ = unix.Munmap(m) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &faultError{fmt.Sprintf("mapped %s: %v", f.Path, p)}
		}
	}()
	for n := 0; n == 0 || n < 30 && !r.over(); n++ {
		off := random.Int64N(f.Length)
		p := buf[:copy(buf, m[off:])]
		if err := r.compare(p, f, off); err != nil {
			return err
		}
	}
	return nil
}

// compare compares what was read with the right content.
func (r *readJob) compare(p []byte, f File, off int64) error {
	truth := make([]byte, 64<<10)
	for len(p) > 0 {
		t := truth[:min(len(p), len(truth))]
		swarmtest.Fill(t, f.Seed, off)
		if !bytes.Equal(p[:len(t)], t) {
			i := 0
			for p[i] == t[i] {
				i++
			}
			return wrong("%s at %d: %#x and not %#x, read in the way %s", f.Path, off+int64(i), p[i], t[i], r.job.Way)
		}
		r.compared.Add(int64(len(t)))
		p, off = p[len(t):], off+int64(len(t))
	}
	return nil
}

// aligned returns memory that O_DIRECT takes.
func aligned(n int) []byte {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(err)
	}
	return m
}
