package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// catalogue keeps the records: torrents, metadata, peers, pins. It is a badger
// database of its own that eviction never touches. Nothing goes into its value
// log, whose space badger does not give back: a long value is cut into chunks
// that fit beside their keys.
//
//	'r' bucket 0 key        0, value                             a short one
//	'r' bucket 0 key        1, name (8), bytes (8), CRC32C (4)   a long one
//	'c' name (8) number (4) chunk
type catalogue struct {
	dir  string
	home home
	db   *badger.DB

	open sync.RWMutex // held for reading while db is used; for writing to close it
	done bool

	mu  sync.Mutex // one writer at a time: names are given out in order
	seq uint64     // the last name
}

const (
	chunkBytes      = 32 << 10
	catalogueMemory = 1 << 20

	// catalogueSpare is what must be free on the disk before a write: badger
	// writes through memory maps, where a full disk ends the process.
	catalogueSpare = 8 << 20
)

// openCatalogue opens the database in dir. One that badger can't open is put
// aside, and an empty one takes its place: a damaged catalogue must not keep weir
// from starting.
func openCatalogue(dir string, log *slog.Logger) (*catalogue, error) {
	c := &catalogue{dir: dir}
	err := c.start(log)
	if err == nil || isFull(err) {
		return c, err
	}
	aside := dir + ".damaged"
	log.Error("the catalogue is damaged; starting with an empty one", "aside", aside, "err", err)
	if err := errors.Join(os.RemoveAll(aside), os.Rename(dir, aside)); err != nil {
		return nil, err
	}
	return c, c.start(log)
}

func (c *catalogue) start(log *slog.Logger) error {
	if err := checkup(c.dir, log); err != nil {
		return fmt.Errorf("open catalogue: %w", err)
	}
	return guard(func() (err error) {
		c.db, err = openDatabase(badger.Open, badger.DefaultOptions(c.dir).
			WithLogger(newBadgerLog(log)).
			WithSyncWrites(true).
			WithMemTableSize(catalogueMemory).
			WithNumMemtables(2).
			WithValueThreshold(2*chunkBytes).
			WithValueLogFileSize(1<<20).
			WithNumCompactors(2).
			WithBlockCacheSize(0).
			WithIndexCacheSize(0).
			WithCompression(0).
			WithDetectConflicts(false).
			WithMetricsEnabled(false))
		if err != nil {
			return fmt.Errorf("open catalogue: %w", err)
		}
		c.home = homeAt(c.dir)
		return c.sweep()
	})
}

func (c *catalogue) close() error {
	if c == nil || c.db == nil {
		return nil
	}
	c.open.Lock()
	defer c.open.Unlock()
	c.done = true
	if err := closeAt(c.home, c.db); err != nil {
		return fmt.Errorf("close catalogue: %w", err)
	}
	return nil
}

