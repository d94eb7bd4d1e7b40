package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/source"
)

// Torrent is one torrent of an Engine. It is safe for concurrent use.
type Torrent struct {
	eng  *Engine
	ih   weir.InfoHash
	spec *source.Spec // as the user named it, without metadata

	meta *metainfo.Entry

	done    context.Context // ends when the torrent is removed or the engine closed; the cause says which
	endWith context.CancelCauseFunc

	closed  chan struct{} // by close
	closing sync.Once
	former  <-chan struct{} // of the torrent of the same name that was removed last; nil if none was

	counts counters
	missed atomic.Pointer[Missed]

	mu       sync.Mutex
	sw       *swarm // nil while cold
	last     *swarm // that Engine.Remove ended; nil if it was cold
	trackers [][]string
	nodes    []string // of the DHT, as the source names them
	peers    []string // host:port to try whenever it gets warm
	webSeeds []string // URLs
	wants    map[*Want]struct{}
}

// counters outlive the swarm.
type counters struct {
	downloaded, web, uploaded, wasted, unasked, hedged, reclaimed, verified, failed atomic.Int64
}

func newTorrent(e *Engine, spec *source.Spec) *Torrent {
	bare := *spec
	bare.Info, bare.InfoBytes, bare.PieceHashes, bare.Roots, bare.LayerHashes = nil, nil, nil, nil, nil
	t := &Torrent{eng: e, ih: spec.InfoHash, spec: &bare, closed: make(chan struct{}), wants: map[*Want]struct{}{}}
	t.done, t.endWith = context.WithCancelCause(context.Background())
	t.peers = slices.Clone(e.opts.Peers)
	t.meta = e.metainfo.NewEntry(t.done, t.spec)
	return t
}

// named returns the torrent that goes by a name.
func (e *Engine) named(ih weir.InfoHash) (*Torrent, bool) {
	if t, ok := e.Torrent(ih); ok {
		return t, true
	}
	for _, t := range e.Torrents() {
		if t.meta.Names().Has(ih) {
			return t, true
		}
	}
	return nil, false
}

// learn adds what spec knows: trackers, peers, metadata.
func (t *Torrent) learn(spec *source.Spec) error {
	t.mu.Lock()
	for _, tier := range spec.Trackers {
		tier = slices.DeleteFunc(slices.Clone(tier), func(u string) bool {
			return slices.ContainsFunc(t.trackers, func(known []string) bool { return slices.Contains(known, u) })
		})
		if len(tier) > 0 {
			t.trackers = append(t.trackers, tier)
		}
	}
	for _, n := range spec.Nodes {
		if !slices.Contains(t.nodes, n) {
			t.nodes = append(t.nodes, n)
		}
	}
	for _, u := range spec.WebSeeds {
		if t.eng.opts.WebSeeds && !slices.Contains(t.webSeeds, u) {
			t.webSeeds = append(t.webSeeds, u)
		}
	}
	t.mu.Unlock()
	t.AddPeers(spec.Peers)
	return t.meta.Learn(spec)
}

// InfoHash returns the torrent's name.
func (t *Torrent) InfoHash() weir.InfoHash { return t.ih }

// Info returns the torrent's shape, nil while it is not known. It may read the
// metadata from the Store, and never waits for the network.
func (t *Torrent) Info() *weir.TorrentInfo {
	if m := t.meta.Load(); m != nil {
		return m.Info
	}
	return nil
}

// LoadedInfo is Info without a look into the Store: nil for a torrent that left its
// metadata there.
func (t *Torrent) LoadedInfo() *weir.TorrentInfo {
	if m := t.meta.InMemory(); m != nil {
		return m.Info
	}
	return nil
}

// StoreMetadata puts the metadata into the Store, so that a later run can use AddStored.
// It does nothing while the metadata is unknown or the Store is not ready; metadata that
// comes from peers later is stored without a call.
func (t *Torrent) StoreMetadata() error { return t.meta.Save() }

// WaitInfo waits for the metadata, warming the torrent if it must come from
// peers. It returns ctx's error, weir.ErrRemoved or weir.ErrClosed.
func (t *Torrent) WaitInfo(ctx context.Context) (*weir.TorrentInfo, error) {
	for {
		if info := t.Info(); info != nil {
			return info, nil
		}
		sw, err := t.warm()
		if err != nil {
			return nil, err
		}
		if !sw.use(1) {
			continue // it has just cooled
		}
		select {
		case <-t.meta.Known():
			sw.use(-1)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				sw.do(sw.missed)
			}
			sw.use(-1)
			return nil, ctx.Err()
		case <-t.done.Done():
			return nil, context.Cause(t.done)
		}
	}
}

// Warm starts the swarm ahead of the first read; it cools by itself. It does nothing
// when Options.MaxWarm torrents are warm: of thousands that are added at once, a
// read warms those that are of interest.
func (t *Torrent) Warm() error {
	_, err := t.warmUnasked()
	if errors.Is(err, errWarmEnough) {
		return nil
	}
	return err
}

