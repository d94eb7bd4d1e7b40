package engine

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/storage"
	"github.com/weirfs/weir/engine/internal/webseed"
	"github.com/weirfs/weir/engine/internal/wire"
)

// WebSeed is a web server of a torrent (BEP 19).
type WebSeed struct {
	URL      string // without user and password
	State    WebSeedState
	Rate     float64 // bytes per second lately
	Received int64   // bytes of blocks
	Why      string  // what went wrong last, in words; "" if nothing did
	Stale    []int   // files of which it has another version than the torrent
	Newer    string  // where a newer torrent is likely to be, when files are stale; "" if unknown
}

// webQueueTime is what is kept asked of a web seed: a request in a run of many MiB
// costs one round trip, and what is taken back of it is not sent any more.
const webQueueTime = time.Second

// webSeeds are a torrent's web seeds (BEP 19). Each that is asked is a peer of the
// picker. It belongs to the swarm's owner.
type webSeeds struct {
	s        *swarm
	choice   *webseed.Choice
	seeds    []*webSeed // in the order in which they are tried
	measured time.Time
}

// webSeed is one of them.
type webSeed struct {
	s        *swarm
	base     *url.URL
	seed     *webseed.Seed
	pk       *picker.Peer // nil while it is not asked
	change   time.Time    // when what it has may change with time; zero for never
	received int64        // bytes of blocks
	seen     int64        // of these, when the rate was measured last
	rate     float64      // bytes per second lately
}

// openWebSeeds makes the client that asks web seeds, for all torrents.
func (e *Engine) openWebSeeds() {
	o := netrule.PoolOptions{
		Rule:    netrule.Rule{AllowPrivate: e.opts.AllowPrivate},
		Proxy:   http.ProxyFromEnvironment,
		PerHost: webseed.MaxRuns,
	}
	if n := e.opts.Network; n != nil {
		o.Dial = func(ctx context.Context, _, address string) (net.Conn, error) { return n.Dial(ctx, address) }
	}
	e.pool = netrule.NewPool(o)
	e.web = webseed.NewClient(e.pool, e.opts.UserAgent)
}

// newWebSeeds returns the web seeds of a swarm whose metadata is known. They are
// tried in an order of their own at each run, so that the first of a long list of
// mirrors isn't everybody's.
func newWebSeeds(s *swarm, urls []string) *webSeeds {
	w := &webSeeds{s: s}
	var hosts []string
	for _, i := range rand.Perm(len(urls)) {
		base, err := url.Parse(urls[i])
		if err != nil {
			continue // source has looked at it
		}
		hosts = append(hosts, base.Host)
		w.seeds = append(w.seeds, &webSeed{s: s, base: base})
	}
	w.choice = webseed.NewChoice(hosts)
	return w
}

// choose lets the picker know which web seeds are asked, and for what.
func (w *webSeeds) choose(now time.Time) {
	active := w.choice.Active(now)
	for i, d := range w.seeds {
		switch on := slices.Contains(active, i); {
		case on && d.pk == nil:
			d.join(now)
		case !on && d.pk != nil:
			d.leave()
		case on && !d.change.IsZero() && !now.Before(d.change):
			d.tell(now)
		}
	}
}

// housekeep does what time alone calls for.
func (w *webSeeds) housekeep(now time.Time) {
	passed := now.Sub(w.measured)
	if passed >= time.Second {
		for i, d := range w.seeds {
			came := d.received - d.seen
			d.rate, d.seen = d.rate+(float64(came)/passed.Seconds()-d.rate)/2, d.received
			if d.rate < 1 {
				d.rate = 0
			}
			if d.pk != nil && d.pk.InFlight() > 0 && !w.measured.IsZero() {
				w.choice.Measured(i, passed, came)
			}
		}
		w.measured = now
	}
	for i, d := range w.seeds {
		if d.pk == nil {
			continue
		}
		site := d.seed.Site()
		if site.Gone() {
			w.choice.Rest(i, time.Time{})
		} else if until := site.PausedUntil(); until.After(now) && len(w.seeds) > 1 {
			w.choice.Rest(i, until)
		}
	}
	w.choose(now)
	w.giveUp(now)
}

