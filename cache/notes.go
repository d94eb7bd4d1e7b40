package cache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/weirfs/weir"
)

// The notes of a generation say what happened to the names of its rows since they
// were written, so that it is so after a restart: what was evicted stays evicted,
// and what was linked stays linked. They are records at the end of one file: info
// hash (20), index (4), offset of the row (4), CRC32C (4), which starts from the
// kind of the record. The last one about a name and a row counts.
const (
	notesName  = "dead" // as it was called when there was one kind of them
	noteRecord = 20 + 4 + 4 + 4
)

// noteKind is the start value of a note's checksum.
type noteKind uint32

const (
	gone   noteKind = 0
	linked noteKind = 0x6c696e6b
)

func appendNote(b []byte, kind noteKind, f found) []byte {
	at := len(b)
	b = append(b, f.id.Torrent[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.id.Index))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.off))
	return binary.LittleEndian.AppendUint32(b, crc32.Update(uint32(kind), castagnoli, b[at:]))
}

// nameKey is a name of a row.
type nameKey struct {
	id  weir.PieceID
	off int64
}

// parseNotes returns what holds of each name. Damaged bytes are passed over: a
// full disk may have left half a record.
func parseNotes(b []byte) map[nameKey]noteKind {
	notes := make(map[nameKey]noteKind)
	for len(b) >= noteRecord {
		body, sum := b[:noteRecord-4], binary.LittleEndian.Uint32(b[noteRecord-4:])
		var kind noteKind
		switch sum {
		case crc32.Update(uint32(gone), castagnoli, body):
			kind = gone
		case crc32.Update(uint32(linked), castagnoli, body):
			kind = linked
		default:
			b = b[1:]
			continue
		}
		id := weir.PieceID{Torrent: weir.InfoHash(b[:20]), Index: int(binary.LittleEndian.Uint32(b[20:]))}
		notes[nameKey{id, int64(binary.LittleEndian.Uint32(b[24:]))}] = kind
		b = b[noteRecord:]
	}
	return notes
}

// note writes down what became of pieces. Safe for concurrent use: one write at
// the end of the file.
func (g *generation) note(kind noteKind, pieces ...found) error {
	if len(pieces) == 0 {
		return nil
	}
	var b []byte
	for _, f := range pieces {
		b = appendNote(b, kind, f)
	}
	file, err := os.OpenFile(filepath.Join(g.dir, notesName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	return errors.Join(err, file.Close())
}

// named applies notes to the rows of a generation. rows are all of them that its
// list or its log tells, under the names that they have there; it returns those
// that are held, links included.
func named(rows []found, notes map[nameKey]noteKind) []found {
	if len(notes) == 0 {
		return rows
	}
	length := make(map[int64]int64, len(rows))
	held := rows[:0]
	for _, f := range rows {
		length[f.off] = f.n
		key := nameKey{f.id, f.off}
		if kind, ok := notes[key]; !ok || kind == linked {
			held = append(held, f)
			delete(notes, key)
		}
	}
	for key, kind := range notes {
		if n := length[key.off]; kind == linked && n > 0 && key.id.Index < maxPieces {
			held = append(held, found{key.id, key.off, n, true})
		}
	}
	return held
}
