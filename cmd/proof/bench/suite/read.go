package suite

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
)

// Check reads b's length at off of a single-file torrent's file and holds it
// against the truth.
func (r *Run) Check(sw *Swarm, f *os.File, off int64, b []byte) error {
	if _, err := f.ReadAt(b, off); err != nil {
		return err
	}
	truth := make([]byte, len(b))
	if _, err := sw.ReadAt(truth, off); err != nil {
		return err
	}
	if !bytes.Equal(b, truth) {
		return fmt.Errorf("wrong bytes at %d", off)
	}
	return nil
}

// RandomAccess tells the kernel to read just what it is asked for.
func RandomAccess(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) }

// ReadOn reads a file from its beginning, at most n bytes, and hands out each
// piece of news. It returns how much it read.
func ReadOn(r io.Reader, n int64, each func(n int) error) (int64, error) {
	buf := make([]byte, MiB)
	var sum int64
	for sum < n {
		k, err := r.Read(buf[:min(int64(len(buf)), n-sum)])
		sum += int64(k)
		if k > 0 {
			if err := each(k); err != nil {
				return sum, err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// DropFile makes the kernel forget its pages of a file.
func DropFile(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// ParallelHTTP reads the beginning of a swarm's single file from its hosts' web
// servers, through the same line.
func (r *Run) ParallelHTTP(sw *Swarm, hosts int, size int64) (Values, error) {
	var urls []string
	for i := range hosts {
		urls = append(urls, sw.Wire.FileURL(i, sw.Spec.Name))
	}
	begin := time.Now()
	err := raw.HTTP(r.Ctx, urls, size)
	return Values{"rate": float64(size) / time.Since(begin).Seconds()}, err
}
