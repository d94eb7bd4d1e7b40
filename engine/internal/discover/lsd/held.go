package lsd

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// held are torrents that are announced as far as messages have room, in turn. Each is
// announced again after interval at the earliest.
type held struct {
	at    map[weir.InfoHash]time.Time // of its last announce; zero when it was not yet
	turns []weir.InfoHash             // the longest not announced first; some are not held any more
}

func (h *held) add(ih weir.InfoHash) {
	if h.at == nil {
		h.at = map[weir.InfoHash]time.Time{}
	}
	if _, ok := h.at[ih]; !ok {
		h.at[ih] = time.Time{}
		h.turns = append([]weir.InfoHash{ih}, h.turns...)
	}
}

func (h *held) remove(ih weir.InfoHash) {
	if _, ok := h.at[ih]; ok {
		delete(h.at, ih)
		h.turns = slices.DeleteFunc(h.turns, func(o weir.InfoHash) bool { return o == ih })
	}
}

// asked says that a peer announced one: it is told that we have it, unless it was lately.
func (h *held) asked(ih weir.InfoHash, now time.Time) {
	at, ok := h.at[ih]
	if !ok || !at.IsZero() && now.Sub(at) < spacing {
		return
	}
	h.remove(ih)
	h.add(ih)
}

// next returns when the first is due.
func (h *held) next() (time.Time, bool) {
	if len(h.turns) == 0 {
		return time.Time{}, false
	}
	at := h.at[h.turns[0]]
	if !at.IsZero() {
		at = at.Add(interval)
	}
	return at, true
}

// take returns up to n that are due and in nothing else, and counts them as announced.
func (h *held) take(now time.Time, n int, others map[weir.InfoHash]time.Time) (out []weir.InfoHash) {
	for range len(h.turns) {
		at, _ := h.next()
		if len(out) >= n || at.After(now) {
			break
		}
		ih := h.turns[0]
		h.turns = append(h.turns[1:], ih)
		h.at[ih] = now
		if _, also := others[ih]; !also {
			out = append(out, ih)
		}
	}
	return out
}
