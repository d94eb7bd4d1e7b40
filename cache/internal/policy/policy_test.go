package policy

import (
	"container/list"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weirfs/weir"
)

// A simulated cache: pieces of 1 MiB, segments of a 32nd of the budget, and
// the decisions of policy.go. It counts the pieces that were written again.
type simulation struct {
	limit    int64
	clock    int64
	ghost    *Ghost
	gens     []*simGen
	where    map[int]*simPiece
	open     map[Class]*simGen
	hits     int
	rewrites int
	protects func(i int) bool // nil: nothing
	futile   int              // drops that freed nothing, most in a row
}

type simGen struct {
	class  Class
	pieces []int
	sealed bool
}

type simPiece struct {
	gen   *simGen
	uses  uint8
	clock uint32
}

const (
	simPieceBytes = 1 << 20
	simShare      = 32
)

func newSimulation(pieces int) *simulation {
	return &simulation{
		limit: int64(pieces) * simPieceBytes, ghost: NewGhost(),
		where: map[int]*simPiece{}, open: map[Class]*simGen{},
	}
}

func simID(i int) weir.PieceID { return weir.PieceID{Index: i} }

// read is one pass over a piece, in reads of a few blocks each.
func (s *simulation) read(i, reads int) {
	p := s.where[i]
	if p != nil {
		s.hits++
	} else {
		c := Probation
		if s.ghost.Take(simID(i), len(s.where)) {
			c = Main
		}
		s.add(i, c, 0)
		p = s.where[i]
	}
	for range reads {
		s.clock += simPieceBytes / int64(reads)
		now := uint32(s.clock >> 20)
		if uses := Touched(p.uses, p.clock, now, Period(s.limit, simPieceBytes)); uses != p.uses {
			p.uses, p.clock = uses, now
		}
	}
}

func (s *simulation) add(i int, c Class, uses uint8) {
	size := max(1, int(s.limit/simShare/simPieceBytes))
	g := s.open[c]
	if g == nil || len(g.pieces) == size {
		if g != nil {
			g.sealed = true
		}
		g = &simGen{class: c}
		s.open[c] = g
		s.gens = append(s.gens, g)
	}
	g.pieces = append(g.pieces, i)
	s.clock += simPieceBytes
	s.where[i] = &simPiece{g, uses, uint32(s.clock >> 20)}
	before := len(s.where)
	for n := 0; int64(len(s.where))*simPieceBytes > s.limit && s.dropOne(); n++ {
		if len(s.where) == before {
			s.futile = max(s.futile, n+1)
		}
		if n > 1000 {
			panic("nothing can be evicted")
		}
	}
}

func (s *simulation) dropOne() bool {
	var facts []Segment
	var gens []*simGen
	for _, g := range s.gens {
		if g.sealed {
			gens = append(gens, g)
			facts = append(facts, Segment{g.class, int64(len(g.pieces)) * simPieceBytes, 0})
		}
	}
	v := Victim(facts, s.limit)
	if v < 0 {
		return false
	}
	hot := facts[v].Bytes / 2
	for _, i := range gens[v].pieces {
		p := s.where[i]
		if p == nil || p.gen != gens[v] {
			continue
		}
		delete(s.where, i)
		keep, to, left := Fate(gens[v].class, p.uses, false, s.protects != nil && s.protects(i), simPieceBytes, hot)
		if keep {
			if s.protects == nil || !s.protects(i) {
				hot -= simPieceBytes
			}
			s.rewrites++
			s.add(i, to, left)
		} else if gens[v].class == Probation {
			s.ghost.Add(simID(i))
		}
	}
	for k, g := range s.gens {
		if g == gens[v] {
			s.gens = append(s.gens[:k], s.gens[k+1:]...)
			break
		}
	}
	return true
}

// lru and belady are what S3-FIFO is measured against: the usual policy, and
// the optimum that knows the future.
func lru(trace []int, size int) (hits int) {
	order, at := list.New(), map[int]*list.Element{}
	for _, i := range trace {
		if e := at[i]; e != nil {
			hits++
			order.MoveToFront(e)
			continue
		}
		at[i] = order.PushFront(i)
		if order.Len() > size {
			delete(at, order.Remove(order.Back()).(int))
		}
	}
	return hits
}

func belady(trace []int, size int) (hits int) {
	next := make([]int, len(trace))
	seen := map[int]int{}
	for t := len(trace) - 1; t >= 0; t-- {
		next[t] = math.MaxInt
		if n, ok := seen[trace[t]]; ok {
			next[t] = n
		}
		seen[trace[t]] = t
	}
	held := map[int]int{} // piece to its next use
	for t, i := range trace {
		if _, ok := held[i]; ok {
			hits++
		} else if len(held) >= size {
			worst, at := -1, next[t]
			for j, n := range held {
				if n > at {
					worst, at = j, n
				}
			}
			if worst < 0 {
				continue // the new one itself is the worst
			}
			delete(held, worst)
		}
		held[i] = next[t]
	}
	return hits
}

