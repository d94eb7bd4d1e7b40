// Package engine holds torrents and their swarms: it finds peers, decides which
// block to ask of whom, verifies what arrives, hands verified pieces to a Store
// and gives back what it holds.
//
// A torrent is cold (its metadata is known, nothing runs) or warm (one goroutine
// owns its swarm; peers, trackers and dials report to it). A read, a window or an
// incoming peer makes it warm; after two idle minutes it is cold again. Decisions live
// in internal/picker, without I/O; messages in internal/wire; what the user names is
// validated in source. Nothing here knows of FUSE, of badger, or of files: ranges are in
// torrent coordinates.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bitfield"
	"github.com/weirfs/weir/engine/internal/connector"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/internal/netrule"
	"github.com/weirfs/weir/engine/internal/storage"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/webseed"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// Store keeps verified pieces and small records. The engine never puts a byte
// there that was not verified. All methods are safe for concurrent use. Has and Held
// answer from memory; the others may wait for a disk, and are never called by the
// owner of a swarm. A Store that is a SharingStore, too, is used as one.
type Store interface {
	// Put keeps a whole verified piece, given as consecutive slices. When it
	// returns nil the piece can be read; the slices may be reused.
	Put(id weir.PieceID, blocks [][]byte) error
	// ReadAt fills p from a piece and reports whether it was there.
	ReadAt(id weir.PieceID, p []byte, off int64) (bool, error)
	Has(id weir.PieceID) bool
	// Held tells which of a torrent's n pieces are there.
	Held(ih weir.InfoHash, n int) []bool
	PutRecord(bucket string, key, value []byte) error
	// Record returns an error that wraps weir.ErrNotFound if there is none.
	Record(bucket string, key []byte) ([]byte, error)
}

// SharingStore is what a Store can do beyond Store: know pieces by their hash.
type SharingStore = storage.Sharing

// Where the engine keeps what came from peers, in the records of its Store.
const (
	// MetadataBucket has info dictionaries, by info hash, so that a magnet needs them
	// only once.
	MetadataBucket = metainfo.MetadataBucket
	// LayersBucket has the piece layers of files of v2 torrents, by info hash and file
	// index.
	LayersBucket = metainfo.LayersBucket
)

// Checker compares pieces with the metadata that an engine left in its Store's records.
type Checker = metainfo.Checker

// NewChecker returns a Checker of what stands in records.
func NewChecker(records metainfo.Records) *Checker { return metainfo.NewChecker(records) }

// NodesBucket is where the engine keeps DHT nodes that answered, so that the next
// start needs no router; PeersBucket is where it keeps the peers of each torrent that
// were of use, by info hash.
const (
	NodesBucket = "dht"
	PeersBucket = connector.PeersBucket
)

var nodesKey = []byte("nodes")

// PublicRouters are the usual ways into the public DHT.
func PublicRouters() []string { return discover.PublicRouters() }

// Network is how an Engine reaches peers and HTTP trackers, and is reached.
type Network = connector.Network

// Options configure an Engine. Store is required; zero fields take defaults.
type Options struct {
	Store Store
	// StoreReady is closed when Store answers without making the caller wait; nil
	// says that it does from the beginning. Until then it is not asked: peers are
	// dialed, metadata is fetched, and reads wait with their contexts.
	StoreReady <-chan struct{}
	Log        *slog.Logger
	// Listen is the TCP address for incoming peers, ":0" by default; "off"
	// accepts none.
	Listen string
	// MemoryBytes bounds pieces that are not committed to the Store yet, over
	// all torrents. Default 256 MiB.
	MemoryBytes int64
	// MaxPeers bounds the connections of one torrent. Default 50.
	MaxPeers int
	// MaxConnections bounds the connections of all torrents, dials included.
	// Default 200.
	MaxConnections int
	// UploadLimit and DownloadLimit bound the blocks that all torrents together
	// send and receive, in bytes per second; what the protocol adds, a percent or
	// two, is not counted. 0 is no limit. SetLimits changes them.
	UploadLimit, DownloadLimit int64
	// MaxWarm bounds the torrents that are warm although nobody waits for them: new
	// ones, and those that peers connect for. Default 32.
	MaxWarm int
	// MaxMetadata bounds an info dictionary that peers send, in bytes. Default 64 MiB,
	// at most source.MaxMetainfoBytes. Over all torrents twice as much is held.
	MaxMetadata int64
	// Idle is how long a torrent stays warm after its last use. Default 2 min.
	Idle time.Duration
	// Peers are asked about every torrent, host:port.
	Peers []string
	// Encryption of connections (MSE). By default plaintext comes first, because
	// the encrypted handshake costs two round trips.
	Encryption Encryption
	// DHT and LSD (BEP 5, 14) find peers of public torrents beside the trackers.
	// DHTBootstrap are nodes (host:port) to begin with; without any, only those
	// are asked that a former run left in the Store.
	DHT, LSD     bool
	DHTBootstrap []string
	// AllowPrivate lets what torrents, magnets and trackers name lead to this machine
	// and its network in other ways than to a tracker at /announce.
	AllowPrivate bool
	// WebSeeds lets the web servers be asked that torrents name (BEP 19).
	WebSeeds bool
	// UserAgent is told to trackers and peers. Default "weir".
	UserAgent string
	// Network is what peers, web seeds and HTTP trackers are reached by; nil is the system's.
	Network Network
}

