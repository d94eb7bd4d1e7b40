package swarmtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/weirfs/weir"
)

// File describes one file of a torrent to be made. Its bytes come from Disk if
// that is set, else from Bytes if that is not nil, else they are made up from
// Seed.
type File struct {
	Path       []string // components beneath the torrent's folder; ignored in single-file form
	Length     int64    // bytes, when the content is made up; otherwise taken from Bytes or Disk
	Seed       uint64   // of the made-up content; files of the same seed begin with the same bytes
	Bytes      []byte   // not copied: must not change afterwards
	Disk       string   // name of a file of the operating system; must not change afterwards
	Executable bool     // BEP 47 attribute x
	Padding    bool     // BEP 47 attribute p: Length zeros; for v1 torrents
}

// Folder lists the regular files beneath dir, in lexical order, as files of a
// torrent whose bytes stay on disk.
func Folder(dir string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		files = append(files, File{
			Path: strings.Split(filepath.ToSlash(rel), "/"), Length: st.Size(),
			Disk: name, Executable: st.Mode()&0o111 != 0,
		})
		return nil
	})
	return files, err
}

// bytesAt is where the bytes of one file come from; n is always within it.
type bytesAt interface {
	readAt(p []byte, off int64) error
}

type memoryFile []byte

func (m memoryFile) readAt(p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}

// diskFile is opened for each read: a folder of a hundred thousand files must
// not need as many descriptors.
type diskFile string

func (d diskFile) readAt(p []byte, off int64) error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(p, off)
	return err
}

type zeroFile struct{}

func (zeroFile) readAt(p []byte, _ int64) error {
	clear(p)
	return nil
}

type seedFile uint64

func (s seedFile) readAt(p []byte, off int64) error {
	Fill(p, uint64(s), off)
	return nil
}

// golden is 2^64 divided by the golden ratio: the step of the counter.
const golden = 0x9e3779b97f4a7c15

// Multiples of golden modulo 2^64: they let four words be made side by side.
const (
	step2 = golden * 2 % (1 << 64)
	step3 = golden * 3 % (1 << 64)
	step4 = golden * 4 % (1 << 64)
)

// mix is the output function of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Fill writes the made-up content of seed, from byte off on, to p. Word n of
// the content depends on seed and n alone, so any offset costs the same; one
// core makes several GB/s.
func Fill(p []byte, seed uint64, off int64) {
	base := mix(seed+golden) ^ bits.RotateLeft64(seed, 32)
	n := uint64(off) / 8
	if skip := int(off % 8); skip != 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], mix(base+n*golden))
		p = p[copy(p, w[skip:]):]
		n++
	}
	x := base + n*golden
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p[0:8], mix(x))
		binary.LittleEndian.PutUint64(p[8:16], mix(x+golden))
		binary.LittleEndian.PutUint64(p[16:24], mix(x+step2))
		binary.LittleEndian.PutUint64(p[24:32], mix(x+step3))
		x += step4
		p = p[32:]
	}
	for len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], mix(x))
		p = p[copy(p, w[:]):]
		x += golden
	}
}

// Content is a torrent's content and its metainfo. It is immutable and safe
// for concurrent use; it holds no descriptor and needs no Close.
type Content struct {
	info      weir.TorrentInfo
	sources   []bytesAt // one for each of info.Files
	hashes    []byte    // 20 bytes for each piece; of a v2-only torrent 32
	infoBytes []byte
	v2        *contentV2 // nil for a v1 torrent
}

// Info returns the torrent's shape as its maker knows it.
func (c *Content) Info() *weir.TorrentInfo { return &c.info }

// InfoHash returns the SHA-1 of the info dictionary (BEP 3), or of a v2-only
// torrent the first 20 bytes of its SHA-256 (BEP 52).
func (c *Content) InfoHash() weir.InfoHash { return c.info.InfoHash }

// InfoBytes returns the bencoded info dictionary; it must not be changed.
func (c *Content) InfoBytes() []byte { return c.infoBytes }

// PieceHashes returns the SHA-1 of every piece, end to end, or for a v2-only
// torrent the roots of their hash trees, 32 bytes each; it must not be changed.
func (c *Content) PieceHashes() []byte { return c.hashes }

// ReadAt reads in torrent coordinates, as io.ReaderAt says. Padding reads as zeros.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, weir.Errorf(weir.ErrInvalid, "content %s: offset %d", c.info.Name, off)
	}
	if off >= c.info.Length {
		return 0, io.EOF
	}
	var short error
	if left := c.info.Length - off; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	// The first file that ends after off; empty files before it are passed over.
	i := sort.Search(len(c.info.Files), func(i int) bool { return c.info.Files[i].Range().End > off })
	n := 0
	for ; n < len(p); i++ {
		f := &c.info.Files[i]
		in := off + int64(n) - f.Offset
		k := int(min(int64(len(p)-n), f.Length-in))
		if k == 0 {
			continue
		}
		if err := c.sources[i].readAt(p[n:n+k], in); err != nil {
			return n, fmt.Errorf("content %s: file %d at %d: %w", c.info.Name, i, in, err)
		}
		n += k
	}
	return n, short
}

// ReadFileAt reads in the coordinates of file index of Info().Files, as
// io.ReaderAt says.
func (c *Content) ReadFileAt(index int, p []byte, off int64) (int, error) {
	f := &c.info.Files[index]
	return io.NewSectionReader(c, f.Offset, f.Length).ReadAt(p, off)
}

// FileReader returns a new reader of file index of Info().Files.
func (c *Content) FileReader(index int) *io.SectionReader {
	f := &c.info.Files[index]
	return io.NewSectionReader(c, f.Offset, f.Length)
}

// FileSHA256 returns the SHA-256 of file index of Info().Files, computed anew
// at every call.
func (c *Content) FileSHA256(index int) ([sha256.Size]byte, error) {
	h := sha256.New()
	var sum [sha256.Size]byte
	_, err := io.CopyBuffer(h, struct{ io.Reader }{c.FileReader(index)}, make([]byte, 256<<10))
	h.Sum(sum[:0])
	return sum, err
}
