package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Want asks for ranges ahead of any read: a window. It holds nothing by
// itself; closing it or setting other ranges takes it back, and what is then
// wanted by nobody is cancelled at its peers.
type Want struct {
	t    *Torrent
	prio weir.Priority

	mu     sync.Mutex
	spans  []picker.Span
	closed bool
	sw     *swarm       // where it is applied
	pw     *picker.Want // belongs to sw's owner goroutine
}

// NewWant returns an empty want at the priority of read-ahead.
func (t *Torrent) NewWant() *Want { return t.newWant(weir.Window) }

// NewBackgroundWant returns a want for what is fetched whenever
// nothing else is.
func (t *Torrent) NewBackgroundWant() *Want { return t.newWant(weir.Background) }

func (t *Torrent) newWant(prio weir.Priority) *Want {
	w := &Want{t: t, prio: prio}
	t.mu.Lock()
	t.wants[w] = struct{}{}
	t.mu.Unlock()
	return w
}

// Set replaces the ranges, the first most wanted. Every piece that a range
// touches is meant. It does nothing while the metadata is unknown, and after
// Close. It does not wait.
func (w *Want) Set(ranges []weir.Range) {
	info := w.t.Info()
	if info == nil {
		return
	}
	spans := make([]picker.Span, 0, len(ranges))
	for _, r := range ranges {
		if first, end := info.Pieces(r); first < end {
			spans = append(spans, picker.Span{First: first, End: end})
		}
	}
	w.mu.Lock()
	if w.closed || slices.Equal(w.spans, spans) {
		w.mu.Unlock()
		return
	}
	w.spans = disjoint(spans)
	w.mu.Unlock()
	sw, err := w.t.warm()
	if err != nil {
		return
	}
	w.apply(sw)
}

// Close takes the want back.
func (w *Want) Close() {
	w.mu.Lock()
	w.closed, w.spans = true, nil
	w.mu.Unlock()
	w.t.mu.Lock()
	delete(w.t.wants, w)
	sw := w.t.sw
	w.t.mu.Unlock()
	if sw != nil {
		w.apply(sw)
	}
}

// apply brings the want to the swarm's owner, which takes the newest state.
func (w *Want) apply(sw *swarm) {
	sw.do(func() {
		w.mu.Lock()
		spans, closed := w.spans, w.closed
		if w.sw != sw {
			w.sw, w.pw = sw, nil
		}
		w.mu.Unlock()
		if sw.pick == nil {
			return
		}
		if w.pw == nil {
			if closed || len(spans) == 0 {
				return
			}
			w.pw = sw.pick.NewWant(w.prio)
		}
		if closed {
			sw.pick.Close(w.pw)
			w.pw = nil
			return
		}
		sw.pieces.adopt(spans)
		sw.pick.Set(w.pw, spans)
	})
}

// disjoint drops from each span what an earlier one has.
func disjoint(spans []picker.Span) []picker.Span {
	var out []picker.Span
	for _, s := range spans {
		out = append(out, picker.Subtract([]picker.Span{s}, out)...)
	}
	return out
}

// Peers that read the same tell each other what they want and what they are fetching, so
// that not each of them fetches everything from the same seed. The picker decides
// what follows from it.

const (
	// Peers are told of new pieces so soon at the earliest, and of progress.
	planNewsAfter     = 50 * time.Millisecond
	planProgressAfter = 250 * time.Millisecond
)

// plans tells the peers that understand it (BEP 10, weir_plan) what we want and are
// fetching, and hears of theirs. It belongs to the swarm's owner.
type plans struct {
	s    *swarm
	at   time.Time // when they were told last
	told wire.Plan // what
}

// tell tells the peers when there is something new.
func (x *plans) tell(now time.Time) {
	if now.Sub(x.at) < planNewsAfter {
		return
	}
	var peers []*peer
	newcomers := false
	for _, p := range x.s.peers {
		if p.planID != 0 && p.pk != nil && !p.pk.HasEverything() {
			peers = append(peers, p)
			newcomers = newcomers || !p.toldPlan
		}
	}
	if len(peers) == 0 {
		return
	}
	m := wire.Plan{}
	wanted, begun := x.s.pick.Plan(wire.MaxWanted, wire.MaxBegun)
	for _, w := range wanted {
		m.Wanted = append(m.Wanted, [2]int{w.First, w.End})
	}
	for _, b := range begun {
		m.Fetching = append(m.Fetching, [2]int{b.Piece, b.Blocks})
	}
	news := newcomers && len(m.Wanted) > 0 || // or they hear of it when there is something
		!slices.Equal(m.Wanted, x.told.Wanted) || !slices.EqualFunc(m.Fetching, x.told.Fetching, samePiece)
	if !news && (now.Sub(x.at) < planProgressAfter || slices.Equal(m.Fetching, x.told.Fetching)) {
		return
	}
	x.at, x.told = now, m
	payload := wire.AppendPlan(nil, m)
	for _, p := range peers {
		p.toldPlan = true
		p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, p.planID, payload) })
	}
}

func samePiece(a, b [2]int) bool { return a[0] == b[0] }

// heard takes what a peer says that it wants and is fetching.
func (x *plans) heard(p *peer, payload []byte, at time.Time) error {
	m, err := wire.ParsePlan(payload)
	if err != nil {
		return link.ErrProtocol
	}
	if p.pk == nil {
		return nil // it will say it again
	}
	wanted := make([]picker.Span, 0, len(m.Wanted))
	for _, w := range m.Wanted {
		wanted = append(wanted, picker.Span{First: w[0], End: w[1]})
	}
	begun := make([]picker.Begun, 0, len(m.Fetching))
	for _, f := range m.Fetching {
		begun = append(begun, picker.Begun{Piece: f[0], Blocks: f[1]})
	}
	p.pk.SetPlan(at, wanted, begun)
	return nil
}
