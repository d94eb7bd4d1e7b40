package discover

import "github.com/weirfs/weir"

// Source is a way to find peers.
type Source uint8

// The sources.
const (
	FromTracker Source = iota + 1
	FromDHT
	FromLSD
)

func (s Source) String() string {
	return [...]string{"unknown", "tracker", "dht", "lsd"}[min(int(s), 3)]
}

// Via tells how peers were found.
type Via struct {
	Source   Source
	Tracker  string        // its name without secrets
	InfoHash weir.InfoHash // what they were found under, and want to hear in the handshake
}

// Torrent is what to find peers for. The functions are called from the goroutine of Run
// only (Stays, Left, Downloaded, Uploaded and Paused once more after its context ended) and must not
// wait; each says what nil stands for.
type Torrent struct {
	InfoHash   weir.InfoHash
	InfoHashV2 [32]byte   // of a hybrid or v2 torrent (BEP 52); zero when there is none
	Trackers   [][]string // tiers of URLs (BEP 12)
	// Nodes of the DHT (host:port) that the torrent names (BEP 5). They are asked
	// for it, if Options.Rule lets them.
	Nodes []string

	// Presence is what the trackers know of us; nil if that begins and ends with the
	// search. It has its own Trackers.
	Presence *Presence
	// Stays reports, after the search has ended, whether the torrent goes on being
	// announced, so that trackers are not told that we leave. nil: false.
	Stays func() bool

	// Private reports whether the torrent is private (BEP 27) and whether that is known.
	// It is asked before each use of anything but trackers, and at each Poke. A magnet
	// uses the DHT and LSD until its metadata says that it must not. nil: public.
	Private func() (private, known bool)
	// Left is what we lack, in bytes, > 0 while unknown. nil: 1.
	Left func() int64
	// Downloaded and Uploaded are bytes since the torrent was added. nil: 0.
	Downloaded, Uploaded func() int64
	// Paused reports that nothing is fetched though not all is there (BEP 21). nil: false.
	Paused func() bool
	// Found gets host:port addresses, of which some may be double or known from before.
	// nil: they are dropped.
	Found func(addrs []string, via Via)
	// WantMore reports whether more peers are of use. If not, we only announce ourselves.
	// nil: true.
	WantMore func() bool
	// Alone reports whether there is no peer at all: then the next tracker of a tier is
	// asked while a slow one has not answered. nil: false.
	Alone func() bool
}

func (t *Torrent) fill() {
	zero := func() int64 { return 0 }
	if t.Private == nil {
		t.Private = func() (bool, bool) { return false, true }
	}
	if t.Left == nil {
		t.Left = func() int64 { return 1 }
	}
	never := func() bool { return false }
	if t.Stays == nil {
		t.Stays = never
	}
	if t.Paused == nil {
		t.Paused = never
	}
	if t.Downloaded == nil {
		t.Downloaded = zero
	}
	if t.Uploaded == nil {
		t.Uploaded = zero
	}
	if t.Found == nil {
		t.Found = func([]string, Via) {}
	}
	if t.WantMore == nil {
		t.WantMore = func() bool { return true }
	}
	if t.Alone == nil {
		t.Alone = never
	}
}

// public reports whether others than the trackers may hear of the torrent.
func (t *Torrent) public() bool {
	private, known := t.Private()
	return !private || !known
}

// hashes returns what the torrent is announced as: a hybrid torrent is in two
// swarms (BEP 52).
func (t *Torrent) hashes() []weir.InfoHash {
	out := []weir.InfoHash{t.InfoHash}
	if v2 := weir.InfoHash(t.InfoHashV2[:20]); !v2.IsZero() && v2 != t.InfoHash {
		out = append(out, v2)
	}
	return out
}
