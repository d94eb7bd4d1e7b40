package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// Records are never evicted. A long value is cut into chunks that fit beside their
// keys:
//
//	'r' bucket 0 key        0, value                             a short one
//	'r' bucket 0 key        1, name (8), bytes (8), CRC32C (4)   a long one
//	'c' name (8) number (4) chunk
const (
	chunkBytes     = 32 << 10
	maxRecordBytes = 1 << 30
)

// sweep removes chunks that no record names: a crash came between.
func (d *DB) sweep() error {
	named := make(map[uint64]bool)
	var orphans [][]byte
	err := d.each([]byte{'r'}, func(_ []byte, item *badger.Item) error {
		return item.Value(func(v []byte) error {
			if name, _, _, ok := parseLong(v); ok {
				named[name] = true
				d.long = max(d.long, name)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	err = d.each([]byte{'c'}, func(key []byte, _ *badger.Item) error {
		if len(key) != 13 || !named[binary.BigEndian.Uint64(key[1:])] {
			orphans = append(orphans, key)
		}
		return nil
	})
	if err != nil || len(orphans) == 0 {
		return err
	}
	return d.deleteAll(orphans)
}

// each calls do for the entries whose keys begin so, in order. The key is do's to keep.
func (d *DB) each(prefix []byte, do func(key []byte, item *badger.Item) error) error {
	return d.badger.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := do(it.Item().KeyCopy(nil), it.Item()); err != nil {
				return err
			}
		}
		return nil
	})
}

// keys returns the keys that begin so, in order.
func (d *DB) keys(prefix []byte) (keys [][]byte, err error) {
	err = d.read(func() error {
		return d.each(prefix, func(key []byte, _ *badger.Item) error {
			keys = append(keys, key)
			return nil
		})
	})
	return keys, err
}

// batch writes what do says.
func (d *DB) batch(do func(b *badger.WriteBatch) error) error {
	b := d.badger.NewWriteBatch()
	defer b.Cancel()
	return errors.Join(do(b), b.Flush())
}

// deleteAll removes keys. The caller is the only writer.
func (d *DB) deleteAll(keys [][]byte) error {
	return d.batch(func(b *badger.WriteBatch) (err error) {
		for _, key := range keys {
			err = errors.Join(err, b.Delete(key))
		}
		return err
	})
}

func recordKey(bucket string, key []byte) []byte {
	b := make([]byte, 0, 2+len(bucket)+len(key))
	b = append(b, 'r')
	b = append(b, bucket...)
	b = append(b, 0)
	return append(b, key...)
}

func chunkKey(name uint64, i int) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'c'}, name)
	return binary.BigEndian.AppendUint32(b, uint32(i))
}

func encodeLong(name uint64, value []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, name)
	b = binary.BigEndian.AppendUint64(b, uint64(len(value)))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(value, castagnoli))
}

// parseLong reads what stands in the place of a long value.
func parseLong(b []byte) (name uint64, n int64, sum uint32, ok bool) {
	if len(b) != 21 || b[0] != 1 {
		return 0, 0, 0, false
	}
	n = int64(binary.BigEndian.Uint64(b[9:]))
	return binary.BigEndian.Uint64(b[1:]), n, binary.BigEndian.Uint32(b[17:]), n > chunkBytes && n <= maxRecordBytes
}

// Put stores a record. It is on disk when Put returns. The error wraps
// weir.ErrNoSpace when the disk is full, and weir.ErrInvalid when there can be no
// such record.
func (d *DB) Put(bucket string, key, value []byte) error {
	if bucket == "" || strings.IndexByte(bucket, 0) >= 0 || len(bucket)+len(key) > 1<<12 || len(value) > maxRecordBytes {
		return weir.Errorf(weir.ErrInvalid, "a record of %d bytes under a key of %d is too long", len(value), len(bucket)+len(key))
	}
	d.records.Lock()
	defer d.records.Unlock()
	key = recordKey(bucket, key)
	var before [][]byte
	if err := d.read(func() (err error) { before, err = d.chunks(key); return err }); err != nil {
		return err
	}
	row := append([]byte{0}, value...)
	if len(value) > chunkBytes {
		d.long++
		row = encodeLong(d.long, value)
		if err := d.putChunks(d.long, value); err != nil {
			return err
		}
	}
	return d.write(1+len(before), len(key)+len(row), func() error {
		err := d.badger.Update(func(txn *badger.Txn) error { return txn.Set(key, row) })
		if err == nil && len(before) > 0 {
			err = d.deleteAll(before)
		}
		return errors.Join(err, d.sync())
	})
}

