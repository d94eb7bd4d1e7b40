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
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
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
	// negative value none.
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

	// A generation takes 1/generationShare of the budget, within these bounds:
	// small enough that dropping one frees little more than is needed, large
	// enough that they stay few.
	generationShare    = 32
	minGenerationBytes = 8 << 20
	maxGenerationBytes = 1 << 30

	// maxGenerations is where small ones (many short runs leave many) are merged.
	maxGenerations = 8 * generationShare

	// reserveBytes is the step in which the space of a generation is reserved.
	reserveBytes = 8 << 20
)

// Cache is an open cache folder. All methods are safe for concurrent use.
type Cache struct {
	folder    *folder
	root      string // of the generations
	log       *slog.Logger
	changed   func(id weir.PieceID, held bool)
	protect   func(most int64) func(id weir.PieceID) bool
	minFree   int64
	catalogue *catalogue

	clock atomic.Uint64 // bytes served and stored: the policy's time
	limit atomic.Int64  // bytes
	stats counters

	queue queue         // of pieces for whoever has the turn
	turn  chan struct{} // holds one token; who has it may write
	// With the turn:
	active  map[class]*generation
	sealing chan struct{}    // holds one token; who has it closes a generation
	removal chan struct{}    // holds one token; who has it removes files
	spare   chan *generation // the next one, once sparing
	sparing bool
	ghost   *ghost
	nextSeq uint64
	credit  int64     // bytes freed while the disk was below its minimum, to be used again
	full    time.Time // when the disk was found full last
	homes   []home    // what the folder consists of, to see whether it is there
	isLost  atomic.Bool
	batch   batch
	company bool   // pieces were put together last time
	notes   []note // for Changed, once the turn is given back

	mu       sync.RWMutex
	torrents map[weir.InfoHash]*torrent
	gens     []*generation // by seq; the active ones too
	held     int           // pieces
	heldSum  int64         // bytes in them

	shared    int   // of them, those whose bytes were written for another one
	sharedSum int64 // bytes in these

	pins   pins
	closed bool
}

type counters struct {
	hits, misses, evictions, moves, damaged atomic.Int64
}

type note struct {
	id   weir.PieceID
	held bool
}

// Open locks the folder and reads what is held. The error is an *InUseError, which
// wraps weir.ErrInUse, when another process has the folder; it wraps
// weir.ErrInvalid when the folder is no cache or made by another version. What a crash damaged is
// left out, never a reason to fail.
func Open(o Options) (*Cache, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	f, err := openFolder(o.Dir, Owner{os.Getpid(), o.Mountpoint, o.Control}, o.MustExist)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		folder:   f,
		root:     filepath.Join(o.Dir, generationsName),
		log:      o.Log,
		changed:  o.Changed,
		protect:  o.Protect,
		turn:     make(chan struct{}, 1),
		active:   make(map[class]*generation),
		sealing:  make(chan struct{}, 1),
		removal:  make(chan struct{}, 1),
		spare:    make(chan *generation, 1),
		ghost:    newGhost(),
		nextSeq:  1,
		torrents: make(map[weir.InfoHash]*torrent),
	}
	if err := c.open(o); err != nil {
		for _, g := range c.gens {
			g.release()
		}
		return nil, errors.Join(fmt.Errorf("open cache %s: %w", o.Dir, err), c.catalogue.close(), f.free())
	}
	c.homes = []home{homeAt(f.lock.Name()), homeAt(c.root), homeAt(c.catalogue.dir)}
	c.turn <- struct{}{}
	c.sealing <- struct{}{}
	c.removal <- struct{}{}
	return c, nil
}

func (c *Cache) open(o Options) (err error) {
	if err := os.MkdirAll(c.root, 0o700); err != nil {
		return err
	}
	if o.LimitBytes != 0 && o.LimitBytes < MinLimitBytes {
		return fmt.Errorf("a cache of %d bytes is too small, it needs %d MiB: %w", o.LimitBytes, int64(MinLimitBytes)>>20, weir.ErrInvalid)
	}
	if o.MinFreePercent < 0 || o.MinFreePercent > 100 {
		return fmt.Errorf("%g %% to be left free: %w", o.MinFreePercent, weir.ErrInvalid)
	}
	if err := c.folder.setBallast(); err != nil {
		c.log.Debug("no ballast", "err", err)
	}
	if c.catalogue, err = openCatalogue(filepath.Join(c.folder.dir, catalogueName), c.log); err != nil {
		return err
	}
	if c.pins, err = c.loadPins(); err != nil {
		return err
	}
	if err := c.setBounds(o); err != nil {
		return err
	}
	return c.loadAll()
}

