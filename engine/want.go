package engine

import (
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
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
	if w.closed || sameSpans(w.spans, spans) {
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

func sameSpans(a, b []picker.Span) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// disjoint drops from each span what an earlier one has.
func disjoint(spans []picker.Span) []picker.Span {
	var out []picker.Span
	for _, s := range spans {
		out = append(out, picker.Subtract([]picker.Span{s}, out)...)
	}
	return out
}