// lost returns why none of the web seeds will have a piece, "" if one may: each has
// another version, does not have it, or can't be reached. A server that can't be reached may
// come back, and is only counted if another one has another version.
func (w *webSeeds) lost(now time.Time, piece int) string {
	stale, missing, unreachable := "", "", false
	for _, d := range w.seeds {
		if d.seed == nil {
			return "" // it has yet to be tried
		}
		site := d.seed.Site()
		if site.Gone() {
			continue
		}
		if why := site.Lost(now, piece); why != "" {
			stale = d.base.Host + ": " + why
		} else if why := site.Missing(piece); why != "" {
			missing = d.base.Host + " does not have it: " + why
		} else if site.Unreachable() {
			unreachable = true
		} else {
			return ""
		}
	}
	if stale == "" && !unreachable {
		return missing
	}
	return stale
}

// How long a read waits for the first peer when no web seed has what it wants: less
// when every tracker has said that it knows none.
const (
	noPeersAfter       = 700 * time.Millisecond
	noPeersUnheardTime = 5 * time.Second
)

// giveUp ends the reads of pieces that nobody has: no web seed any more, and no peer
// is known who might.
func (w *webSeeds) giveUp(now time.Time) {
	s := w.s
	if len(w.seeds) == 0 || !s.reads.any() || s.conns.Known() > 0 || now.Sub(s.born) < noPeersAfter {
		return
	}
	if now.Sub(s.born) < noPeersUnheardTime && !s.conns.Searched() {
		return
	}
	for index := range s.reads.waiting {
		if s.pick.Availability(index) > 0 {
			continue
		}
		if why := w.lost(now, index); why != "" {
			err := weir.Errorf(weir.ErrCorrupt, "piece %d: %s, and no peer is known", index, why)
			s.t.counts.missed.Store(&Missed{At: now, Why: err.Error()})
			s.reads.fail(index, err)
		}
	}
}

// report returns what people may want to know, nothing of no web seeds.
func (w *webSeeds) report(now time.Time) []WebSeed {
	if w == nil {
		return nil
	}
	var all []WebSeed
	for _, d := range w.seeds {
		u := *d.base
		u.User = nil
		r := WebSeed{URL: u.String(), State: WebSeedUntried, Rate: d.rate, Received: d.received}
		if d.seed != nil {
			st := d.seed.Site().State(now)
			r.Stale = st.Stale
			if st.Reason != "" {
				r.Why = d.base.Host + ": " + st.Reason
			} else if len(st.Files) > 0 {
				i := slices.Min(slices.Collect(maps.Keys(st.Files)))
				r.Why = fmt.Sprintf("%s: %s: %s", d.base.Host, strings.Join(w.s.t.LoadedInfo().Files[i].Path, "/"), st.Files[i])
				if n := len(st.Files) - 1; n > 0 {
					r.Why += fmt.Sprintf(" (and %d more files)", n)
				}
			}
			if len(st.Stale) > 0 {
				r.Newer = newerTorrent(d.base, w.s.t.LoadedInfo())
			}
			switch {
			case st.Gone:
				r.State = WebSeedRefused
			case !st.Paused.IsZero():
				r.State = WebSeedPaused
			case d.pk == nil:
			case d.pk.InFlight() > 0:
				r.State = WebSeedBusy
			default:
				r.State = WebSeedReady
			}
		}
		all = append(all, r)
	}
	return all
}

// newerTorrent returns where the Internet Archive keeps the torrent of an item as it
// is now; "" for other servers.
func newerTorrent(base *url.URL, info *weir.TorrentInfo) string {
	host := base.Hostname()
	if info.Single || host != "archive.org" && !strings.HasSuffix(host, ".archive.org") {
		return ""
	}
	item := url.PathEscape(info.RawName())
	return "https://archive.org/download/" + item + "/" + item + "_archive.torrent"
}

// flush sends what was asked for.
func (w *webSeeds) flush(now time.Time) {
	for _, d := range w.seeds {
		if d.pk != nil {
			d.seed.Flush(now)
		}
	}
}

// close ends all requests.
func (w *webSeeds) close() {
	for _, d := range w.seeds {
		if d.seed != nil {
			d.seed.Close()
		}
	}
}

// wait returns when, after close, no request is under way.
func (w *webSeeds) wait() {
	for _, d := range w.seeds {
		if d.seed != nil {
			d.seed.Wait()
		}
	}
}

