package cache

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

// badger writes the log through a memory map. Left to that, each page of 4 KiB
// costs a fault, an allocation and a clearing when it is written, and an interrupt
// of the other processors when it is synced: ten times what write(2) costs. So
// zeros are written ahead of badger, in large steps: the kernel then has large
// folios in its page cache, and maps many pages with one fault. What badger has
// written is taken out of its map again before the disk gets it, many pages with
// one interrupt.
const (
	// stepBytes is one write, and the largest folio that can come of it. Larger ones
	// are no faster, and some virtual machines give free memory back to their host in
	// units of 2 MiB, which makes them dear.
	stepBytes = 512 << 10

	// aheadBytes is how far ahead of badger the zeros are.
	aheadBytes = 4 << 20
)

var zeros [stepBytes]byte

// ahead is the state of that for one log. It belongs to whoever has the turn.
type ahead struct {
	made   int64 // up to here there are zeros, or rows
	to     int64 // where made will be, while done is not nil
	done   chan error
	mapped mapping // badger's
	handed int64   // up to here rows were handed over
}

// mapping is a piece of this process's memory that is not ours: only the kernel
// is told its address.
type mapping struct {
	addr  uintptr
	bytes int64
}

// beginAhead drops what the kernel has read ahead around the header of the new
// log (nothing, in small pages), and writes the first zeros.
func (g *generation) beginAhead() error {
	g.ahead.made = pageBytes
	_ = unix.Fadvise(int(g.file.Fd()), pageBytes, 0, unix.FADV_DONTNEED)
	g.ahead.mapped = findMapping(g.file)
	to := min(aheadBytes, g.alloc)
	err := g.writeZeros(g.ahead.made, to)
	g.ahead.made = to
	return err
}

// zeroed returns once there are zeros up to byte end, which is reserved, and has
// more written meanwhile. The error wraps weir.ErrNoSpace when the disk is full
// nevertheless: some file systems can't reserve.
func (g *generation) zeroed(end int64) error {
	a := &g.ahead
	for a.made < end {
		if a.done == nil {
			g.goAhead(max(end, a.made+stepBytes))
		}
		if err := g.awaitAhead(); err != nil {
			return err
		}
	}
	if a.done == nil && a.made-end < aheadBytes {
		g.goAhead(a.made + aheadBytes/2)
	}
	return nil
}

// goAhead writes zeros up to byte to, or as far as is reserved, in the background.
func (g *generation) goAhead(to int64) {
	a := &g.ahead
	from, to := a.made, min((to+stepBytes-1)&^(stepBytes-1), g.alloc)
	if from >= to {
		return
	}
	a.to, a.done = to, make(chan error, 1)
	go func(done chan<- error) { done <- g.writeZeros(from, to) }(a.done)
}

// awaitAhead waits for what goAhead began.
func (g *generation) awaitAhead() error {
	a := &g.ahead
	if a.done == nil {
		return nil
	}
	err := <-a.done
	if a.done = nil; err == nil {
		a.made = a.to
	}
	return err
}

func (g *generation) writeZeros(from, to int64) error {
	for from < to {
		end := min((from+stepBytes)&^(stepBytes-1), to)
		_, err := g.file.WriteAt(zeros[:end-from], from)
		switch {
		case isFull(err):
			return fmt.Errorf("make room: %w: %w", weir.ErrNoSpace, err)
		case err != nil:
			return fmt.Errorf("make room: %w", err)
		}
		from = end
	}
	return nil
}

// handOver takes what badger has written, up to byte end, out of badger's map and
// into ours, for reading. The bytes stay where they are, in the page cache, from
// where nothing has driven them yet: no disk is needed, and reading finds them
// without a fault.
func (g *generation) handOver(end int64) {
	a := &g.ahead
	if end <= a.handed || g.log == nil {
		return
	}
	if end <= a.mapped.bytes {
		// When it fails, the sync is slower.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, a.mapped.addr+uintptr(a.handed), uintptr(end-a.handed), unix.MADV_DONTNEED)
	}
	_ = g.populate(a.handed, end, a.handed, end) // if not now, when it is read
	a.handed = end
}

// findMapping finds where in memory another part of this process has mapped f for
// writing; nothing when that can't be told.
func findMapping(f *os.File) (m mapping) {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return m
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return m
	}
	defer maps.Close()
	// Paths may be written in two ways, and numbers of files mean something beside the
	// device only: the ends of the path and the number together are ours.
	dir, name := filepath.Split(f.Name())
	name = "/" + filepath.Base(dir) + "/" + name
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var perms, device string
		var off, inode uint64
		line := lines.Text()
		if !strings.HasSuffix(line, name) {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &from, &to, &perms, &off, &device, &inode); err == nil &&
			perms == "rw-s" && off == 0 && inode == st.Ino {
			return mapping{from, int64(to - from)}
		}
	}
	return m
}
