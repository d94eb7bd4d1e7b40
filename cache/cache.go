// Package cache keeps verified pieces on disk: put, view, evict, pin, and survive
// kill -9. What lives here: the folder and its lock, what is held and where (in
// memory), who writes next, which rows have more than one name, and what is dropped
// and moved when. Bytes are in segments (internal/segment). A badger database
// (internal/index) has the records, which are never evicted, and the changes of names.
//
// What must not live here: anything that knows about peers, kernels or files of a
// torrent; deciding what to fetch; hashing pieces; badger. The package imports the
// root vocabulary and none of its siblings.
//
// A Cache is several objects: store (what is held and how it is read), writer (what
// puts, moves and drops), pins, records, and the folder with its lock.
//
// Lock order: the write token (one writer at a time; held over disk writes), then
// sealing or removal (each one goroutine behind the writer), then holdings.mu (never
// held over I/O), then pins.mu. Readers take only holdings.mu, for
// reading, for well below a microsecond. Options.Changed is called with none held;
// Options.Protect is called by whoever has the token, so it may read from the cache
// but not write.
package cache

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

// Options says where and how large. Only Dir is needed.
type Options struct {
	Dir string

	// MustExist refuses, with weir.ErrNotFound, to make a new cache.
	MustExist bool

	// LimitBytes is the budget on disk; 0 takes what SetLimit was last told about
	// this folder, else 10 GiB, or half of what is free when that is less. Below
	// MinLimitBytes it is refused.
	LimitBytes int64

	// MinFreeBytes of the file system stay free: the cache stops growing there
	// and goes on within what it has. 0 takes MinFreePercent of the file system, a
	// negative value none. At least 128 MiB stay free, less the ballast, for the next
	// Open.
	MinFreeBytes   int64
	MinFreePercent float64 // 0 … 100; 0 takes 5

	// Mountpoint, and the path of the Control socket, are told to whoever finds the
	// cache in use (InUseError); may be empty.
	Mountpoint string
	Control    string

	Log *slog.Logger // nil: nothing is logged

	// Changed is told of each piece that came or went, after the fact, from the
	// goroutine that caused it, without locks held.
	Changed func(id weir.PieceID, held bool)

	// Protect is asked, when pieces are about to be evicted, which ones had better
	// stay (they are in the windows of open files), of at most so many bytes. It and
	// what it returns may read from the cache, but not write.
	Protect func(most int64) func(id weir.PieceID) bool
}

const (
	// MinLimitBytes is the smallest budget.
	MinLimitBytes = 16 << 20

	defaultLimitBytes = 10 << 30

	// The ballast, which lets the database be opened and closed on a full disk, takes
	// 1/ballastShare of the budget, and no more than badger needs.
	ballastShare = 32
)

// Cache is an open cache folder. All methods are safe for concurrent use.
type Cache struct {
	*store
	records
	pins   *pins
	writer writer
	folder *folder
}

// store is what is held, how it is read, and the names of it. It waits for no writer.
type store struct {
	held    *holdings
	names   *index.DB // what became of names
	stats   counters
	log     *slog.Logger
	changed func(id weir.PieceID, held bool)
}

type counters struct {
	hits, misses, evictions, moves, damaged atomic.Int64
}

// Open locks the folder and reads what is held. The error is an *InUseError, which
// wraps weir.ErrInUse, when another process has the folder; it wraps weir.ErrInvalid
// when the folder is no cache or made by a newer version, and weir.ErrNoSpace when
// the disk is too full to open the database. What a crash damaged is left out, never
// a reason to fail.
func Open(o Options) (*Cache, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	f, err := openFolder(o.Dir, Owner{os.Getpid(), o.Mountpoint, o.Control}, o.MustExist, o.Log)
	if err != nil {
		return nil, err
	}
	s := &store{held: &holdings{torrents: make(map[weir.InfoHash]*torrent)}, log: o.Log, changed: o.Changed}
	c := &Cache{store: s, pins: &pins{of: make(map[weir.InfoHash]*torrentPins)}, folder: f}
	c.writer = writer{
		store:   s,
		pins:    c.pins,
		folder:  f,
		root:    filepath.Join(o.Dir, segmentsName),
		protect: o.Protect,
		token:   make(chan struct{}, 1),
		active:  make(map[policy.Class]*volume),
		ghost:   policy.NewGhost(),
		nextSeq: 1,
	}
	if err := c.open(o); err != nil {
		for _, v := range c.held.volumes {
			v.Release()
		}
		if c.db != nil {
			err = errors.Join(err, c.db.Close())
		}
		return nil, errors.Join(fmt.Errorf("open cache %s: %w", o.Dir, err), f.free())
	}
	f.homes = []disk.Home{disk.At(f.lock.Name()), disk.At(c.writer.root), disk.At(filepath.Join(o.Dir, indexName))}
	c.writer.syncOpened()
	c.writer.token <- struct{}{}
	return c, nil
}

func (c *Cache) open(o Options) error {
	if o.LimitBytes != 0 && o.LimitBytes < MinLimitBytes {
		return tooSmall(o.LimitBytes)
	}
	if o.MinFreePercent < 0 || o.MinFreePercent > 100 {
		return weir.Errorf(weir.ErrInvalid, "leave %g %% of the disk free: want 0 to 100", o.MinFreePercent)
	}
	if err := c.folder.upgrade(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.writer.root, 0o700); err != nil {
		return err
	}
	if err := c.openIndex(o); err != nil {
		return err
	}
	return c.openSegments()
}

func tooSmall(limit int64) error {
	return weir.Errorf(weir.ErrInvalid, "a cache of %d bytes is too small, it needs %d MiB", limit, int64(MinLimitBytes)>>20)
}

