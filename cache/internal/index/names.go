package index

import (
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// What became of a name of a row since the list of its segment was written:
//
//	'n' salt of the segment (8) offset of the row (4) info hash (20) index (4)    Gone or Linked (1)
//
// big endian. The last word about a name and a row counts.
type Fate byte

const (
	Gone   Fate = 0 // evicted, or damaged
	Linked Fate = 1 // it shares the row
)

// Name is a name of a row.
type Name struct {
	Salt uint64
	Off  int64
	ID   weir.PieceID
}

const nameKey = 1 + 8 + 4 + 20 + 4

func (n Name) key() []byte {
	be := binary.BigEndian
	b := be.AppendUint64(append(make([]byte, 0, nameKey), 'n'), n.Salt)
	b = append(be.AppendUint32(b, uint32(n.Off)), n.ID.Torrent[:]...)
	return be.AppendUint32(b, uint32(n.ID.Index))
}

func parseName(b []byte) (n Name, ok bool) {
	if len(b) != nameKey {
		return n, false
	}
	be := binary.BigEndian
	return Name{be.Uint64(b[1:]), int64(be.Uint32(b[9:])), weir.PieceID{Torrent: weir.InfoHash(b[13:]), Index: int(be.Uint32(b[33:]))}}, true
}

// SetNames records the fate of names. It outlives a kill at once, and a power loss
// after Sync, or some time later.
func (d *DB) SetNames(fate Fate, names ...Name) error {
	if len(names) == 0 {
		return nil
	}
	return d.write(len(names), len(names)*nameKey, func() error {
		return d.batch(func(b *badger.WriteBatch) (err error) {
			for _, n := range names {
				err = errors.Join(err, b.Set(n.key(), []byte{byte(fate)}))
			}
			return err
		})
	})
}

// EachName calls name for all that were recorded.
func (d *DB) EachName(name func(Name, Fate)) error {
	return d.read(func() error {
		return d.each([]byte{'n'}, func(key []byte, item *badger.Item) error {
			return item.Value(func(v []byte) error {
				if n, ok := parseName(key); ok && len(v) == 1 {
					name(n, Fate(v[0]))
				}
				return nil
			})
		})
	})
}

// ForgetNames removes what was recorded of a segment.
func (d *DB) ForgetNames(salt uint64) error {
	keys, err := d.keys(Name{Salt: salt}.key()[:1+8])
	if err != nil || len(keys) == 0 {
		return err
	}
	return d.write(len(keys), len(keys)*nameKey, func() error { return d.deleteAll(keys) })
}