var errWarmEnough = weir.Errorf(weir.ErrNoSpace, "enough torrents are warm")

// warmUnasked is warm for what nobody waits for.
func (t *Torrent) warmUnasked() (*swarm, error) {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	if sw == nil && int(t.eng.warm.Load()) >= t.eng.opts.MaxWarm {
		return nil, errWarmEnough
	}
	return t.warm()
}

// warm returns the running swarm, starting it if the torrent is cold.
func (t *Torrent) warm() (*swarm, error) {
	t.mu.Lock()
	for t.sw == nil && t.done.Err() == nil && !t.meta.Use() {
		t.mu.Unlock()
		t.meta.Load() // reads the Store, or finds that there is nothing
		t.mu.Lock()
	}
	defer t.mu.Unlock()
	if t.done.Err() != nil {
		return nil, context.Cause(t.done)
	}
	if t.sw == nil {
		t.sw = newSwarm(t, t.trackers, t.peers)
		t.sw.webURLs = slices.Clone(t.webSeeds)
		t.sw.nodes = t.nodes
		t.eng.warm.Add(1)
		t.sw.start()
		for w := range t.wants {
			w.apply(t.sw)
		}
	}
	return t.sw, nil
}

// cool is called by the swarm itself when it is idle. It reports whether the
// swarm is on its own now and should end.
func (t *Torrent) cool(sw *swarm) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sw != sw || !sw.inbox.CloseIfEmpty() {
		return false
	}
	t.sw = nil
	t.meta.Release()
	return true
}

// close ends the torrent, and waits for its swarm.
func (t *Torrent) close(cause error) {
	defer t.closing.Do(func() { close(t.closed) })
	t.endWith(cause)
	t.mu.Lock()
	sw := t.sw
	t.sw = nil
	t.mu.Unlock()
	if sw != nil {
		sw.stop()
	}
}

// AwaitCommits returns when a torrent that was removed puts nothing into the Store any
// more. It waits for no peer and no tracker.
func (t *Torrent) AwaitCommits(ctx context.Context) error {
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last.committed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AddPeers makes addresses (host:port) known, for now and for later warmings.
func (t *Torrent) AddPeers(addrs []string) {
	t.mu.Lock()
	for _, a := range addrs {
		if !slices.Contains(t.peers, a) {
			t.peers = append(t.peers, a)
		}
	}
	sw := t.sw
	t.mu.Unlock()
	if sw != nil && len(addrs) > 0 {
		sw.do(func() { sw.book.Add(time.Now(), peerbook.Origin{Source: peerbook.User}, addrs...) })
	}
}

// Fetch fills the parts of p, which is as long as the range of miss, that lie in the
// missing pieces; it waits for them where memory does not have them. It returns nil or
// an error, and then p's content is unspecified: ctx's error when ctx ends,
// weir.ErrRemoved or weir.ErrClosed.
func (t *Torrent) Fetch(ctx context.Context, miss *weir.Miss, p []byte) error {
	for {
		if ctx.Err() != nil { // swarms may come and go for longer than that
			return ctx.Err()
		}
		info, err := t.WaitInfo(ctx)
		if err != nil {
			return err
		}
		sw, err := t.warm()
		if err != nil {
			return err
		}
		err = sw.awaitStore(ctx)
		if err == nil {
			err = sw.read(ctx, info, miss, p)
		}
		if !errors.Is(err, errCooled) && !errors.Is(err, errUnlearned) {
			return err
		}
	}
}

// read is Fetch with this swarm, which stays warm meanwhile, however long the Store
// takes. The Store was asked before, and is asked again only for pieces that may have
// got there since.
func (s *swarm) read(ctx context.Context, info *weir.TorrentInfo, miss *weir.Miss, p []byte) error {
	if !s.use(1) {
		return errCooled
	}
	defer s.use(-1)
	left := make([]int, 0, len(miss.Pieces))
	for _, i := range miss.Pieces {
		if part, off := partOf(info, i, miss.Range, p); !s.content.mem.readAt(i, part, off) {
			left = append(left, i)
		}
	}
	for round := 0; len(left) > 0; round++ {
		if err := s.wait(ctx, left, round > 0); err != nil {
			return err
		}
		still := left[:0]
		for _, i := range left {
			part, off := partOf(info, i, miss.Range, p)
			ok, err := s.content.readHeld(i, part, off)
			if err != nil {
				return err
			}
			if !ok {
				still = append(still, i)
			}
		}
		left = still
	}
	return nil
}

// partOf returns the part of p, which has range r, that lies in a piece, and where in
// the piece it begins. It is empty where the piece is padding.
func partOf(info *weir.TorrentInfo, index int, r weir.Range, p []byte) (part []byte, off int64) {
	pr := info.PieceRange(index)
	in := r.Intersect(pr)
	if in.Empty() {
		return nil, 0
	}
	return p[in.Off-r.Off : in.End-r.Off], in.Off - pr.Off
}