func (d *webSeed) join(now time.Time) {
	if d.seed == nil {
		d.seed = webseed.NewSeed(d.s.ctx, d.base, d.s.t.LoadedInfo(), d.s.eng.web, d)
	}
	d.pk = d.s.pick.Join(picker.PeerOptions{
		Ref: d, MaxRequests: webseed.MaxRunBytes / weir.BlockBytes, Fast: true, QueueTime: webQueueTime, Runs: true,
		Start: int(d.s.t.LoadedInfo().PieceLength / weir.BlockBytes), // one request for a piece that a read waits for
	})
	d.tell(now)
}

func (d *webSeed) leave() {
	pk := d.pk
	d.pk = nil // nobody hears of the blocks that are taken back
	d.seed.TakeBackAll()
	d.s.pick.Leave(pk)
}

// tell tells the picker which pieces the server has.
func (d *webSeed) tell(now time.Time) {
	have := make([]bool, d.s.t.LoadedInfo().NumPieces())
	site := d.seed.Site()
	for i := range have {
		have[i] = site.Has(now, i)
	}
	d.change, _ = site.NextChange(now)
	d.s.pick.HasThese(d.pk, have)
	d.s.pick.Unchoked(now, d.pk) // what it has rejected says nothing of what it has
}

var _ picker.Ref = (*webSeed)(nil)

// Act implements picker.Ref.
func (d *webSeed) Act(a picker.Action) {
	begin, length := d.s.layout.Place(a.Block)
	in := weir.Range{Off: int64(a.Block.Piece)*d.s.t.LoadedInfo().PieceLength + int64(begin)}
	in.End = in.Off + int64(length)
	if a.Kind == picker.Cancel {
		d.seed.TakeBack(in)
	} else {
		d.seed.Ask(in)
	}
}

// Wrong implements picker.Ref: the server alone has given the piece.
func (d *webSeed) Wrong(piece int) {
	d.blame(d.seed.Site().Wrong(time.Now(), piece))
	if d.pk != nil {
		d.tell(time.Now())
	}
}

// Right implements picker.Ref.
func (d *webSeed) Right(piece int) {
	if stale := d.seed.Site().Right(piece); len(stale) > 0 {
		d.blame(stale)
		if d.pk != nil {
			d.tell(time.Now())
		}
	}
}

func (d *webSeed) blame(stale []int) {
	for _, i := range stale {
		d.s.log.Warn("a web seed has another version of a file", "host", d.base.Host, "path", d.s.t.LoadedInfo().Files[i].Path)
	}
}

var _ webseed.Owner = (*webSeed)(nil)

// Run implements webseed.Owner.
func (d *webSeed) Run(fn func()) { d.s.do(fn) }

// Wait implements webseed.Owner.
func (d *webSeed) Wait(n int) { d.s.t.down.Wait(d.s.ctx, nil, n) }

// Buffer implements webseed.Owner.
func (d *webSeed) Buffer(n int) webseed.Buffer { return wire.NewBlock(n) }

// Block implements webseed.Owner.
func (d *webSeed) Block(in weir.Range, data webseed.Buffer) {
	d.received += in.Len()
	d.s.t.counts.downloaded.Add(in.Len())
	d.s.t.counts.web.Add(in.Len())
	b, begin, ok := d.blockAt(in)
	if d.pk == nil || !ok {
		d.s.t.counts.wasted.Add(in.Len())
		data.Free()
		return
	}
	data.Extend(begin%weir.BlockBytes, storage.BlockBytes(d.s.t.LoadedInfo().PieceRange(b.Piece).Len(), begin/weir.BlockBytes))
	d.s.pieces.received(d.pk, b, data, in.Len(), time.Now())
}

// blockAt returns the block that covers bytes of the torrent, and where in its piece
// they begin.
func (d *webSeed) blockAt(in weir.Range) (b picker.Block, begin int, ok bool) {
	length := d.s.t.LoadedInfo().PieceLength
	piece := int(in.Off / length)
	begin = int(in.Off - int64(piece)*length)
	b, _, ok = d.s.layout.BlockAt(piece, begin)
	return b, begin, ok
}

// Rejected implements webseed.Owner.
func (d *webSeed) Rejected(in weir.Range) {
	if d.pk == nil {
		return
	}
	if b, _, ok := d.blockAt(in); ok {
		d.s.pick.Rejected(d.pk, b)
	}
}

// Changed implements webseed.Owner.
func (d *webSeed) Changed() {
	if d.pk != nil {
		d.tell(time.Now())
	}
}
