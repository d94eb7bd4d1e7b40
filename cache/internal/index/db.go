// Package index is the database of the cache, on badger: the records (torrents,
// metadata, pins, the budget) and the names of rows that were added or removed since
// their segments were sealed. It is the only importer of badger, and uses only badger's
// public API: it reads badger's files only for the check before it is opened.
//
// What must not live here: pieces, segments, and what a record means. A put of a
// piece does not wait for this.
//
// badger writes through memory maps, where a full disk is a signal that ends the
// process. So its log is reserved ahead, and whatever makes it write another file
// (opening, closing, a full memtable, compaction) is only begun with ReserveBytes
// free; until then that is weir.ErrNoSpace.
package index

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

const (
	// ReserveBytes is what must be free on the disk when badger writes files: with
	// 67 MB it died in 1 of 40 runs beside a program that fills the disk, with 134 MB
	// in none.
	ReserveBytes = 128 << 20

	memtableBytes = 2 << 20

	// entryBytes is more than what badger adds to a key and a value, in its log and
	// in its memtable.
	entryBytes = 256

	// closeTime is how long closing may take; its log has all that was not written then.
	closeTime = 30 * time.Second

	// manyTables is where tables are merged; see merge.
	manyTables = 12
)

// DB is an open database. All methods are safe for concurrent use.
type DB struct {
	Unsynced atomic.Bool // something was written that a power loss may take back

	dir     string
	log     *slog.Logger
	ballast *ballast
	home    disk.Home
	badger  *badger.DB

	open sync.RWMutex // held for reading while badger is used; for writing to close it
	done bool

	records sync.Mutex // one record is written at a time
	long    uint64     // the last name of a long value

	mu      sync.Mutex // one write at a time; taken after records
	written int64      // at most so much is in the memtable
	logs    string     // the log of the memtable, which is reserved
	merging sync.WaitGroup
	merges  atomic.Bool

	size    atomic.Int64 // on disk, when it was measured last
	resized atomic.Bool  // files were made or removed since
}

// Bytes returns what the database takes on disk. Its log is reserved whole, so that
// changes only with the files that there are.
func (d *DB) Bytes() int64 {
	if d.resized.Swap(false) {
		d.size.Store(disk.Allocated(d.dir))
		if len(d.memtableLogs()) > 1 { // badger is making a table of one of them
			d.resized.Store(true)
		}
	}
	return d.size.Load()
}

func (d *DB) memtableLogs() []string {
	logs, _ := filepath.Glob(filepath.Join(d.dir, "*.mem"))
	return logs
}

// Open opens the database in dir. One that badger can't open is put aside, and an
// empty one takes its place: damage must not keep weir from starting. The error
// wraps weir.ErrNoSpace when the disk is too full to open it, even without the file at
// ballastPath (see SetBallast).
func Open(dir, ballastPath string, log *slog.Logger) (*DB, error) {
	d := &DB{dir: dir, log: log, ballast: &ballast{path: ballastPath}}
	d.resized.Store(true)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if !d.ballast.room(dir) {
		return nil, weir.Errorf(weir.ErrNoSpace, "open the database: the disk has less than %d MiB free", ReserveBytes>>20)
	}
	err := d.start()
	if err != nil && !disk.IsFull(err) {
		aside := dir + ".damaged"
		log.Error("the catalogue is damaged; starting with an empty one", "aside", aside, "err", err)
		if err := errors.Join(os.RemoveAll(aside), os.Rename(dir, aside), os.Mkdir(dir, 0o700)); err != nil {
			return nil, err
		}
		err = d.start()
	}
	if err != nil {
		return nil, err
	}
	d.merge()
	return d, nil
}

// SetBallast sets how much of the disk is held in a file, to be given up for opening
// and closing the database when the disk is full.
func (d *DB) SetBallast(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ballast.bytes = bytes
	d.ballast.take()
}

func (d *DB) start() error {
	if err := check(d.dir, d.log); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return disk.Guard(func() (err error) {
		d.badger, err = openDatabase(badger.Open, options(d.dir, d.log))
		if err != nil {
			return fmt.Errorf("open the database: %w", err)
		}
		d.home = disk.At(d.dir)
		if err := d.reserveLog(0); err != nil {
			return errors.Join(err, d.badger.Close())
		}
		return d.sweep()
	})
}

func options(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(&badgerLog{log: log}).
		WithMemTableSize(memtableBytes).
		WithNumMemtables(2).
		WithValueThreshold(2 * chunkBytes). // nothing goes into the value log, whose space does not come back
		WithValueLogFileSize(1 << 20).
		WithBaseTableSize(memtableBytes / 8). // merging builds several at a time, in memory
		WithNumCompactors(0).                 // see merge
		WithNumLevelZeroTables(manyTables / 2).
		WithNumLevelZeroTablesStall(1 << 20).
		WithNumVersionsToKeep(1).
		WithCompactL0OnClose(false).
		WithBypassLockGuard(true). // the folder has a lock; a database may be left open, see Close
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithCompression(0).
		WithDetectConflicts(false).
		WithMetricsEnabled(false)
}

