package cache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The hashes file of a generation says which of its rows has which hash, so that
// the same piece of another torrent is found: records of offset (4), bytes in the
// hash (1), hash (32, zeros behind a short one), CRC32C (4), in the order in which
// the rows were written. It is written late and never synced: what a crash loses
// of it is only that some pieces are not shared. In memory a row has the first
// bytes of its hash and the number of its record.
const (
	hashesName  = "hashes"
	hashRecord  = 4 + 1 + maxHash + 4
	maxHash     = 32
	hashesBatch = 64 // records written at once
)

// printed is what memory knows of the hash of a row: its print, and behind that the
// number of its record, inverted, so that of equal prints the newest comes first.
type printed uint64

func newPrinted(print, record uint32) printed { return printed(print)<<32 | printed(^record) }

func (p printed) print() uint32  { return uint32(p >> 32) }
func (p printed) record() uint32 { return ^uint32(p) }

// hashes are those of the rows of one generation.
type hashes struct {
	// While the generation is written. Changed with the turn and Cache.mu held, so
	// that either is enough for reading.
	byPrint map[uint32]uint32
	records []byte
	written int // records in the file; for whoever has the turn

	// Once it is sealed, in order. Guarded by Cache.mu.
	sorted []printed
}

// goodHash reports whether b has the length of a SHA-1 or of a SHA-256.
func goodHash(b []byte) bool { return len(b) == 20 || len(b) == 32 }

// printOf is the part of a hash that is kept in memory.
func printOf(hash []byte) uint32 { return binary.LittleEndian.Uint32(hash) }

func appendHash(b []byte, off int64, hash []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(off))
	b = append(b, byte(len(hash)))
	b = append(b, hash...)
	b = append(b, make([]byte, maxHash-len(hash))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// parseHash reads one record.
func parseHash(b []byte) (off int64, hash []byte, ok bool) {
	if len(b) != hashRecord || crc32.Checksum(b[:hashRecord-4], castagnoli) != binary.LittleEndian.Uint32(b[hashRecord-4:]) {
		return 0, nil, false
	}
	hash = b[5 : 5+min(int(b[4]), maxHash)]
	return int64(binary.LittleEndian.Uint32(b)), hash, goodHash(hash)
}

// add enters the hash of the row at off. The caller holds the turn and Cache.mu.
func (h *hashes) add(off int64, hash []byte) {
	if h.byPrint == nil {
		h.byPrint = make(map[uint32]uint32)
	}
	h.byPrint[printOf(hash)] = uint32(len(h.records) / hashRecord)
	h.records = appendHash(h.records, off, hash)
}

// pending returns how many records are not in the file yet.
func (h *hashes) pending() int { return len(h.records)/hashRecord - h.written }

// find returns the record that a hash would be in. The caller holds Cache.mu.
func (h *hashes) find(hash []byte) (record uint32, ok bool) {
	want := printOf(hash)
	if h.byPrint != nil {
		record, ok = h.byPrint[want]
		return record, ok
	}
	i := search(h.sorted, want)
	if i == len(h.sorted) || h.sorted[i].print() != want {
		return 0, false
	}
	return h.sorted[i].record(), true
}

// search returns the first place in sorted whose print is not below want. Prints
// are as good as evenly spread, so it looks first where that would put this one:
// a put asks every generation, whose prints are in no cache of the processor.
func search(sorted []printed, want uint32) int {
	const near = 32
	n := len(sorted)
	guess := int(uint64(want) * uint64(n) >> 32)
	low, high := max(0, guess-near), min(n, guess+near)
	for step := near; low > 0 && sorted[low-1].print() >= want; step *= 2 {
		low = max(0, low-step)
	}
	for step := near; high < n && sorted[high].print() < want; step *= 2 {
		high = min(n, high+step)
	}
	i, _ := slices.BinarySearch(sorted[low:high], printed(want)<<32)
	return low + i
}

// at returns a copy of a record that is in memory, or nil. The caller holds
// Cache.mu.
func (h *hashes) at(record uint32) []byte {
	if at := int(record) * hashRecord; at+hashRecord <= len(h.records) {
		return slices.Clone(h.records[at:][:hashRecord])
	}
	return nil
}

// sortPrints returns what is kept of the prints once nothing is added any more.
func sortPrints(byPrint map[uint32]uint32) []printed {
	sorted := make([]printed, 0, len(byPrint))
	for p, record := range byPrint {
		sorted = append(sorted, newPrinted(p, record))
	}
	slices.Sort(sorted)
	return sorted
}

// flushHashes writes the records that are not in the file. The caller has the
// turn, or the generation to itself.
func (g *generation) flushHashes() error {
	if g.hashes.pending() == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(g.dir, hashesName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// Not at the end of the file: an earlier write may have failed half way.
	at := g.hashes.written * hashRecord
	if _, err = f.WriteAt(g.hashes.records[at:], int64(at)); err == nil {
		g.hashes.written = len(g.hashes.records) / hashRecord
	}
	return errors.Join(err, f.Close())
}

// loadHashes reads the prints of a generation of an earlier run. Records are
// checked when they are used.
func (g *generation) loadHashes() error {
	b, err := os.ReadFile(filepath.Join(g.dir, hashesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	sorted := make([]printed, 0, len(b)/hashRecord)
	for i := range len(b) / hashRecord {
		sorted = append(sorted, newPrinted(printOf(b[i*hashRecord+5:]), uint32(i)))
	}
	slices.Sort(sorted)
	g.hashes.sorted = sorted
	return nil
}

// readHash reads a record from the file.
func (g *generation) readHash(record uint32) ([]byte, error) {
	f, err := os.Open(filepath.Join(g.dir, hashesName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, hashRecord)
	_, err = f.ReadAt(b, int64(record)*hashRecord)
	return b, err
}

// allHashes returns the hashes of the rows of a sealed generation, by offset.
func (g *generation) allHashes() map[int64][]byte {
	b, err := os.ReadFile(filepath.Join(g.dir, hashesName))
	if err != nil {
		return nil // none: they are not shared any more
	}
	all := make(map[int64][]byte, len(b)/hashRecord)
	for ; len(b) >= hashRecord; b = b[hashRecord:] {
		if off, hash, ok := parseHash(b[:hashRecord]); ok {
			all[off] = hash
		}
	}
	return all
}
