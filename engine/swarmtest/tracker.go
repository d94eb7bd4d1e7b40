package swarmtest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TrackerFault is a way in which a tracker fails.
type TrackerFault int

// The faults of a tracker.
const (
	TrackerOK      TrackerFault = iota
	TrackerRefuses              // a failure reason (BEP 3)
	TrackerError                // HTTP status 500
	TrackerHangs                // no answer until the client gives up
	TrackerEmpty                // no peers
	TrackerGarbage              // an answer that isn't bencoded
)

// TrackerOptions are the settings of an HTTP tracker.
type TrackerOptions struct {
	Addr     string        // to listen on; "127.0.0.1:0" when empty
	Host     *simnet.Host  // of a Network, to be at instead of Addr
	Interval time.Duration // between announces, told to clients in seconds; 30 min when 0
	Peers    []string      // host:port with IP addresses, handed out for every torrent
	// Announced adds those who announced themselves, and have not stopped, to
	// what others get.
	Announced bool
	// NotCompact answers with a list of dictionaries (BEP 3) even to clients that
	// ask for the compact form (BEP 23), as some trackers do.
	NotCompact bool
	Fault      TrackerFault
}

// Announce is what a client told the tracker.
type Announce struct {
	Time       time.Time
	InfoHash   weir.InfoHash
	PeerID     string
	Addr       netip.AddrPort // the address it came from, with the port that it told
	Event      string         // "started", "completed", "stopped" or ""
	Left       int64          // bytes; -1 when not told
	Uploaded   int64          // bytes
	Downloaded int64          // bytes
	Compact    bool
	Raw        string // the query as it came
}

// Tracker is an HTTP tracker (BEP 3, 7 and 23). Its methods are safe for
// concurrent use.
type Tracker struct {
	opt    TrackerOptions
	url    string
	server *http.Server
	done   chan struct{} // closed when serving has ended
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	fault     TrackerFault
	peers     []string
	announces []Announce
	changed   chan struct{} // closed and made anew at each announce
}

// OpenTracker starts a tracker. Close ends it.
func OpenTracker(o TrackerOptions) (*Tracker, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Interval == 0 {
		o.Interval = 30 * time.Minute
	}
	l, err := simnet.Listen(o.Host, o.Addr)
	if err != nil {
		return nil, err
	}
	t := &Tracker{
		opt: o, url: "http://" + l.Addr().String() + "/announce",
		done: make(chan struct{}), fault: o.Fault, peers: o.Peers, changed: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /announce", t.serve)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(t.done)
		_ = t.server.Serve(l) // always an error; Close causes it
	}()
	return t, nil
}

// Close drops all connections and waits for the server.
func (t *Tracker) Close() error {
	err := t.server.Close()
	<-t.done
	t.cancel() // after the connections are gone, so that who hangs gets no answer
	return err
}

// URL returns the announce URL.
func (t *Tracker) URL() string { return t.url }

// SetPeers replaces the peers that are handed out for every torrent.
func (t *Tracker) SetPeers(peers ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers = slices.Clone(peers)
}

// SetFault replaces the fault for announces to come.
func (t *Tracker) SetFault(f TrackerFault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

// Announces returns all announces so far, those that were answered with a fault
// included.
func (t *Tracker) Announces() []Announce {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.announces)
}

// WaitAnnounce returns the first announce for which ok holds, when it has come.
func (t *Tracker) WaitAnnounce(ctx context.Context, ok func(Announce) bool) (Announce, error) {
	for {
		t.mu.Lock()
		i := slices.IndexFunc(t.announces, ok)
		changed := t.changed
		if i >= 0 {
			defer t.mu.Unlock()
			return t.announces[i], nil
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Announce{}, fmt.Errorf("waiting for an announce: %w", context.Cause(ctx))
		}
	}
}

