package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// check reads b's length at off of a single-file torrent's file and holds it
// against the truth.
func (r *Run) check(sw *Swarm, f *os.File, off int64, b []byte) error {
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

// randomAccess tells the kernel to read just what it is asked for.
func randomAccess(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) }

// readOn reads a file from its beginning, at most n bytes, and hands out each
// piece of news. It returns how much it read.
func readOn(r io.Reader, n int64, each func(n int) error) (int64, error) {
	buf := make([]byte, mib)
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

// dropFile makes the kernel forget its pages of a file.
func dropFile(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