// sweep removes chunks that no record names: a crash came between.
func (c *catalogue) sweep() error {
	named := make(map[uint64]bool)
	var orphans [][]byte
	err := c.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{PrefetchValues: false})
		defer it.Close()
		for it.Seek([]byte{'r'}); it.ValidForPrefix([]byte{'r'}); it.Next() {
			if err := it.Item().Value(func(v []byte) error {
				if name, _, _, ok := parseLong(v); ok {
					named[name] = true
					c.seq = max(c.seq, name)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		for it.Seek([]byte{'c'}); it.ValidForPrefix([]byte{'c'}); it.Next() {
			key := it.Item().KeyCopy(nil)
			if len(key) != 13 || !named[binary.BigEndian.Uint64(key[1:])] {
				orphans = append(orphans, key)
			}
		}
		return nil
	})
	if err != nil || len(orphans) == 0 {
		return err
	}
	return c.deleteAll(orphans)
}

func (c *catalogue) deleteAll(keys [][]byte) error {
	batch := c.db.NewWriteBatch()
	defer batch.Cancel()
	for _, key := range keys {
		if err := batch.Delete(key); err != nil {
			return err
		}
	}
	return batch.Flush()
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

const maxRecordBytes = 1 << 30

func (c *catalogue) put(bucket string, key, value []byte) error {
	if bucket == "" || strings.IndexByte(bucket, 0) >= 0 || len(bucket)+len(key) > 1<<12 || len(value) > maxRecordBytes {
		return fmt.Errorf("record %q %x of %d bytes: %w", bucket, key, len(value), weir.ErrInvalid)
	}
	avail, _, err := freeBytes(c.dir)
	if err != nil {
		return err
	}
	if avail < catalogueSpare+3*int64(len(value)) {
		return fmt.Errorf("record %q %x, %d bytes free: %w", bucket, key, avail, weir.ErrNoSpace)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, err := c.chunks(recordKey(bucket, key))
	if err != nil {
		return err
	}
	row := append([]byte{0}, value...)
	if len(value) > chunkBytes {
		c.seq++
		row = encodeLong(c.seq, value)
		if err := c.putChunks(c.seq, value); err != nil {
			return err
		}
	}
	err = c.db.Update(func(txn *badger.Txn) error { return txn.Set(recordKey(bucket, key), row) })
	if err != nil || len(before) == 0 {
		return err
	}
	return c.deleteAll(before)
}

// putChunks writes a long value; the row that names it comes after it is whole.
func (c *catalogue) putChunks(name uint64, value []byte) error {
	batch := c.db.NewWriteBatch()
	defer batch.Cancel()
	for i := 0; i*chunkBytes < len(value); i++ {
		if err := batch.Set(chunkKey(name, i), value[i*chunkBytes:min((i+1)*chunkBytes, len(value))]); err != nil {
			return err
		}
	}
	return batch.Flush()
}

// chunks returns the keys of the chunks of a record; none when it is short or
// not there.
func (c *catalogue) chunks(key []byte) (keys [][]byte, err error) {
	err = c.db.View(func(txn *badger.Txn) error {
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

// read returns the value of a row, long or short, in memory of its own.
func (c *catalogue) read(txn *badger.Txn, item *badger.Item) ([]byte, error) {
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

func (c *catalogue) get(bucket string, key []byte) (value []byte, err error) {
	err = c.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(recordKey(bucket, key))
		if err != nil {
			return err
		}
		value, err = c.read(txn, item)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) && !errors.Is(err, weir.ErrCorrupt) {
		err = weir.ErrNotFound
	}
	return value, err
}

func (c *catalogue) remove(bucket string, key []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys, err := c.chunks(recordKey(bucket, key))
	if err != nil {
		return err
	}
	return c.deleteAll(append([][]byte{recordKey(bucket, key)}, keys...))
}

func (c *catalogue) clear() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.db.DropAll()
}

// keys returns the keys of a bucket, in order.
func (c *catalogue) keys(bucket string) (keys [][]byte, err error) {
	prefix := recordKey(bucket, nil)
	err = c.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys = append(keys, bytes.TrimPrefix(it.Item().KeyCopy(nil), prefix))
		}
		return nil
	})
	return keys, err
}

// PutRecord stores a small thing that must survive: it is on disk when PutRecord
// returns, and eviction never touches it. A record may have up to 1 GiB, but all
// of them should stay far below the budget, in which they don't count for room.
// The error wraps weir.ErrNoSpace when the disk is full.
func (c *Cache) PutRecord(bucket string, key, value []byte) error {
	return c.record("put", bucket, key, func() error { return c.catalogue.put(bucket, key, value) })
}

// Record returns a copy of a record. The error wraps weir.ErrNotFound when there
// is none, and weir.ErrCorrupt when it is damaged.
func (c *Cache) Record(bucket string, key []byte) (value []byte, err error) {
	err = c.record("get", bucket, key, func() (err error) {
		value, err = c.catalogue.get(bucket, key)
		return err
	})
	return value, err
}

// DeleteRecord removes a record. It is no error when there is none.
func (c *Cache) DeleteRecord(bucket string, key []byte) error {
	return c.record("delete", bucket, key, func() error { return c.catalogue.remove(bucket, key) })
}

// EachRecord calls record for each record of a bucket, in the order of the keys;
// an error from it ends the call. key and value are the callee's to keep, and it
// may change records. Damaged records, and ones deleted meanwhile, are passed
// over.
func (c *Cache) EachRecord(bucket string, record func(key, value []byte) error) error {
	var keys [][]byte
	err := c.record("list", bucket, nil, func() (err error) {
		keys, err = c.catalogue.keys(bucket)
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		value, err := c.Record(bucket, key)
		switch {
		case errors.Is(err, weir.ErrNotFound) || errors.Is(err, weir.ErrCorrupt):
			continue
		case err == nil:
			err = record(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) record(what, bucket string, key []byte, do func() error) error {
	c.catalogue.open.RLock()
	defer c.catalogue.open.RUnlock()
	err := error(weir.ErrClosed)
	switch writes := what == "put" || what == "delete"; {
	case c.catalogue.done:
	case writes && c.lost():
		err = c.lostError()
	default:
		err = do()
	}
	if err != nil {
		return fmt.Errorf("%s record %q %x: %w", what, bucket, key, err)
	}
	return nil
}
