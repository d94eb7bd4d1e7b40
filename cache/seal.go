package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirfs/weir"
)

// A sealed generation has a list of its pieces beside its log, so that opening
// reads that and not the log:
//
//	"weirseal" | bytes in the log (8) | torrents (4) |
//	for each torrent: info hash (20) | pieces (4) | for each: index (4), bytes (4), offset (4)
//	CRC32C of all that (4)
//
// little endian. The top bit of the bytes says that the entry is a link. Without a good list the log is walked, from head to head. The
// list is a copy: the log is what counts, and every block is checked when read.
const sealMagic = "weirseal"

func encodeSeal(pieces []found, logBytes int64) []byte {
	slices.SortFunc(pieces, func(a, b found) int {
		if c := slices.Compare(a.id.Torrent[:], b.id.Torrent[:]); c != 0 {
			return c
		}
		return a.id.Index - b.id.Index
	})
	le := binary.LittleEndian
	b := make([]byte, 0, 64+12*len(pieces))
	b = append(b, sealMagic...)
	b = le.AppendUint64(b, uint64(logBytes))
	count := len(b)
	b = le.AppendUint32(b, 0)
	torrents := uint32(0)
	for len(pieces) > 0 {
		hash := pieces[0].id.Torrent
		end := slices.IndexFunc(pieces, func(f found) bool { return f.id.Torrent != hash })
		if end < 0 {
			end = len(pieces)
		}
		b = append(b, hash[:]...)
		b = le.AppendUint32(b, uint32(end))
		for _, f := range pieces[:end] {
			b = le.AppendUint32(b, uint32(f.id.Index))
			n := uint32(f.n)
			if f.link {
				n |= linkBit
			}
			b = le.AppendUint32(b, n)
			b = le.AppendUint32(b, uint32(f.off))
		}
		pieces = pieces[end:]
		torrents++
	}
	le.PutUint32(b[count:], torrents)
	return appendSum(b)
}

// appendSum appends the checksum of all of b.
func appendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseSeal reads a list and calls piece for each entry that lies inside a log
// of logBytes: a log that is shorter than it was loses what is gone and keeps
// the rest. The error wraps weir.ErrCorrupt.
func parseSeal(b []byte, logBytes int64, piece func(found)) error {
	bad := func(what string) error { return fmt.Errorf("list of pieces: %s: %w", what, weir.ErrCorrupt) }
	le := binary.LittleEndian
	const head = len(sealMagic) + 8 + 4
	if len(b) < head+4 || string(b[:len(sealMagic)]) != sealMagic {
		return bad("not one")
	}
	body, sum := b[:len(b)-4], le.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return bad("checksum")
	}
	torrents := le.Uint32(body[head-4:])
	body = body[head:]
	for range torrents {
		if len(body) < 24 {
			return bad("too short")
		}
		id := weir.PieceID{Torrent: weir.InfoHash(body[:20])}
		count := int64(le.Uint32(body[20:]))
		body = body[24:]
		if int64(len(body)) < 12*count {
			return bad("too short")
		}
		for ; count > 0; count-- {
			id.Index = int(le.Uint32(body))
			n := le.Uint32(body[4:])
			f := found{id, int64(le.Uint32(body[8:])), int64(n &^ linkBit), n&linkBit != 0}
			body = body[12:]
			if f.id.Index >= maxPieces || f.n == 0 || f.n > maxPieceBytes || f.off < logHeaderBytes {
				return bad("impossible piece")
			}
			if f.off+pieceSpan(f.n) <= logBytes {
				piece(f)
			}
		}
	}
	if len(body) != 0 {
		return bad("too long")
	}
	return nil
}

// writeWhole replaces the file at path in one step that survives a crash: the
// old content or the new, never a mixture.
func writeWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// loadGeneration opens a generation of an earlier run and returns the pieces in
// it, in the order of the log. A generation that was being written when weir
// died is sealed by this. An error means that nothing in it can be used.
func loadGeneration(root string, seq uint64, c class) (*generation, []found, error) {
	g := &generation{seq: seq, class: c, dir: filepath.Join(root, genName(seq, c)), sealed: true}
	g.refs.Store(1)
	var pieces []found
	err := guard(func() (err error) {
		pieces, err = g.load()
		return err
	})
	if err == nil && len(pieces) == 0 {
		err = fmt.Errorf("no piece in it: %w", weir.ErrNotFound)
	}
	if err != nil {
		g.release()
		return nil, nil, fmt.Errorf("open generation %s: %w", g.dir, err)
	}
	slices.SortFunc(pieces, func(a, b found) int { return int(a.off - b.off) })
	g.disk = allocatedBytes(g.dir)
	return g, pieces, nil
}

func (g *generation) load() ([]found, error) {
	st, err := os.Stat(filepath.Join(g.dir, logName))
	if err != nil {
		return nil, err
	}
	if st.Size() <= logHeaderBytes || st.Size() > 1<<32 {
		return nil, fmt.Errorf("log of %d bytes: %w", st.Size(), weir.ErrCorrupt)
	}
	var notes map[nameKey]noteKind
	if b, err := os.ReadFile(filepath.Join(g.dir, notesName)); err == nil {
		notes = parseNotes(b)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := g.loadHashes(); err != nil {
		return nil, err
	}
	var rows []found
	keep := func(f found) { rows = append(rows, f) }
	b, err := os.ReadFile(filepath.Join(g.dir, sealName))
	if err == nil {
		err = parseSeal(b, st.Size(), keep)
	}
	g.settled.Store(true)
	if err == nil {
		return named(rows, notes), g.mapLog(st.Size())
	}
	rows = nil
	if err := g.mapLog(st.Size()); err != nil {
		return nil, err
	}
	end := walk(g.log, logHeaderBytes, keep)
	pieces := named(rows, notes)
	if len(pieces) == 0 {
		return nil, nil
	}
	return pieces, g.reseal(pieces, end)
}

// reseal makes a walked generation like one that was closed in good order: the
// space that was reserved and not used goes back, and so do badger's files that
// only a writer needs.
func (g *generation) reseal(pieces []found, end int64) error {
	if err := os.Truncate(filepath.Join(g.dir, logName), end); err != nil {
		return err
	}
	for _, pattern := range []string{"*.mem", ".new-*", "reserve", "DISCARD", "LOCK"} {
		names, _ := filepath.Glob(filepath.Join(g.dir, pattern))
		for _, name := range names {
			_ = os.Remove(name)
		}
	}
	// Without the list the next start walks again: slower, and as right.
	if err := writeWhole(filepath.Join(g.dir, sealName), encodeSeal(slices.Clone(pieces), end)); err != nil && !isFull(err) {
		return err
	}
	return nil
}
