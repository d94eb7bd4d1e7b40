package cache

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// generation is one small badger database: a folder that is written once, end to
// end, then sealed (closed, with a list of its pieces beside it) and some day
// dropped whole.
//
// Reading goes through a read-only mapping of its value log that is ours and not
// badger's: it stays where it is while badger closes the database, and it costs
// no allocation. badger appends to that one file only, in the order of the
// commits, so that the place of every row is known when its commit returns (and
// is checked there).
type generation struct {
	seq   uint64 // counts up over the life of the folder
	class class
	dir   string
	home  home
	log   []byte          // the mapping of the value log
	refs  atomic.Int64    // the cache's own, and one for each reader
	warm  []atomic.Uint32 // for each stretch of the log, when it was last populated
	// settled is set once nothing is written any more: until then what follows in the
	// log is on its way here from above, not from the disk.
	settled atomic.Bool

	// For whoever has the turn.
	db          *badger.DB // nil once sealed
	file        *os.File   // the value log, for reserving space; nil once sealed
	next        int64      // where the next entry begins
	alloc       int64      // bytes reserved in the value log
	cap         int64      // bytes that the log may have
	entries     int        // rows
	lastVersion uint64
	ahead       ahead
	maxEntries  int // rows that fit into badger's memtable, so that it never flushes on its own

	// Guarded by Cache.mu.
	sealed  bool
	disk    int64          // bytes on disk, as du counts
	live    int            // pieces in the index
	leaving bool           // it is being dropped: nothing new may point at it
	links   map[uint32]int // by offset of a row, how many of its names are links
	hashes  hashes
}

const (
	logName  = "000001.vlog"
	sealName = "sealed"

	// fixedBytes is what a generation takes on disk besides its value log and
	// badger's write-ahead log.
	fixedBytes = 256 << 10

	// entryMemory is more than badger needs for one of our rows in a memtable
	// and its write-ahead log (about 110 and 100 bytes).
	entryMemory = 256
)

func genName(seq uint64, c class) string { return fmt.Sprintf("%010d-%c", seq, c) }

// parseGenName is the inverse of genName.
func parseGenName(name string) (seq uint64, c class, ok bool) {
	if _, err := fmt.Sscanf(name, "%010d-%c", &seq, &c); err != nil || genName(seq, c) != name {
		return 0, 0, false
	}
	return seq, c, bytes.IndexByte([]byte{byte(probation), byte(mainRow), byte(kept)}, byte(c)) >= 0
}

// createGeneration makes an empty generation with room for capacity bytes in
// its log, firstBytes of them reserved, for rows that hold about rowBytes each.
func createGeneration(root string, seq uint64, c class, capacity, firstBytes, rowBytes int64, log *slog.Logger) (*generation, error) {
	dir := filepath.Join(root, genName(seq, c))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("new generation: %w", err)
	}
	memory := min(max(entryMemory*(capacity/rowBytes+16), 512<<10), 8<<20)
	g := &generation{
		seq: seq, class: c, dir: dir,
		next: logHeaderBytes, cap: capacity,
		maxEntries: int(memory / entryMemory),
	}
	g.refs.Store(1)
	g.home = homeAt(dir)
	if err := guard(func() error { return g.create(firstBytes, memory, log) }); err != nil {
		g.abandon()
		return nil, fmt.Errorf("new generation %s: %w", dir, err)
	}
	return g, nil
}