// Encryption says whether connections are obfuscated (message stream
// encryption). It hides the protocol from the network between, not from peers.
type Encryption = wire.Encryption

// The choices, and what they mean for us.
const (
	EncryptionAllowed  = wire.EncryptionAllowed  // plaintext first, encrypted with who refuses that; takes both
	EncryptionRequired = wire.EncryptionRequired // RC4 only, in both directions
	EncryptionOff      = wire.EncryptionOff      // plaintext only
)

// DefaultMaxMetadata is what the hashes of three million pieces take.
const DefaultMaxMetadata = 64 << 20

func (o *Options) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Listen == "" {
		o.Listen = ":0"
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.MaxPeers <= 0 {
		o.MaxPeers = 50
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 200
	}
	if o.MaxWarm <= 0 {
		o.MaxWarm = 32
	}
	if o.MaxMetadata <= 0 {
		o.MaxMetadata = DefaultMaxMetadata
	}
	o.MaxMetadata = min(o.MaxMetadata, source.MaxMetainfoBytes)
	if o.Idle <= 0 {
		o.Idle = 2 * time.Minute
	}
	if o.UserAgent == "" {
		o.UserAgent = "weir"
	}
}

// Engine holds torrents. It is safe for concurrent use.
type Engine struct {
	opts Options
	log  *slog.Logger

	ctx    context.Context // ends with the engine
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	usage
	records  storage.Writer
	storage  *storage.Pool
	metainfo *metainfo.Loader

	up, down *throttle.Limiter // of blocks

	mu       sync.Mutex
	torrents map[weir.InfoHash]*Torrent
	leaving  map[weir.InfoHash]*Torrent // removed, and their swarms have not ended

	endpoint *connector.Endpoint // our side of all connections
	pool     *netrule.Pool       // of connections to web servers
	web      *webseed.Client     // over it
}

// usage is what all torrents together use of what is bounded.
type usage struct {
	hashing       chan struct{}   // a slot per piece that is verified at a time
	inMemory      atomic.Int64    // bytes of pieces begun or not committed
	metadataBytes atomic.Int64    // of info dictionaries that are not complete
	belowLayer    chan struct{}   // has room for one: a piece is hashed for a peer
	claims        bitfield.Budget // of peers of torrents without metadata
	warm          atomic.Int32    // swarms that run
}

// New returns an engine that does nothing until Open.
func New(o Options) *Engine {
	o.defaults()
	e := &Engine{
		opts:     o,
		log:      o.Log,
		torrents: map[weir.InfoHash]*Torrent{},
		leaving:  map[weir.InfoHash]*Torrent{},
		up:       throttle.New(o.UploadLimit),
		down:     throttle.New(o.DownloadLimit),
	}
	e.hashing, e.belowLayer = make(chan struct{}, runtime.GOMAXPROCS(0)), make(chan struct{}, 1)
	sharing, _ := o.Store.(SharingStore)
	e.storage = storage.NewPool(o.Store, sharing)
	e.metainfo = metainfo.NewLoader(metainfo.Options{Store: o.Store, Ready: e.storeReady, Log: o.Log})
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.endpoint = e.newEndpoint()
	e.openWebSeeds()
	return e
}

// newEndpoint returns our side of all connections.
func (e *Engine) newEndpoint() *connector.Endpoint {
	return connector.NewEndpoint(e.ctx, (*incoming)(e), connector.EndpointOptions{
		Log:            e.log,
		Network:        e.opts.Network,
		Listen:         e.opts.Listen,
		Encryption:     e.opts.Encryption,
		MaxPeers:       e.opts.MaxPeers,
		MaxConnections: e.opts.MaxConnections,
		Discover: discover.Options{
			Log:          e.log,
			UserAgent:    e.opts.UserAgent,
			Rule:         netrule.Rule{AllowPrivate: e.opts.AllowPrivate},
			DHT:          e.opts.DHT,
			DHTBootstrap: e.opts.DHTBootstrap,
			LSD:          e.opts.LSD,
			NodesReady:   e.opts.StoreReady,
			LoadNodes: func() []byte {
				b, _ := e.opts.Store.Record(NodesBucket, nodesKey)
				return b
			},
			RecordNodes: func(b []byte) {
				if err := e.opts.Store.PutRecord(NodesBucket, nodesKey, b); err != nil {
					e.log.Warn("DHT nodes not kept in the cache", "err", err)
				}
			},
		},
	})
}