// Close closes the database. On a disk that is too full, or without its folder, it
// is left as it is, which loses nothing that was written.
func (d *DB) Close() error {
	d.open.Lock()
	defer d.open.Unlock()
	if d.done {
		return nil
	}
	d.done = true
	d.merging.Wait()
	if d.home.Gone() {
		return nil
	}
	if d.written > 0 && !d.ballast.room(d.dir) {
		d.log.Info("the disk is full: the catalogue is not closed, and is read from its log by the next start")
		return nil
	}
	defer d.ballast.take()
	closed := make(chan error, 1)
	go func() { closed <- disk.Guard(d.badger.Close) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case err := <-closed:
			if err != nil {
				return fmt.Errorf("close the database: %w", err)
			}
			return nil
		case <-tick.C:
			// Without its folder, or room on the disk, badger would try for ever.
			if d.home.Gone() || time.Since(begun) > closeTime {
				return nil
			}
		}
	}
}

// read calls do while the database is open.
func (d *DB) read(do func() error) error {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.done {
		return weir.ErrClosed
	}
	return do()
}

// write calls do, which writes so many entries with so many bytes in all, when
// badger can do that without finding the disk full.
func (d *DB) write(entries, bytes int, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.read(func() error {
		if d.home.Gone() {
			return weir.Errorf(weir.ErrNoSpace, "the cache folder %s was removed", filepath.Dir(d.dir))
		}
		n := int64(bytes) + int64(entries)*entryBytes
		if d.written+n > memtableBytes*3/4 {
			avail, _, err := disk.Free(d.dir)
			if err != nil {
				return err
			}
			if avail < ReserveBytes+4*n {
				return weir.Errorf(weir.ErrNoSpace, "the disk has %d bytes free, too few for the database", avail)
			}
		}
		d.written += n
		d.Unsynced.Store(true)
		err := do()
		if d.written > memtableBytes/2 {
			if rerr := d.reserveLog(n); rerr != nil {
				d.log.Debug("log of the database not reserved", "err", rerr)
			}
		}
		return err
	})
}

// reserveLog reserves the log of the memtable, if it is not the one that it was; at
// most n bytes are in it then.
func (d *DB) reserveLog(n int64) error {
	logs := d.memtableLogs()
	if len(logs) == 0 || logs[len(logs)-1] == d.logs {
		return nil
	}
	d.resized.Store(true)
	f, err := os.OpenFile(logs[len(logs)-1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		err = disk.Reserve(f, 0, st.Size())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	begun := d.logs != ""
	if d.logs, d.written = logs[len(logs)-1], min(n, memtableBytes); begun {
		d.merge()
	}
	return nil
}

// Sync brings what SetNames recorded to disk.
func (d *DB) Sync() error {
	if !d.Unsynced.Load() {
		return nil
	}
	return d.read(d.sync)
}

// sync returns once all that was written is on disk: in the log, which is synced, or
// in a table, which badger makes of each log but the last.
func (d *DB) sync() error {
	d.Unsynced.Store(false)
	for range 200 {
		if len(d.memtableLogs()) <= 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return d.badger.Sync()
}

// merge puts tables together when there are many, in the background and with much more
// room on the disk than that takes: it takes a while, in which another program may fill
// the disk. Where there never is so much, it is done when there are very many.
func (d *DB) merge() {
	var level0 int
	var bytes int64
	for _, t := range d.badger.Tables() {
		if bytes += int64(t.OnDiskSize); t.Level == 0 {
			level0++
		}
	}
	need := 4*ReserveBytes + 2*bytes
	if level0 > 16*manyTables {
		need = ReserveBytes + 2*bytes
	}
	if avail, _, err := disk.Free(d.dir); level0 < manyTables || err != nil || avail < need || d.merges.Swap(true) {
		return
	}
	d.merging.Go(func() {
		defer d.merges.Store(false)
		defer d.resized.Store(true)
		if err := d.badger.Flatten(1); err != nil {
			d.log.Debug("tables not merged", "err", err)
		}
	})
}

// ballast is space that is held for opening and closing on a full disk.
type ballast struct {
	path  string
	bytes int64
}

// room reports whether ReserveBytes are free beside dir, after giving the ballast
// up if that helps.
func (b *ballast) room(dir string) bool {
	avail, _, err := disk.Free(dir)
	if err != nil || avail >= ReserveBytes {
		return err == nil
	}
	if avail+disk.Allocated(b.path) < ReserveBytes || os.Remove(b.path) != nil {
		return false
	}
	avail, _, err = disk.Free(dir)
	return err == nil && avail >= ReserveBytes
}

// take takes the space again, or nothing when the disk has it not.
func (b *ballast) take() {
	if st, err := os.Stat(b.path); err == nil && st.Mode().IsRegular() && disk.Allocated(b.path) == b.bytes {
		return
	}
	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	if errors.Join(disk.Reserve(f, 0, b.bytes), f.Close()) != nil {
		_ = os.Remove(b.path)
	}
}

// badgerLog passes badger's messages on, one level lower than badger has them: what
// concerns the user is said by the cache. An error that repeats is passed on once.
type badgerLog struct {
	log  *slog.Logger
	last atomic.Pointer[string] // the last error, without its details
}

func (l *badgerLog) Errorf(f string, a ...any) {
	if last := l.last.Swap(&f); last == nil || *last != f {
		l.log.Warn("badger", "err", fmt.Sprintf(f, a...))
	}
}

func (l *badgerLog) Warningf(f string, a ...any) {
	l.log.Debug("badger", "warning", fmt.Sprintf(f, a...))
}
func (l *badgerLog) Infof(string, ...any)  {}
func (l *badgerLog) Debugf(string, ...any) {}
