// Package metadata decides which piece of a torrent's info dictionary is requested
// from which peer (BEP 9), and holds what arrived. It has no I/O and no clock; peers
// are only names.
//
// The dictionary's size is a peer's claim, so memory is taken for what has arrived and
// never for what was claimed. Of a large dictionary only hashes are kept until the whole
// is known to be right. Each claimed size is assembled by itself, so that a lie delays
// nobody else. A small beginning of each size is fetched at once; more is fetched only
// for the sizes that most peers claim.
package metadata

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// PieceBytes is the unit of BEP 9.
const PieceBytes = 16 << 10

// Pieces returns how many pieces a dictionary of the size has.
func Pieces(size int) int { return (size + PieceBytes - 1) / PieceBytes }

// SmallBytes is how much of each size is held whether or not it leads: more than
// most torrents have.
const SmallBytes = 256 << 10

const (
	leaders = 2
	// A leader that gets nothing for stalledAfter makes way for a size that waits;
	// one that goes on does after its turn, which doubles each time.
	stalledAfter = 5 * time.Second
	firstTurn    = 20 * time.Second
	maxAhead     = 128 // pieces in memory before those in front of them
)

// Fetch is the search for one dictionary. P names a peer.
type Fetch[P comparable] struct {
	most   int
	sum    func() Sum
	room   int64 // for what exceeds SmallBytes; see SetRoom
	claims map[P]claim
	sizes  map[int]*assembly[P]
}

type claim struct {
	size  int
	voter string
}

// New returns a Fetch for a dictionary of so many bytes at most, of which sum begins
// the hash.
func New[P comparable](most int, sum func() Sum) *Fetch[P] {
	return &Fetch[P]{most: most, sum: sum, room: int64(most), claims: map[P]claim{}, sizes: map[int]*assembly[P]{}}
}

// Claim takes a peer's word on the size. The first counts. Peers that may be one
// and the same have the same voter.
func (f *Fetch[P]) Claim(p P, voter string, size int) {
	if _, ok := f.claims[p]; ok || size <= 0 {
		return
	}
	f.claims[p] = claim{size, voter}
	if size <= f.most && f.sizes[size] == nil {
		f.sizes[size] = newAssembly[P](size, f.sum)
	}
}

// Claimed reports whether a peer has said a size that can be fetched.
func (f *Fetch[P]) Claimed(p P) bool { return f.sizes[f.claims[p].size] != nil }

// TooLarge returns the size that most peers claim beyond the bound, 0 if none does.
func (f *Fetch[P]) TooLarge() int {
	votes := map[int]int{}
	size := 0
	for _, c := range f.claims {
		if c.size > f.most {
			if votes[c.size]++; votes[c.size] > votes[size] || votes[c.size] == votes[size] && c.size < size {
				size = c.size
			}
		}
	}
	return size
}

// Bytes returns how much is held.
func (f *Fetch[P]) Bytes() int64 {
	var n int64
	for _, a := range f.sizes {
		n += a.bytes()
	}
	return n
}

// SetRoom says how many bytes may be held beyond the small beginnings.
func (f *Fetch[P]) SetRoom(n int64) { f.room = n }

// count counts who claims which size.
func (f *Fetch[P]) count() {
	seen := map[claim]bool{}
	for _, a := range f.sizes {
		a.votes = 0
	}
	for _, c := range f.claims {
		if a := f.sizes[c.size]; a != nil && !seen[c] {
			seen[c] = true
			a.votes++
		}
	}
}

