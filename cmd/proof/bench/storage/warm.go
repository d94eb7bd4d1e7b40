package storage

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/cmd/proof/bench/zeros"
	"github.com/weirfs/weir/engine/swarmtest"
)

// The systems beside weir: its file system with nothing behind it, and a plain
// file on the disk where weir has its cache.
const (
	zerosSystem = "zeros"
	diskSystem  = "disk"
)

// ZerosEnv makes this program that system: a folder and a size.
const ZerosEnv = "WEIR_BENCH_ZEROS"

// Warm reads what is all in the cache, after a mount of its own has brought it
// there, with no seeders and nothing in the page cache; and then once more when
// the kernel has dropped the mount's pages alone, so that the disk has no part in
// it. The limits are the same file system serving zeros from memory, and a plain
// file of as many bytes on the same disk.
func Warm() suite.Case {
	return suite.Case{
		Name: "warm", About: "one file, all of it in the cache, page cache dropped, no peers",
		Systems: []string{suite.Weir, zerosSystem, diskSystem}, Limit: 90 * time.Second,
		Figures: []suite.Figure{
			{Name: "rate", Unit: suite.BytesPerSec, Reference: zerosSystem, Bar: suite.Bar{LeastOf: 0.9}},
			{Name: "rate without the disk", Unit: suite.BytesPerSec, Reference: zerosSystem},
			{Name: "processor time a GB", Unit: suite.Seconds},
			{Name: "read_ahead_kb", Unit: suite.Count},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			switch r.System {
			case zerosSystem:
				return readZeros(r)
			case diskSystem:
				return readPlain(r)
			}
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 2})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			f, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			_, err = suite.ReadOn(f, sw.Info().Length, func(int) error { return nil })
			f.Close()
			if err != nil {
				return nil, err
			}
			if err := r.StopAll(); err != nil {
				return nil, err
			}
			if err := sw.Wire.Hosts().Stop(r.Ctx); err != nil {
				return nil, err
			}
			if err := dropPages(filepath.Join(r.Dir, "cache")); err != nil {
				return nil, err
			}
			if p, err = r.Start(sw, ""); err != nil {
				return nil, err
			}
			if f, err = p.Open(r.Ctx); err != nil {
				return nil, err
			}
			defer f.Close()
			before := p.CPU()
			v, err := readWarm(f, sw.Info().Length)
			v["processor time a GB"] = (p.CPU() - before).Seconds() / float64(2*sw.Info().Length) * 1e9
			return v, err
		},
	}
}

// readWarm reads a mount's file twice; before the second time the kernel drops its
// pages.
func readWarm(f *os.File, size int64) (suite.Values, error) {
	v := suite.Values{}
	if kb, err := readAheadKB(f); err == nil { // some containers don't show it
		v["read_ahead_kb"] = kb
	}
	for _, figure := range []string{"rate", "rate without the disk"} {
		if err := suite.DropFile(f); err != nil {
			return v, err
		}
		n, err := rate(io.NewSectionReader(f, 0, size), size)
		if err != nil {
			return v, err
		}
		v[figure] = n
	}
	return v, nil
}

// rate reads so many bytes and returns how many it got a second.
func rate(from io.Reader, size int64) (float64, error) {
	begin := time.Now()
	n, err := suite.ReadOn(from, size, func(int) error { return nil })
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return float64(n) / time.Since(begin).Seconds(), err
}

// readAheadKB returns how far the kernel reads ahead in the file system of a file,
// in KiB.
func readAheadKB(f *os.File) (kb float64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(b), &kb)
	return kb, err
}

// plainReaders read a plain file at once, a piece each in turn: one alone leaves a
// disk waiting, and a mount's read-ahead has several requests under way, too.
const plainReaders = 4

// readPlain reads a plain file that lies where weir's cache would and is as long.
func readPlain(r *suite.Run) (suite.Values, error) {
	size := r.Gigabyte().Files[0].Length
	f, err := os.Create(filepath.Join(r.Dir, "plain"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, suite.MiB)
	for off := int64(0); off < size; off += suite.MiB {
		swarmtest.Fill(b, 1, off)
		if _, err := f.WriteAt(b[:min(suite.MiB, size-off)], off); err != nil {
			return nil, err
		}
	}
	if err := dropPages(r.Dir); err != nil {
		return nil, err
	}
	const piece = 4 * suite.MiB
	var next atomic.Int64
	var g errgroup.Group
	begin := time.Now()
	for range plainReaders {
		g.Go(func() error {
			f, err := os.Open(f.Name()) // for a read-ahead of its own
			if err != nil {
				return err
			}
			defer f.Close()
			for {
				off := next.Add(piece) - piece
				if off >= size {
					return nil
				}
				n := min(piece, size-off)
				if _, err := rate(io.NewSectionReader(f, off, n), n); err != nil {
					return err
				}
			}
		})
	}
	err = g.Wait()
	return suite.Values{"rate": float64(size) / time.Since(begin).Seconds()}, err
}

// dropPages makes the kernel forget what it holds of a folder's files: they are
// written out, and root drops the page cache besides.
func dropPages(dir string) error {
	unix.Sync()
	if os.Geteuid() == 0 {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err == nil {
			return nil
		}
	}
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// readZeros reads as much from a mount of zeros, in a process of its own.
func readZeros(r *suite.Run) (v suite.Values, err error) {
	size := r.Gigabyte().Files[0].Length
	dir := filepath.Join(r.Dir, "mnt")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(r.Ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), ZerosEnv+"="+strconv.FormatInt(size, 10)+" "+dir)
	cmd.Stderr = r.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		in.Close()
		if ended := cmd.Wait(); err == nil {
			err = ended
		}
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, zeros.Name, zeros.Name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readWarm(f, size)
}

// ServeZeros is the other process.
func ServeZeros(how string, stdin io.Reader, stdout io.Writer) error {
	var size int64
	var dir string
	if _, err := fmt.Sscan(how, &size, &dir); err != nil {
		return err
	}
	return zeros.Serve(dir, size, stdin, stdout)
}
