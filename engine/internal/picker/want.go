package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Span is a half-open range of pieces.
type Span struct{ First, End int }

func (s Span) contains(index int) bool { return s.First <= index && index < s.End }

// Want asks for pieces at one priority, in the order given. A
// piece may be wanted by any number of wants; the highest priority counts.
type Want struct {
	prio   weir.Priority
	spans  []Span
	blocks []Block // of other pieces, in order: a read needs these alone
	cursor int     // pieces from the beginning that have nothing left to be asked for
}

// wants are all of them, and how far each is served.
type wants struct {
	pieces *pieces

	byPriority        [weir.Blocked + 1][]*Want // in the order of their coming
	backgroundRetryAt time.Time                 // until then there is nothing to do in the background
}

// NewWant adds an empty want.
func (k *Picker) NewWant(prio weir.Priority) *Want {
	w := &Want{prio: prio}
	k.wants.byPriority[prio] = append(k.wants.byPriority[prio], w)
	return w
}

// Set replaces what w asks for. What nobody wants any more is cancelled
// by the next Pick; what was received of it is kept until DropUnwanted.
func (k *Picker) Set(w *Want, spans []Span) {
	for _, s := range Subtract(w.spans, spans) {
		for i := s.First; i < s.End; i++ {
			k.unwant(i, w.prio)
		}
	}
	for _, s := range Subtract(spans, w.spans) {
		for i := s.First; i < s.End; i++ {
			if !k.pieces.held[i] {
				k.pieces.get(i).wanted[w.prio]++
			}
		}
	}
	w.spans = append(w.spans[:0], spans...)
	w.cursor = 0
	k.wants.backgroundRetryAt = time.Time{}
}

// Close takes the want back.
func (k *Picker) Close(w *Want) {
	k.Set(w, nil)
	k.Blocks.Set(w, nil)
	k.wants.byPriority[w.prio] = slices.DeleteFunc(k.wants.byPriority[w.prio], func(o *Want) bool { return o == w })
}

func (k *Picker) unwant(index int, prio weir.Priority) {
	p := k.pieces.open[index]
	if p == nil || p.wanted[prio] == 0 {
		return
	}
	p.wanted[prio]--
	k.requests.cancelUnwanted(p)
}

// count returns how many wants at a priority have the piece.
func (a *wants) count(index int, prio weir.Priority) (n int) {
	for _, w := range a.byPriority[prio] {
		for _, s := range w.spans {
			if s.contains(index) {
				n++
			}
		}
	}
	return n
}

// unfinished calls fn with the pieces of w that are not complete, in order, from the
// cursor, until it returns false. The cursor moves past the pieces at the
// beginning of which every block was received or asked for.
func (a *wants) unfinished(w *Want, fn func(*piece) bool) {
	n, head := 0, true
	for _, s := range w.spans {
		if size := s.End - s.First; n+size <= w.cursor {
			n += size
			continue
		}
		for i := s.First + max(0, w.cursor-n); i < s.End; i++ {
			p := a.pieces.open[i]
			if p != nil && p.free > 0 {
				if !fn(p) {
					return
				}
			}
			if head = head && (p == nil || p.free == 0); head {
				w.cursor++
			}
		}
		n += s.End - s.First
	}
	last := -1
	for _, b := range w.blocks {
		p := a.pieces.open[b.Piece]
		if b.Piece == last || p == nil || p.free == 0 || !p.wantedWhole() && !p.lacks(b.Index) {
			continue
		}
		last = b.Piece
		if !fn(p) {
			return
		}
	}
}

// each calls fn with the pieces of w, also those of which it wants single blocks, until it
// returns false.
func (w *Want) each(fn func(index int) bool) {
	for _, s := range w.spans {
		for i := s.First; i < s.End; i++ {
			if !fn(i) {
				return
			}
		}
	}
	last := -1
	for _, b := range w.blocks {
		if b.Piece != last && !fn(b.Piece) {
			return
		}
		last = b.Piece
	}
}

// rewind makes every want look at its pieces from the first one again.
func (a *wants) rewind() {
	a.backgroundRetryAt = time.Time{}
	for prio := range a.byPriority {
		for _, w := range a.byPriority[prio] {
			w.cursor = 0
		}
	}
}

// rewindTo makes every want look at the piece again. It is for what happens often.
func (a *wants) rewindTo(index int) {
	a.backgroundRetryAt = time.Time{}
	for prio := range a.byPriority {
		for _, w := range a.byPriority[prio] {
			n := 0
			for _, s := range w.spans {
				if n >= w.cursor {
					break
				}
				if s.contains(index) {
					w.cursor = min(w.cursor, n+index-s.First)
				}
				n += s.End - s.First
			}
		}
	}
}

// Subtract returns the pieces of a that are not in b. Each list holds few spans.
func Subtract(a, b []Span) []Span {
	rest := slices.Clone(a)
	for _, x := range b {
		var next []Span
		for _, s := range rest {
			if left := (Span{s.First, min(s.End, x.First)}); left.First < left.End {
				next = append(next, left)
			}
			if right := (Span{max(s.First, x.End), s.End}); right.First < right.End {
				next = append(next, right)
			}
		}
		rest = next
	}
	return rest
}
