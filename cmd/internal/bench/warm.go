package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/weirfs/weir/cmd/internal/bench/ground"
	"github.com/weirfs/weir/cmd/internal/bench/zeros"
	"golang.org/x/sys/unix"
)

// zerosSystem is weir's file system with nothing behind it.
const zerosSystem = "zeros"

// zerosEnv makes this program that system: a folder and a size.
const zerosEnv = "WEIR_BENCH_ZEROS"

// warm reads what is all in the cache, after a mount of its own has brought it
// there, with no seeders and nothing in the page cache. The limit is the same
// file system serving zeros from memory.
func warm() Case {
	return Case{
		Name: "warm", About: "one file, all of it in the cache, page cache dropped, no peers",
		Systems: []string{weirSystem, zerosSystem}, Limit: 90 * time.Second,
		Figures: []Figure{
			{Name: "rate", Unit: BytesPerSec, Reference: zerosSystem, Bar: Bar{LeastOf: 0.85}},
			{Name: "processor time a GB", Unit: Seconds},
		},
		Run: func(r *Run) (Values, error) {
			if r.system == zerosSystem {
				return r.readZeros()
			}
			sw, err := r.seed(r.wire("loopback"), ground.Seeding{Spec: r.gigabyte(), Hosts: 2})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, "")
			if err != nil {
				return nil, err
			}
			f, err := p.Open(r.ctx)
			if err != nil {
				return nil, err
			}
			_, err = readOn(f, sw.Info().Length, func(int) error { return nil })
			f.Close()
			if err != nil {
				return nil, err
			}
			if err := r.stopAll(); err != nil {
				return nil, err
			}
			if err := sw.Wire.Site().Stop(r.ctx); err != nil {
				return nil, err
			}
			if err := dropPages(filepath.Join(r.dir, "cache")); err != nil {
				return nil, err
			}
			if p, err = r.start(sw, ""); err != nil {
				return nil, err
			}
			if f, err = p.Open(r.ctx); err != nil {
				return nil, err
			}
			defer f.Close()
			cpu, begin := p.CPU(), time.Now()
			n, err := readOn(f, sw.Info().Length, func(int) error { return nil })
			return Values{"rate": float64(n) / time.Since(begin).Seconds(), "processor time a GB": (p.CPU() - cpu).Seconds() / float64(n) * 1e9}, err
		},
	}
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
func (r *Run) readZeros() (v Values, err error) {
	size := r.gigabyte().Files[0].Length
	dir := filepath.Join(r.dir, "mnt")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(r.ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), zerosEnv+"="+strconv.FormatInt(size, 10)+" "+dir)
	cmd.Stderr = r.stderr
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
	begin := time.Now()
	n, err := readOn(f, size, func(int) error { return nil })
	return Values{"rate": float64(n) / time.Since(begin).Seconds()}, err
}

// serveZeros is the other process.
func serveZeros(how string, stdin io.Reader, stdout io.Writer) error {
	var size int64
	var dir string
	if _, err := fmt.Sscan(how, &size, &dir); err != nil {
		return err
	}
	return zeros.Serve(dir, size, stdin, stdout)
}