// Open starts to accept peers and to look for them.
func (e *Engine) Open() error { return e.endpoint.Open() }

// Port returns the port for incoming peers, 0 if there is none.
func (e *Engine) Port() int { return e.endpoint.Port() }

// Close ends every swarm and waits until verified pieces are committed. Reads
// that wait return weir.ErrClosed. It may be called more than once.
func (e *Engine) Close() error {
	e.cancel(weir.ErrClosed)
	e.mu.Lock()
	torrents := make([]*Torrent, 0, len(e.torrents))
	for _, t := range e.torrents {
		torrents = append(torrents, t)
	}
	e.mu.Unlock()
	err := e.endpoint.StopListening()
	var closing sync.WaitGroup // side by side: each says goodbye to its trackers
	for _, t := range torrents {
		closing.Go(func() { t.close(weir.ErrClosed) })
	}
	closing.Wait()
	e.wg.Wait()
	e.records.Wait()
	e.metainfo.Close()
	e.pool.Close()
	return errors.Join(err, e.endpoint.Close())
}

// SetLimits changes Options.UploadLimit and Options.DownloadLimit, at once and for
// what waits already.
func (e *Engine) SetLimits(upload, download int64) {
	e.up.SetRate(upload)
	e.down.SetRate(download)
}

// Add makes a torrent known. It is cold until it is used. If it is known
// already, the known one is returned with an error that wraps weir.ErrExists,
// after it has learned the trackers and peers of spec.
func (e *Engine) Add(spec *source.Spec) (*Torrent, error) { return e.add(spec, false) }

// AddStored makes a torrent known whose metadata a former run left in the Store
// (see Torrent.StoreMetadata), without reading it: spec needs only the info hash and what
// finds peers. It is otherwise as Add. If the Store lacks the metadata after all,
// it comes from peers, as a magnet's does.
func (e *Engine) AddStored(spec *source.Spec) (*Torrent, error) { return e.add(spec, true) }

func (e *Engine) add(spec *source.Spec, stored bool) (*Torrent, error) {
	if spec.InfoHash.IsZero() {
		return nil, weir.Errorf(weir.ErrInvalid, "add torrent: no info hash")
	}
	t := newTorrent(e, spec)
	if err := t.learn(spec); err != nil {
		return nil, fmt.Errorf("add torrent %s: %w", spec.InfoHash, err)
	}
	e.mu.Lock()
	if e.ctx.Err() != nil {
		e.mu.Unlock()
		return nil, weir.ErrClosed
	}
	if known := e.torrents[spec.InfoHash]; known != nil {
		e.mu.Unlock()
		return known, errors.Join(weir.Errorf(weir.ErrExists, "torrent %s was added before", spec.InfoHash), known.learnMore(spec))
	}
	e.torrents[spec.InfoHash] = t
	if former := e.leaving[spec.InfoHash]; former != nil {
		t.former = former.closed
	}
	e.mu.Unlock()
	t.meta.Expect(stored)
	t.announce.Hold()
	return t, nil
}

// Remove forgets a torrent. Reads that wait return weir.ErrRemoved. What the
// Store holds stays there. It does not wait for the swarm, which says goodbye to its
// trackers and commits what was verified; Close does.
func (e *Engine) Remove(ih weir.InfoHash) error {
	e.mu.Lock()
	t := e.torrents[ih]
	if t == nil || e.ctx.Err() != nil {
		e.mu.Unlock()
		return weir.Errorf(weir.ErrNotFound, "remove torrent %s: it was never added", ih)
	}
	delete(e.torrents, ih)
	e.leaving[ih] = t
	e.wg.Add(1)
	e.mu.Unlock()
	t.endWith(weir.ErrRemoved)
	t.mu.Lock()
	t.last = t.sw
	t.mu.Unlock()
	go func() {
		defer e.wg.Done()
		t.close(weir.ErrRemoved)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.leaving[ih] == t {
			delete(e.leaving, ih)
		}
	}()
	return nil
}

// Torrent returns a known torrent.
func (e *Engine) Torrent(ih weir.InfoHash) (*Torrent, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.torrents[ih]
	return t, ok
}

// Torrents returns the known torrents, in no order.
func (e *Engine) Torrents() []*Torrent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(func(yield func(*Torrent) bool) {
		for _, t := range e.torrents {
			if !yield(t) {
				return
			}
		}
	})
}