// traces are made the way that mounts are read, with a fixed seed; each is a
// list of pieces, for a cache of 480.
func traces() map[string][]int {
	out := map[string][]int{}
	r := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(r, 1.1, 4, 4000)
	for range 12_000 { // random reads of a dataset with favourites
		out["Favourites"] = append(out["Favourites"], int(zipf.Uint64()))
	}
	film := 10_000
	for round := range 12 { // a working set in use, while films are watched once
		for range 600 {
			out["FilmsBesideAWorkingSet"] = append(out["FilmsBesideAWorkingSet"], r.IntN(300))
			if round%2 == 1 {
				out["FilmsBesideAWorkingSet"] = append(out["FilmsBesideAWorkingSet"], film, film+1)
				film += 2
			}
		}
	}
	for round := range 6 { // training: everything once per epoch, shuffled, too much to hold
		order := rand.New(rand.NewPCG(uint64(round), 1)).Perm(800)
		out["Epochs"] = append(out["Epochs"], order...)
	}
	for day := range 10 { // interest moves on: each day's set is new by a half
		for range 1500 {
			out["MovingInterest"] = append(out["MovingInterest"], day*150+int(math.Abs(r.NormFloat64())*150))
		}
	}
	return out
}

func TestPolicyAgainstLRUAndOptimum(t *testing.T) {
	const size = 480
	least := map[string]float64{ // of the hits of LRU
		"Favourites": 1.0, "FilmsBesideAWorkingSet": 1.1, "Epochs": 1.0, "MovingInterest": 0.95,
	}
	for name, trace := range traces() {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(size)
			for _, i := range trace {
				s.read(i, 8)
			}
			old, best := lru(trace, size), belady(trace, size)
			n := float64(len(trace))
			t.Logf("hit ratio %.3f, LRU %.3f, optimum %.3f; %.3f rewrites per read", float64(s.hits)/n, float64(old)/n, float64(best)/n, float64(s.rewrites)/n)
			if float64(s.hits) < least[name]*float64(old) {
				t.Errorf("%d hits, LRU has %d", s.hits, old)
			}
			if s.hits > best {
				t.Errorf("%d hits are more than the optimum's %d: the simulation is wrong", s.hits, best)
			}
			if s.rewrites > len(trace) {
				t.Errorf("%d rewrites for %d reads", s.rewrites, len(trace))
			}
		})
	}
}

// TestScanLeavesTheHotSet reads a file of five times the budget once, in 32
// reads a piece, between two rounds of a hot set.
func TestScanLeavesTheHotSet(t *testing.T) {
	s := newSimulation(480)
	for range 8 {
		for i := range 250 {
			s.read(i, 32)
		}
	}
	for i := range 5 * 480 {
		s.read(10_000+i, 32)
	}
	before := s.hits
	for i := range 250 {
		s.read(i, 32)
	}
	if kept := s.hits - before; kept < 200 {
		t.Errorf("%d of 250 hot pieces outlived the scan", Pinned)
	}
}

// TestProtectedStayThroughAScan: pieces that were never read again, as many as may
// be protected, outlive a scan of five times the budget wherever they are, and cost
// the scan a rewrite or two a piece; what is used again stays as well.
func TestProtectedStayThroughAScan(t *testing.T) {
	const size = 480
	for name, before := range map[string]int{"Empty": 0, "FullOfWhatWasUsed": 3 * size} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(size)
			n := int(MostProtected(s.limit, 0) / simPieceBytes)
			s.protects = func(i int) bool { return i >= 5000 && i < 5000+n }
			for range 6 {
				for i := range before / 4 {
					s.read(i, 8)
				}
			}
			for i := range n {
				s.add(5000+i, Probation, 0)
			}
			s.rewrites = 0
			for i := range 5 * size {
				s.read(10_000+i, 8)
			}
			for i := range n {
				if s.where[5000+i] == nil {
					t.Fatalf("protected piece %d of %d is gone", i, n)
				}
			}
			t.Logf("%d rewrites, %d drops in a row in vain", s.rewrites, s.futile)
			if s.rewrites > 2*5*size {
				t.Errorf("%d rewrites for %d pieces", s.rewrites, 5*size)
			}
			if s.futile > 2*simShare {
				t.Errorf("%d drops in a row freed nothing", s.futile)
			}
		})
	}
}

func TestFate(t *testing.T) {
	for _, test := range []struct {
		name              string
		class             Class
		uses              uint8
		pinned, protected bool
		hot               int64
		keep              bool
		to                Class
		left              uint8
	}{
		{"ProbationUnused", Probation, 0, false, false, 100, false, 0, 0},
		{"ProbationUsed", Probation, 2, false, false, 100, true, Main, 0},
		{"MainUnused", Main, 0, false, false, 100, false, 0, 0},
		{"MainUsed", Main, 2, false, false, 100, true, Main, 1},
		{"TooManyUsed", Main, 2, false, false, 5, false, 0, 0},
		{"Protected", Probation, 0, false, true, 0, true, Main, 0},
		{"ProtectedUnpinned", Pinned, 0, false, true, 0, true, Main, 0},
		{"Pinned", Main, 1, true, false, 0, true, Pinned, 1},
		{"Unpinned", Pinned, 0, false, false, 100, false, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			keep, to, left := Fate(test.class, test.uses, test.pinned, test.protected, 10, test.hot)
			if keep != test.keep || to != test.to || left != test.left {
				t.Errorf("got %v, %c, %d", keep, to, left)
			}
		})
	}
}
