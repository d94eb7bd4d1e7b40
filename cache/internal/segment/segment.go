// Package segment keeps pieces in append-only files. The space of a segment is
// reserved when it is made; it is written from end to end, sealed with a list of its
// rows, and at last dropped whole. It is read through its own memory map, and every
// block is checked at every read.
//
// What must not live here: which pieces are wanted, the database, and anything
// that spans two segments.
//
// Append, Seal and Free are for one goroutine at a time. Reading is for everyone
// who holds a reference (Acquire, Release).
package segment

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
	"github.com/weirfs/weir/cache/internal/policy"
)

// Segment is one file. Its number counts up over the life of a folder; its salt is
// random, so that nothing that was said of a segment holds for another one.
type Segment struct {
	Seq   uint64
	Class policy.Class
	Salt  uint64

	Synced atomic.Int64 // rows before this outlive a power loss

	path string
	m    []byte          // the map
	refs atomic.Int64    // the owner's, and one for each reader
	warm []atomic.Uint32 // for each stretch of the map, when it was last populated
	// settled is set once nothing is written any more: until then what follows in the
	// file is on its way here from above, not from the disk.
	settled atomic.Bool

	file *os.File // for writing; nil once sealed
	next int64    // where the next row begins
	rows int
	cap  int64    // bytes that rows and their list may take
	iovs [][]byte // of one write
}

// Name is a piece under one of its names, and the row that holds it.
type Name struct {
	ID   weir.PieceID
	Off  int64 // of the row
	N    int64 // bytes in the piece
	Link bool  // the row was written under another name
}

const (
	// MaxPieces bounds the index of a piece. Real torrents stay below 2^24.
	MaxPieces = 1 << 26

	// MaxPieceBytes keeps every offset in a segment below 2^32.
	MaxPieceBytes = 1 << 30

	headerMagic = "weirseg1"
	headerBytes = 8 + 8 + 8 + 4 // magic, number, salt, CRC32C

	// rowListed is what a row costs in the list at most: its name, its hash, and a
	// torrent of its own.
	rowListed = nameBytes + printBytes + torrentBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func fileName(seq uint64, c policy.Class) string { return fmt.Sprintf("%010d-%c", seq, c) }

// ParseName is what a file in the folder of segments is called; ok is false when
// it is none.
func ParseName(name string) (seq uint64, c policy.Class, ok bool) {
	if _, err := fmt.Sscanf(name, "%010d-%c", &seq, &c); err != nil || fileName(seq, c) != name {
		return 0, 0, false
	}
	for _, known := range policy.Classes {
		ok = ok || c == known
	}
	return seq, c, ok
}

// Capacity returns the bytes of a segment of at least n bytes that is filled by
// pieces of pieceBytes: a whole number of them.
func Capacity(n, pieceBytes int64) int64 {
	row := Listed(pieceBytes)
	return headerBytes + footerBytes + (n+row-1)/row*row
}

// Create makes an empty segment with capacity bytes, all reserved. The error wraps
// weir.ErrNoSpace when the disk has none.
func Create(dir string, seq uint64, c policy.Class, capacity int64) (*Segment, error) {
	s := &Segment{Seq: seq, Class: c, path: filepath.Join(dir, fileName(seq, c)), next: headerBytes, cap: capacity}
	s.refs.Store(1)
	if err := s.create(); err != nil {
		err = errors.Join(fmt.Errorf("new segment %s: %w", s.path, err), s.Drop())
		s.Release()
		return nil, err
	}
	return s, nil
}

func (s *Segment) create() (err error) {
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	s.Salt = le.Uint64(salt[:])
	if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	if err := disk.Reserve(s.file, 0, s.cap); err != nil {
		return err
	}
	header := le.AppendUint64([]byte(headerMagic), s.Seq)
	header = le.AppendUint64(header, s.Salt)
	header = le.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if _, err := s.file.WriteAt(header, 0); err != nil {
		return err
	}
	return s.mapFile(s.file, s.cap)
}

func (s *Segment) mapFile(f *os.File, n int64) (err error) {
	if s.m, err = unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map %s: %w", f.Name(), err)
	}
	s.warm = make([]atomic.Uint32, n/stretchBytes+1)
	return nil
}

// Open opens a segment of an earlier run, and returns the names in it in the order
// of their rows, and their hashes. One that was being written when weir died is
// sealed by this, and is not synced yet. The error wraps weir.ErrNotFound when nothing is in it.
func Open(dir, name string) (*Segment, []Name, Prints, error) {
	seq, c, ok := ParseName(name)
	if !ok {
		return nil, nil, nil, weir.Errorf(weir.ErrInvalid, "%q is no name of a segment", name)
	}
	s := &Segment{Seq: seq, Class: c, path: filepath.Join(dir, name)}
	s.refs.Store(1)
	s.settled.Store(true)
	var names []Name
	var prints Prints
	err := disk.Guard(func() (err error) {
		names, prints, err = s.open()
		return err
	})
	if err == nil && len(names) == 0 {
		err = weir.Errorf(weir.ErrNotFound, "no piece in it")
	}
	if err != nil {
		s.Release()
		return nil, nil, nil, fmt.Errorf("open segment %s: %w", s.path, err)
	}
	return s, names, prints, nil
}

func (s *Segment) open() ([]Name, Prints, error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if st.Size() <= headerBytes || st.Size() >= 1<<32 {
		return nil, nil, fmt.Errorf("%d bytes: %w", st.Size(), weir.ErrCorrupt)
	}
	if err := s.mapFile(f, st.Size()); err != nil {
		return nil, nil, err
	}
	le := binary.LittleEndian
	if h := s.m[:headerBytes]; string(h[:8]) != headerMagic || le.Uint64(h[8:]) != s.Seq ||
		crc32.Checksum(h[:headerBytes-4], castagnoli) != le.Uint32(h[headerBytes-4:]) {
		return nil, nil, fmt.Errorf("header: %w", weir.ErrCorrupt)
	}
	s.Salt = le.Uint64(s.m[16:])
	if names, prints, err := s.readFooter(); err == nil {
		s.Synced.Store(math.MaxInt64) // Seal did that
		return names, prints, nil
	}
	// It was not sealed, or its list is damaged: the heads of the rows tell the same.
	names, prints := s.walk()
	if len(names) == 0 {
		return nil, nil, nil
	}
	return names, prints, s.finish(f, names, prints)
}

// Size returns what the file takes on disk, as du counts.
func (s *Segment) Size() int64 { return disk.Allocated(s.path) }

// Acquire keeps the map alive for a reader.
func (s *Segment) Acquire() { s.refs.Add(1) }

// Release gives a reference back. The last one unmaps.
func (s *Segment) Release() {
	if s.refs.Add(-1) == 0 && s.m != nil {
		_ = unix.Munmap(s.m)
		s.m = nil
	}
}

// Drop removes the file. Readers who hold a reference go on.
func (s *Segment) Drop() error {
	s.stop()
	return os.Remove(s.path)
}

func (s *Segment) stop() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}