// Round chooses who leads. It is called before Ask is called for each peer.
func (f *Fetch[P]) Round(now time.Time) {
	f.count()
	waiting := func(a *assembly[P]) bool { return a.size > SmallBytes && a.votes > 0 }
	rivals := 0
	for _, a := range f.sizes {
		if waiting(a) && !a.leads {
			rivals++
		}
	}
	// In order: what an entry in a map decides must not depend on the map.
	for _, size := range slices.Sorted(maps.Keys(f.sizes)) {
		a := f.sizes[size]
		stalled := now.Sub(a.progress) >= stalledAfter
		over := now.Sub(a.since) >= firstTurn<<min(a.turns, 10)
		switch {
		case !a.leads:
		case !waiting(a), rivals > 0 && (stalled || over), f.room <= 0 && stalled:
			a.leads = false
			a.turns++
			a.shrink()
		}
	}
	var rest []*assembly[P]
	leading := 0
	for _, a := range f.sizes {
		if a.leads {
			leading++
		} else if waiting(a) {
			rest = append(rest, a)
		}
	}
	slices.SortFunc(rest, func(a, b *assembly[P]) int {
		return cmp.Or(cmp.Compare(a.turns, b.turns), cmp.Compare(b.votes, a.votes), cmp.Compare(a.size, b.size))
	})
	for _, a := range rest[:min(len(rest), max(0, leaders-leading))] {
		a.leads, a.since, a.progress = true, now, now
	}
}

// Ask returns the pieces to ask of the peer now, which has made a claim.
func (f *Fetch[P]) Ask(p P, now time.Time) []int {
	a := f.sizes[f.claims[p].size]
	if a == nil {
		return nil
	}
	limit := min(a.size, SmallBytes)
	if a.leads {
		limit = a.size
		if f.room <= 0 && a.hashes.sum == nil {
			limit = max(min(a.size, SmallBytes), int(a.bytes())) // goes on when there is room
		}
	}
	return a.ask(p, min(Pieces(limit), a.prefix()+maxAhead), now)
}

// Received takes a piece. It reports false for what the peer was not asked for.
func (f *Fetch[P]) Received(p P, piece int, data []byte, now time.Time) bool {
	a := f.sizes[f.claims[p].size]
	if a == nil || !a.received(p, piece, data, now) {
		return false
	}
	a.progress = now
	return true
}

// Refused says that the peer has no metadata after all.
func (f *Fetch[P]) Refused(p P, now time.Time) {
	if a := f.sizes[f.claims[p].size]; a != nil {
		a.suspend(p, now)
	}
}

// Leave forgets a peer. Of the sizes that nobody claims any more, what arrived is
// kept of one alone.
func (f *Fetch[P]) Leave(p P) {
	size := f.claims[p].size
	delete(f.claims, p)
	a := f.sizes[size]
	if a == nil {
		return
	}
	a.forget(p)
	delete(a.suspended, p)
	f.count()
	var kept *assembly[P]
	for _, size := range slices.Sorted(maps.Keys(f.sizes)) {
		o := f.sizes[size]
		if o.votes > 0 {
			continue
		}
		o.leads = false
		switch {
		case o.bytes() == 0 || kept != nil && kept.bytes() >= o.bytes():
			delete(f.sizes, o.size)
		default:
			if kept != nil {
				delete(f.sizes, kept.size)
			}
			kept = o
		}
	}
}

// Complete returns a dictionary of which nothing is missing, and who sent it; no
// bytes if it is known to be wrong, and size 0 if there is none. The verdict is given
// by Failed, or by dropping the whole Fetch.
func (f *Fetch[P]) Complete() (size int, b []byte, from []P) {
	for _, size := range slices.Sorted(maps.Keys(f.sizes)) {
		if a := f.sizes[size]; (a.whole() || a.hashes.wrong) && !a.judged {
			a.judged = true
			return a.size, a.front, slices.Clone(a.from)
		}
	}
	return 0, nil, nil
}

// Failed says that the hash of the dictionary of this size is wrong.
func (f *Fetch[P]) Failed(size int, now time.Time) {
	a := f.sizes[size]
	if a == nil {
		return
	}
	if a.hasSolo {
		a.suspend(a.solo, now)
	}
	a.alone, a.leads = true, false
	a.turns++
	a.clear()
}
