package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/announcer"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/source"
)

// Torrent is one torrent of an Engine. It is safe for concurrent use.
type Torrent struct {
	eng  *Engine
	ih   weir.InfoHash
	spec *source.Spec // as the user named it, without metadata

	meta     *metainfo.Entry
	announce *announcer.Torrent
	limits

	done    context.Context // ends when the torrent is removed or the engine closed; the cause says which
	endWith context.CancelCauseFunc

	closed  chan struct{} // by close
	closing sync.Once
	former  <-chan struct{} // of the torrent of the same name that was removed last; nil if none was

	counts counters

	mu       sync.Mutex
	sw       *swarm        // nil while cold
	last     *swarm        // that Engine.Remove ended; nil if it was cold
	nodes    []string      // of the DHT, as the source names them
	peers    []string      // host:port to try whenever it gets warm
	webSeeds []string      // URLs
	bans     peerbook.Bans // belong to the owner of sw, if there is one
	wants    map[*Want]struct{}
}

// limits are the rates of a torrent's blocks, each a part of the engine's.
type limits struct{ up, down *throttle.Limiter }

// counters outlive the swarm.
type counters struct {
	downloaded, web, uploaded, wasted, unasked, hedged, reclaimed, verified, failed atomic.Int64

	missed atomic.Pointer[Missed] // the last read that was given up
}

func newTorrent(e *Engine, spec *source.Spec) *Torrent {
	bare := *spec
	bare.Info, bare.InfoBytes, bare.PieceHashes, bare.Roots, bare.LayerHashes = nil, nil, nil, nil, nil
	t := &Torrent{eng: e, ih: spec.InfoHash, spec: &bare, closed: make(chan struct{}), wants: map[*Want]struct{}{}}
	t.done, t.endWith = context.WithCancelCause(context.Background())
	t.peers = slices.Clone(e.opts.Peers)
	t.up, t.down = e.up.NewPart(0), e.down.NewPart(0)
	t.meta = e.metainfo.NewEntry(t.done, t.spec)
	t.announce = announcer.New(announcer.Options{
		InfoHash: t.ih, Names: t.meta.Names, Info: t.Info, Ready: e.storeReady, Held: e.opts.Store.Held,
		Downloaded: t.counts.downloaded.Load, Uploaded: t.counts.uploaded.Load, Done: t.done, Discoverer: e.endpoint.Discoverer,
	})
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
	t.announce.AddTrackers(spec.Trackers)
	t.mu.Lock()
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

// learnMore is learn for a torrent that may be announced already: new trackers hear of it now.
func (t *Torrent) learnMore(spec *source.Spec) error {
	err := t.learn(spec)
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	if sw == nil || !sw.do(sw.conns.TrackersAdded) {
		t.announce.Hold()
	}
	return err
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
				sw.do(sw.stats.missed)
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

var errNotOffered = errors.New("the torrent is not given to others while nothing here uses it")

// Offer says whether others may find the torrent, and take it, while nothing here uses it:
// whether it is announced then, as far as it is held, and warmed for peers that connect.
// That is so until Offer is called.
func (t *Torrent) Offer(on bool) { t.announce.Offer(on) }

// Offered reports what Offer said last.
func (t *Torrent) Offered() bool { return t.announce.Offered() }

// SetLimits bounds the blocks that the torrent sends and receives, in bytes per second, 0
// for no bound but the engine's. It holds at once.
func (t *Torrent) SetLimits(upload, download int64) {
	t.up.SetRate(upload)
	t.down.SetRate(download)
}

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

// warmForPeer is warm for a peer that connects.
func (t *Torrent) warmForPeer() (*swarm, error) {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	if sw == nil && !t.announce.Offered() {
		return nil, errNotOffered
	}
	return t.warmUnasked()
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
		if t.bans == nil {
			t.bans = peerbook.Bans{}
		}
		t.sw = newSwarm(t)
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
	t.sw, t.bans = nil, maps.Clone(t.bans) // for the next one
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
	t.announce.Close()
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
	case <-last.pieces.committed:
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
		sw.do(func() { sw.conns.AddPeers(addrs) })
	}
}

// Stats never waits for the network. It is a second old at most while the
// torrent is warm.
func (t *Torrent) Stats() Stats {
	t.mu.Lock()
	sw := t.sw
	t.mu.Unlock()
	s := Stats{State: StateCold, SwarmSeeds: -1, SwarmLeeches: -1}
	if sw != nil {
		sw.stats.asked.Store(true)
		if r := sw.stats.report.Load(); r != nil {
			s = *r
		}
		s.Peers = sw.conns.Connected()
	}
	s.Downloaded = t.counts.downloaded.Load()
	s.FromWeb = t.counts.web.Load()
	s.Uploaded = t.counts.uploaded.Load()
	s.Wasted = t.counts.wasted.Load()
	s.Unasked = t.counts.unasked.Load()
	s.Hedged = t.counts.hedged.Load()
	s.Reclaimed = t.counts.reclaimed.Load()
	s.Verified = t.counts.verified.Load()
	s.Failed = t.counts.failed.Load()
	s.Missed = t.counts.missed.Load()
	if err := t.refused(); err != nil {
		s.State, s.Why = StateRefused, "its metadata can't be used: "+weir.ErrorText(err)
	}
	return s
}

// refused returns why the metadata that peers sent can't be used, though it is what
// the info hash names, and nil if there is none such.
func (t *Torrent) refused() error {
	err := context.Cause(t.done)
	if errors.Is(err, weir.ErrInvalid) || errors.Is(err, weir.ErrHostile) {
		return err
	}
	return nil
}

// SelectOnly returns the files that the torrent's magnet selects (so, BEP 53), as
// sorted indexes of TorrentInfo.Files. It is nil if all are meant: the source
// named none, or none that exists, or the metadata is not known yet. It starts
// nothing: weir fetches what is asked for and no more, so the selection only says
// which files whoever fetches or pins the torrent means.
func (t *Torrent) SelectOnly() []int {
	if len(t.spec.SelectOnly) == 0 {
		return nil
	}
	info := t.Info()
	if info == nil {
		return nil
	}
	var out []int
	spans, n := t.spec.SelectOnly, 0
	for i := range info.Files {
		if info.Files[i].Padding && info.V2 {
			continue // a gap that is in no metadata
		}
		for len(spans) > 0 && spans[0].Last < n {
			spans = spans[1:]
		}
		if len(spans) == 0 {
			break
		}
		if spans[0].First <= n && !info.Files[i].Padding {
			out = append(out, i)
		}
		n++
	}
	return out
}

// Announced returns how many torrents are announced though they are cold.
func (e *Engine) Announced() int {
	if d := e.endpoint.Discoverer(); d != nil {
		return d.Holds()
	}
	return 0
}

// Announces has a line for each tracker: its name and what it said last, to an announce of
// the torrent, warm or cold.
func (t *Torrent) Announces() []string {
	_, _, lines := trackerLines(t.announce.Presence(t.ih).Status())
	return lines
}