func (g *generation) create(firstBytes, memory int64, log *slog.Logger) error {
	// badger writes its first bytes through maps before we can reserve anything
	// in them: see that there is room, and leave it to badger just then.
	if err := tryReserve(filepath.Join(g.dir, "reserve"), firstBytes+2*memory+fixedBytes); err != nil {
		return err
	}
	db, err := openDatabase(badger.OpenManaged, generationOptions(g.dir, g.cap, memory, log))
	if err != nil {
		return err
	}
	g.db = db
	if g.file, err = os.OpenFile(filepath.Join(g.dir, logName), os.O_RDWR, 0); err != nil {
		return err
	}
	if err := g.reserve(firstBytes); err != nil {
		return err
	}
	if err := g.beginAhead(); err != nil {
		return err
	}
	wal, err := os.OpenFile(filepath.Join(g.dir, "00001.mem"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer wal.Close()
	if err := preallocate(wal, 0, memory); err != nil {
		return err
	}
	g.disk = firstBytes + memory + fixedBytes
	return g.mapLog(g.cap)
}

func generationOptions(dir string, capacity, memory int64, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(newBadgerLog(log)).
		WithMemTableSize(memory).
		WithNumMemtables(2).
		WithValueThreshold(minValueBytes / 2).
		WithValueLogFileSize(capacity + (1 << 20)). // never reached: one file a generation
		WithValueLogMaxEntries(1 << 31).
		WithBaseTableSize(256 << 10). // the buffer for its one table, which is far smaller
		WithNumCompactors(0).         // nothing is ever overwritten
		WithNumLevelZeroTables(1000).
		WithNumLevelZeroTablesStall(2000).
		WithCompactL0OnClose(false).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithCompression(0).
		WithDetectConflicts(false).
		WithMetricsEnabled(false)
}

// tryReserve reports whether n bytes could be written right now.
func tryReserve(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = preallocate(f, 0, n)
	return errors.Join(err, f.Close(), os.Remove(path))
}

func (g *generation) mapLog(n int64) error {
	f, err := os.Open(filepath.Join(g.dir, logName))
	if err != nil {
		return err
	}
	defer f.Close()
	g.log, err = unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", f.Name(), err)
	}
	g.warm = make([]atomic.Uint32, n/stretchBytes+1)
	return nil
}

const (
	// stretchBytes is how much is brought into memory at once: about what the
	// kernel reads ahead in any case.
	stretchBytes = 64 << 10

	// warmTime is how long a stretch counts as being in memory, in seconds. When
	// it has left sooner, page faults bring it back, which is as right and only
	// less considerate (see populate).
	warmTime = 8
)

var started = time.Now()

// populate makes sure that off … end of the log, inside the rows lo … hi, were in
// memory just now.
func (g *generation) populate(off, end, lo, hi int64) error {
	now := uint32(time.Since(started)/time.Second) + warmTime
	for i := off / stretchBytes; i <= (end-1)/stretchBytes; i++ {
		if now-g.warm[i].Load() < warmTime {
			continue
		}
		if err := populate(g.log, max(i*stretchBytes, lo), min((i+1)*stretchBytes, hi)); err != nil {
			return err
		}
		g.warm[i].Store(now)
		if i%announceEvery == 0 && g.settled.Load() {
			g.announce(i, now)
		}
	}
	return nil
}

// A reader that goes through the log in order comes to a standstill at each stretch,
// while the disk reads, and the disk while it copies and checks. So at each
// announceEvery-th stretch as many are announced that lie announceAhead further
// on, and at the first of them all up to there.
const (
	announceEvery = 16
	announceAhead = 16 * announceEvery
)

// announce tells the kernel what comes some stretches behind stretch i, if those
// before it were read just now.
func (g *generation) announce(i int64, now uint32) {
	recent := func(i int64) bool { return i >= 0 && now-g.warm[i].Load() < warmTime }
	if !recent(i - announceEvery/2) {
		return
	}
	from, to := i+1, i+1+announceAhead
	if recent(i-announceEvery) && recent(i-announceEvery-announceEvery/2) {
		from = to - announceEvery
	}
	n := int64(len(g.log))
	announce(g.log, min(from*stretchBytes, n), min(to*stretchBytes, n))
}

// reserve makes the log real up to byte end.
func (g *generation) reserve(end int64) error {
	if err := preallocate(g.file, g.alloc, end-g.alloc); err != nil {
		return err
	}
	g.alloc = end
	g.handOver(g.next &^ (stepBytes - 1))
	return nil
}

// version numbers the rows, as badger wants it: each one newer.
func (g *generation) version() uint64 {
	g.lastVersion++
	return g.lastVersion
}

// fits reports whether a piece of n bytes can still be added.
func (g *generation) fits(n int64) bool {
	return g.next+pieceSpan(n) <= g.cap && g.entries+slabCount(n) <= g.maxEntries
}

// acquire keeps the mapping alive for a reader; the caller holds Cache.mu, under
// which the index still points here.
func (g *generation) acquire() { g.refs.Add(1) }

// release gives a reference back. The last one unmaps.
func (g *generation) release() {
	if g.refs.Add(-1) == 0 && g.log != nil {
		_ = unix.Munmap(g.log)
		g.log = nil
	}
}

// close ends writing: badger flushes, syncs, cuts the log to what was written
// and stops its goroutines. The mapping stays.
func (g *generation) close() error {
	if g.db == nil {
		return nil
	}
	_ = g.awaitAhead() // nothing is going to be written there
	g.handOver(g.next)
	err := closeAt(g.home, g.db)
	g.db = nil
	if g.file != nil {
		err = errors.Join(err, g.file.Close())
		g.file = nil
	}
	if err != nil {
		return fmt.Errorf("close generation %s: %w", g.dir, err)
	}
	return nil
}

// abandon removes a generation that no reader has seen.
func (g *generation) abandon() {
	_ = g.close()
	g.release()
	_ = removeGeneration(g.dir)
}

// removeGeneration takes the folder out of sight in one step, so that a crash in
// the middle leaves nothing that looks like a generation.
func removeGeneration(dir string) error {
	gone := filepath.Join(filepath.Dir(dir), droppedPrefix+filepath.Base(dir))
	if err := os.Rename(dir, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

const droppedPrefix = "dropped-"

// badgerLog passes badger's words on, one level lower than badger thinks: what
// concerns the user is said by the cache. An error that comes again and again is
// passed on once.
type badgerLog struct {
	log  *slog.Logger
	last atomic.Pointer[string] // the last error, without its details
}

func newBadgerLog(log *slog.Logger) *badgerLog { return &badgerLog{log: log} }

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