func (t *Tracker) serve(w http.ResponseWriter, r *http.Request) {
	a, err := parseAnnounce(r)
	if err != nil {
		w.Write(appendBencode(nil, dict{"failure reason": err.Error()}))
		return
	}
	t.mu.Lock()
	peers := slices.Clone(t.peers)
	if t.opt.Announced {
		peers = append(peers, t.live(a)...)
	}
	t.announces = append(t.announces, a)
	fault := t.fault
	close(t.changed)
	t.changed = make(chan struct{})
	t.mu.Unlock()

	switch fault {
	case TrackerRefuses:
		w.Write(appendBencode(nil, dict{"failure reason": "this tracker refuses everybody"}))
		return
	case TrackerError:
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	case TrackerHangs:
		select {
		case <-r.Context().Done():
		case <-t.ctx.Done():
		}
		return
	case TrackerGarbage:
		w.Write([]byte("<html>no tracker lives here</html>"))
		return
	case TrackerEmpty:
		peers = nil
	}
	w.Write(t.answer(peers, a.Compact && !t.opt.NotCompact))
}

// live lists those who announced the torrent before, the last word of each
// address counting, without a itself; mu is held.
func (t *Tracker) live(a Announce) []string {
	last := map[netip.AddrPort]bool{}
	var order []netip.AddrPort
	for _, o := range t.announces {
		if o.InfoHash != a.InfoHash || o.Addr == a.Addr {
			continue
		}
		if _, ok := last[o.Addr]; !ok {
			order = append(order, o.Addr)
		}
		last[o.Addr] = o.Event != "stopped"
	}
	var out []string
	for _, p := range order {
		if last[p] {
			out = append(out, p.String())
		}
	}
	return out
}

func (t *Tracker) answer(peers []string, compact bool) []byte {
	d := dict{"interval": int(t.opt.Interval / time.Second)}
	var v4, v6 []byte
	l := list{}
	for _, p := range peers {
		ap, err := netip.ParseAddrPort(p)
		if err != nil {
			continue
		}
		addr, port := ap.Addr().Unmap(), ap.Port()
		l = append(l, dict{"ip": addr.String(), "port": int(port)})
		if addr.Is4() {
			v4 = append(append(v4, addr.AsSlice()...), byte(port>>8), byte(port))
		} else {
			v6 = append(append(v6, addr.AsSlice()...), byte(port>>8), byte(port))
		}
	}
	if !compact {
		d["peers"] = l
		return appendBencode(nil, d)
	}
	d["peers"] = v4
	if len(v6) > 0 {
		d["peers6"] = v6
	}
	return appendBencode(nil, d)
}

// parseAnnounce reads the query of an announce, strictly, so that mistakes show.
func parseAnnounce(r *http.Request) (Announce, error) {
	q := r.URL.Query()
	a := Announce{
		Time: time.Now(), PeerID: q.Get("peer_id"), Event: q.Get("event"),
		Left: -1, Compact: q.Get("compact") == "1", Raw: r.URL.RawQuery,
	}
	ih := q.Get("info_hash")
	if len(ih) != len(a.InfoHash) {
		return a, fmt.Errorf("info_hash of %d bytes", len(ih))
	}
	copy(a.InfoHash[:], ih)
	if len(a.PeerID) != 20 {
		return a, fmt.Errorf("peer_id of %d bytes", len(a.PeerID))
	}
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil {
		return a, fmt.Errorf("port %q", q.Get("port"))
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return a, err
	}
	a.Addr = netip.AddrPortFrom(from.Addr().Unmap(), uint16(port))
	switch a.Event {
	case "", "started", "completed", "stopped":
	default:
		return a, fmt.Errorf("event %q", a.Event)
	}
	for key, to := range map[string]*int64{"left": &a.Left, "uploaded": &a.Uploaded, "downloaded": &a.Downloaded} {
		if v := q.Get(key); v != "" {
			if *to, err = strconv.ParseInt(v, 10, 64); err != nil {
				return a, fmt.Errorf("%s %q", key, v)
			}
		}
	}
	return a, nil
}