// openIndex opens the database, and sets the budget and what the disk keeps.
func (c *Cache) openIndex(o Options) (err error) {
	avail, total, err := disk.Free(c.folder.dir)
	if err != nil {
		return err
	}
	if c.writer.minFree = o.MinFreeBytes; c.writer.minFree == 0 {
		c.writer.minFree = int64(float64(total) / 100 * cmp.Or(o.MinFreePercent, 5))
	}
	if c.db, err = index.Open(filepath.Join(c.folder.dir, indexName), filepath.Join(c.folder.dir, ballastName), c.log); err != nil {
		return err
	}
	c.names = c.db
	limit := cmp.Or(o.LimitBytes, rememberedLimit(c.db))
	if limit == 0 {
		half := (avail + disk.Allocated(c.folder.dir)) / 2
		limit = max(MinLimitBytes, min(defaultLimitBytes, half))
	}
	c.held.limit.Store(limit)
	c.db.SetBallast(ballastOf(limit))
	return c.loadPins()
}

// openSegments enters what the segments of earlier runs hold, with what became of
// their names since.
func (c *Cache) openSegments() error {
	fates := make(map[uint64]map[index.Name]index.Fate)
	if err := c.db.EachName(func(n index.Name, fate index.Fate) {
		if fates[n.Salt] == nil {
			fates[n.Salt] = make(map[index.Name]index.Fate)
		}
		fates[n.Salt][n] = fate
	}); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.writer.root) // in order: of two places of a piece the newer counts
	if err != nil {
		return err
	}
	for some := range slices.Chunk(entries, 4) {
		var opened [4]struct {
			*segment.Segment
			names  []segment.Name
			prints segment.Prints
		}
		var group errgroup.Group
		for i, e := range some {
			if seq, _, ok := segment.ParseName(e.Name()); ok {
				c.writer.nextSeq = max(c.writer.nextSeq, seq+1)
			}
			group.Go(func() (err error) {
				s := &opened[i]
				if s.Segment, s.names, s.prints, err = segment.Open(c.writer.root, e.Name()); err != nil {
					c.log.Debug("segment left out", "err", err)
					return os.RemoveAll(filepath.Join(c.writer.root, e.Name()))
				}
				return nil
			})
		}
		err := group.Wait()
		for _, s := range opened {
			if s.Segment == nil {
				continue
			}
			v := &volume{Segment: s.Segment, sealed: true, disk: s.Size(), prints: s.prints}
			c.held.volumes = append(c.held.volumes, v)
			v.inDatabase.Store(fates[s.Salt] != nil)
			for _, f := range named(s.names, fates[s.Salt], s.Salt) {
				c.held.set(f, v)
			}
			delete(fates, s.Salt)
		}
		if err != nil {
			return err
		}
	}
	c.held.refilter()
	for salt := range fates { // dropped just before a crash
		if err := c.db.ForgetNames(salt); err != nil {
			c.log.Debug("names of a segment that is gone stay", "err", err)
		}
	}
	return nil
}

// Close waits for writes, seals what is open and gives the folder free. Reads that
// are under way end well; later calls get weir.ErrClosed. Closing again does nothing.
func (c *Cache) Close() error {
	w := &c.writer
	<-w.token
	defer func() { w.token <- struct{}{} }()
	c.held.mu.Lock()
	closed := c.held.closed
	c.held.closed = true
	c.held.mu.Unlock()
	if closed {
		return nil
	}
	// What goes on in the background is done.
	w.sealing.Lock()
	w.removal.Lock()
	for _, v := range w.active {
		if v != nil && c.folder.lost() == nil {
			w.seal(v)
		}
	}
	clear(w.active)
	c.held.mu.Lock()
	for _, v := range c.held.volumes {
		v.Release()
	}
	c.held.volumes, c.held.torrents = nil, map[weir.InfoHash]*torrent{}
	c.held.mu.Unlock()
	return errors.Join(c.db.Close(), c.folder.free())
}

func (s *store) announce(changes []change) {
	if s.changed == nil {
		return
	}
	for _, n := range changes {
		s.changed(n.id, n.held)
	}
}

// Stat describes a cache. Counts begin at Open.
type Stat struct {
	Pieces       int   // and blocks without their pieces
	Bytes        int64 // in these
	Shared       int   // of the pieces, those whose bytes were stored for another piece
	SharedBytes  int64 // in these
	DiskBytes    int64 // on disk, as du counts, with everything that is not a piece
	LimitBytes   int64
	FreeBytes    int64 // of the file system, for this user
	MinFreeBytes int64 // of the file system, where the cache stops growing
	PinnedBytes  int64 // reserved by pins, held or not
	Torrents     int   // that have a piece here
	Segments     int
	Hits         int64 // reads
	Misses       int64 // reads
	Evictions    int64 // pieces
	Moves        int64 // pieces written again because they were in use
	Damaged      int64 // pieces found damaged on disk
}

// Stat returns what is held and what happened.
func (c *Cache) Stat() Stat {
	onDisk := disk.Allocated(c.folder.dir)
	free, _, _ := disk.Free(c.folder.dir)
	pinned := c.pins.bytes()
	h := c.held
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Stat{
		Pieces: h.pieces, Bytes: h.bytes, Shared: h.shared, SharedBytes: h.sharedSum, DiskBytes: onDisk, LimitBytes: h.limit.Load(),
		FreeBytes: free, MinFreeBytes: c.writer.keepFree(),
		PinnedBytes: pinned, Torrents: len(h.torrents), Segments: len(h.volumes),
		Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Evictions: c.stats.evictions.Load(),
		Moves: c.stats.moves.Load(), Damaged: c.stats.damaged.Load(),
	}
}