// putChunks writes a long value, in steps, so that others come through in between;
// the row that names it comes after it is whole.
func (d *DB) putChunks(name uint64, value []byte) error {
	const step = 16
	for i := 0; i*chunkBytes < len(value); i += step {
		err := d.write(step, step*chunkBytes, func() error {
			return d.batch(func(b *badger.WriteBatch) (err error) {
				for k := i; k < i+step && k*chunkBytes < len(value); k++ {
					err = errors.Join(err, b.Set(chunkKey(name, k), value[k*chunkBytes:min((k+1)*chunkBytes, len(value))]))
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunks returns the keys of the chunks of a record; none when it is short or
// not there.
func (d *DB) chunks(key []byte) (keys [][]byte, err error) {
	err = d.badger.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if name, n, _, ok := parseLong(v); ok {
				for i := 0; int64(i)*chunkBytes < n; i++ {
					keys = append(keys, chunkKey(name, i))
				}
			}
			return nil
		})
	})
	return keys, err
}

// value returns the value of a row, long or short, in memory of its own.
func (d *DB) value(txn *badger.Txn, item *badger.Item) ([]byte, error) {
	row, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	if len(row) > 0 && row[0] == 0 {
		return row[1:], nil
	}
	name, n, sum, ok := parseLong(row)
	if !ok {
		return nil, fmt.Errorf("row of a record: %w", weir.ErrCorrupt)
	}
	value := make([]byte, 0, n)
	for i := 0; int64(i)*chunkBytes < n; i++ {
		chunk, err := txn.Get(chunkKey(name, i))
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w: %w", i, weir.ErrCorrupt, err)
		}
		if err := chunk.Value(func(v []byte) error { value = append(value, v...); return nil }); err != nil {
			return nil, err
		}
	}
	if int64(len(value)) != n || crc32.Checksum(value, castagnoli) != sum {
		return nil, fmt.Errorf("checksum of a record: %w", weir.ErrCorrupt)
	}
	return value, nil
}

// Get returns a copy of a record. The error wraps weir.ErrNotFound when there is
// none, and weir.ErrCorrupt when it is damaged.
func (d *DB) Get(bucket string, key []byte) (value []byte, err error) {
	err = d.read(func() error {
		return d.badger.View(func(txn *badger.Txn) error {
			item, err := txn.Get(recordKey(bucket, key))
			if err != nil {
				return err
			}
			value, err = d.value(txn, item)
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) && !errors.Is(err, weir.ErrCorrupt) {
		err = weir.ErrNotFound
	}
	return value, err
}

// Delete removes a record, on disk when Delete returns.
func (d *DB) Delete(bucket string, key []byte) error {
	d.records.Lock()
	defer d.records.Unlock()
	key = recordKey(bucket, key)
	var keys [][]byte
	if err := d.read(func() (err error) { keys, err = d.chunks(key); return err }); err != nil {
		return err
	}
	return d.write(1+len(keys), len(key), func() error {
		return errors.Join(d.deleteAll(append(keys, key)), d.sync())
	})
}

// Clear removes all records.
func (d *DB) Clear() error {
	d.records.Lock()
	defer d.records.Unlock()
	return d.write(0, memtableBytes, func() error {
		d.merging.Wait()
		defer d.resized.Store(true)
		return d.badger.DropPrefix([]byte{'r'}, []byte{'c'})
	})
}

// Keys returns the keys of a bucket, in order.
func (d *DB) Keys(bucket string) ([][]byte, error) {
	prefix := recordKey(bucket, nil)
	keys, err := d.keys(prefix)
	for i := range keys {
		keys[i] = keys[i][len(prefix):]
	}
	return keys, err
}
