package segment

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

// maxIovs is how many slices the kernel takes in one write (IOV_MAX).
const maxIovs = 1024

// Fits reports whether a piece of n bytes can still be appended after others that
// take so much (see Listed).
func (s *Segment) Fits(n, others int64) bool {
	return s.file != nil && s.next+int64(s.rows)*rowListed+others+Listed(n)+footerBytes <= s.cap
}

// Append writes rows one behind the other, in as few writes as the kernel allows,
// from where their bytes lie, and sets where each is. With an error none of them
// is there, and nothing more can be appended.
func (s *Segment) Append(rows ...*Row) error {
	at := s.next
	s.iovs = s.iovs[:0]
	for _, r := range rows {
		m := maskOf(s.Salt, at)
		r.Off = at
		sealHead(r.head, m)
		flipSums(r.head[headBytes:], m)
		s.iovs = append(append(s.iovs, r.head), r.blocks...)
		at += Span(r.n)
	}
	if err := s.write(s.iovs, s.next, at); err != nil {
		// What is there of it begins with a head that may be right: cut it off.
		err = errors.Join(err, s.file.Truncate(s.next))
		s.cap = 0
		return err
	}
	clear(s.iovs)
	s.next, s.rows = at, s.rows+len(rows)
	return nil
}

// write writes slices from off up to end.
func (s *Segment) write(iovs [][]byte, off, end int64) error {
	for off < end {
		n, err := unix.Pwritev(int(s.file.Fd()), iovs[:min(len(iovs), maxIovs)], off)
		switch {
		case err == unix.EINTR:
			continue
		case disk.IsFull(err):
			return fmt.Errorf("write %s: %w: %w", s.path, weir.ErrNoSpace, err)
		case err != nil:
			return fmt.Errorf("write %s: %w", s.path, err)
		case n == 0:
			return fmt.Errorf("write %s: nothing was taken at %d", s.path, off)
		}
		off += int64(n)
		for n > 0 && n >= len(iovs[0]) {
			n -= len(iovs[0])
			iovs = iovs[1:]
		}
		if n > 0 {
			iovs[0] = iovs[0][n:]
		}
	}
	return nil
}

// Seal ends writing: the list of names goes behind the rows, what was reserved and
// not used goes back, and all is on disk when Seal returns. Without the list, for
// which a full disk may have no room, the next start walks the rows.
func (s *Segment) Seal(names []Name, prints Prints) error {
	if s.file == nil {
		return nil
	}
	f := s.file
	err := errors.Join(s.finish(f, names, prints), s.Sync(math.MaxInt64))
	s.stop()
	s.settled.Store(true)
	return err
}

// End returns where the rows that were appended end.
func (s *Segment) End() int64 { return s.next }

// Sync brings the rows before end to disk. It may be called while others write.
func (s *Segment) Sync(end int64) error {
	if s.Synced.Load() >= end {
		return nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	err = unix.Fdatasync(int(f.Fd()))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	s.Synced.Store(end)
	return nil
}

// finish writes the list behind the rows and gives back what lies behind it.
func (s *Segment) finish(f *os.File, names []Name, prints Prints) error {
	b := s.appendFooter(nil, names, prints)
	end := s.next + int64(len(b))
	_, err := f.WriteAt(b, s.next)
	if disk.IsFull(err) {
		end, err = s.next, nil
	}
	if err := errors.Join(err, f.Truncate(end)); err != nil {
		return fmt.Errorf("list of %s: %w", s.path, err)
	}
	return nil
}

// Free gives the space of rows of a sealed segment back: of those that lost a name and
// are not among live, which are all that have one, each in the order of the file. What
// lies between two live rows becomes one free row, whose head stays. Readers that
// are in it see zeros, which their checksum refuses, or have what they need.
func (s *Segment) Free(lost, live []Name) error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var errs []error
	from, i := int64(headerBytes), 0 // where a gap begins: behind live row i-1
	done := int64(0)
	for _, d := range lost {
		if d.Off < done {
			continue // in a gap that is free by now
		}
		for i < len(live) && live[i].Off < d.Off {
			from = live[i].Off + Span(live[i].N)
			i++
		}
		end := s.next
		if i < len(live) {
			end = live[i].Off
		}
		if end == d.Off {
			continue // it has another name
		}
		done = end
		head := make([]byte, headBytes)
		putHead(head, kindFree, end-from, weir.PieceID{}, nil)
		sealHead(head, maskOf(s.Salt, from))
		_, err := f.WriteAt(head, from)
		errs = append(errs, err, disk.Punch(f, from+headBytes, end))
	}
	return errors.Join(errs...)
}