// setBounds sets the budget and what the disk keeps.
func (c *Cache) setBounds(o Options) error {
	avail, total, err := freeBytes(c.folder.dir)
	if err != nil {
		return err
	}
	if c.minFree = o.MinFreeBytes; c.minFree == 0 {
		c.minFree = int64(float64(total) / 100 * cmp.Or(o.MinFreePercent, 5))
	}
	limit := o.LimitBytes
	if limit == 0 {
		limit = c.rememberedLimit()
	}
	if limit == 0 {
		half := (avail + allocatedBytes(c.folder.dir)) / 2
		limit = max(MinLimitBytes, min(defaultLimitBytes, half))
	}
	c.limit.Store(limit)
	return nil
}

// loadAll opens the generations that earlier runs left.
func (c *Cache) loadAll() error {
	entries, err := os.ReadDir(c.root)
	if err != nil {
		return err
	}
	type loaded struct {
		gen    *generation
		pieces []found
	}
	all := make([]loaded, len(entries))
	var group errgroup.Group
	group.SetLimit(4)
	for i, e := range entries {
		seq, class, ok := parseGenName(e.Name())
		if !ok {
			_ = os.RemoveAll(filepath.Join(c.root, e.Name()))
			continue
		}
		c.nextSeq = max(c.nextSeq, seq+1)
		group.Go(func() error {
			g, pieces, err := loadGeneration(c.root, seq, class)
			if err != nil {
				c.log.Debug("generation left out", "err", err)
				return removeGeneration(filepath.Join(c.root, e.Name()))
			}
			all[i] = loaded{g, pieces}
			return nil
		})
	}
	err = group.Wait()
	slices.SortFunc(all, func(a, b loaded) int { return int(genSeq(a.gen)) - int(genSeq(b.gen)) })
	for _, l := range all {
		if l.gen == nil {
			continue
		}
		c.gens = append(c.gens, l.gen)
		for _, f := range l.pieces {
			c.index(f, l.gen)
		}
	}
	return err
}

func genSeq(g *generation) uint64 {
	if g == nil {
		return 0
	}
	return g.seq
}

// index enters a piece; the newest place wins. The caller holds mu, or is alone.
func (c *Cache) index(f found, g *generation) {
	t := c.torrents[f.id.Torrent]
	if t == nil {
		t = &torrent{hash: f.id.Torrent}
		c.torrents[f.id.Torrent] = t
	}
	if s := t.slot(f.id.Index); s != nil {
		c.count(s, -1)
	}
	c.count(t.set(f, g), 1)
}

// count adds a piece to the sums (by 1) or takes it out (by -1). The caller holds
// mu.
func (c *Cache) count(s *slot, by int) {
	n := int64(by) * s.bytes()
	s.gen.live += by
	c.held += by
	c.heldSum += n
	if s.link() {
		s.gen.countLink(int64(s.off), by)
		c.shared += by
		c.sharedSum += n
	}
}

// forget takes a piece out of the index. The caller holds mu.
func (c *Cache) forget(t *torrent, index int) {
	s := t.slot(index)
	if s == nil {
		return
	}
	c.count(s, -1)
	t.clear(index)
	if t.held == 0 {
		delete(c.torrents, t.hash)
	}
}

// Close waits for writes, closes what is open in good order and gives the folder
// free. Reads that are under way end well; later calls get weir.ErrClosed.
// Closing again does nothing.
func (c *Cache) Close() error {
	<-c.turn
	defer func() { c.turn <- struct{}{} }()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()

	lost := c.lost()
	if !lost {
		c.folder.dropBallast()
	}
	// What goes on in the background is done.
	<-c.sealing
	<-c.removal
	if c.sparing {
		if g := <-c.spare; g != nil && !lost {
			g.abandon()
		}
	}
	var errs []error
	for _, g := range c.active {
		if g != nil && !c.lost() {
			errs = append(errs, c.seal(g))
		}
	}
	clear(c.active)
	c.mu.Lock()
	for _, g := range c.gens {
		g.release()
	}
	c.gens, c.torrents = nil, map[weir.InfoHash]*torrent{}
	c.mu.Unlock()
	err := c.catalogue.close()
	if c.lost() {
		err = nil // it is said
	}
	errs = append(errs, err, c.folder.free())
	return errors.Join(errs...)
}

// takeTurn waits until this goroutine may write.
func (c *Cache) takeTurn() error {
	<-c.turn
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		c.turn <- struct{}{}
		return fmt.Errorf("cache: %w", weir.ErrClosed)
	}
	if c.lost() {
		c.turn <- struct{}{}
		return c.lostError()
	}
	return nil
}

// endTurn lets the next one write and then tells Changed what happened.
func (c *Cache) endTurn() {
	notes := c.notes
	c.notes = nil
	c.turn <- struct{}{}
	c.tell(notes)
}

func (c *Cache) tell(notes []note) {
	if c.changed == nil {
		return
	}
	for _, n := range notes {
		c.changed(n.id, n.held)
	}
}
