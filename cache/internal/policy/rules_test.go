package policy

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/weirfs/weir"
)

// TestPolicyPeriod: a piece is used anew after a 64th of the budget or two pieces,
// whichever is more, in whole MiB, and the one that has begun.
func TestPolicyPeriod(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		limit, n int64
		want     uint32
	}{
		{0, 0, 1}, {0, mib / 2, 2}, {0, mib/2 - 1, 1}, {64 * mib, mib, 3}, {64 * mib, 16 << 10, 2}, {64*mib - 1, 16 << 10, 1},
		{64 * 10 * mib, mib, 11}, {64 * 2 * mib, mib, 3}, {64 * 10 * mib, 8 * mib, 17}, {1 << 40, 4 * mib, 16385},
	} {
		if got := Period(c.limit, c.n); got != c.want {
			t.Errorf("of %d in %d: %d, want %d", c.n, c.limit, got, c.want)
		}
	}
}

// TestTouchedOncePerPeriod: reads within a period are one use, of at most three, and
// the clock may pass its end.
func TestTouchedOncePerPeriod(t *testing.T) {
	for _, begin := range []uint32{0, 1000, 1<<32 - 2} {
		for uses := range uint8(4) {
			for after := range uint32(10) {
				want := uses
				if after >= 4 {
					want = min(uses+1, 3)
				}
				if got := Touched(uses, begin, begin+after, 4); got != want {
					t.Errorf("%d uses, %d MiB after %d: %d, want %d", uses, after, begin, got, want)
				}
			}
		}
	}
}

// TestVictim: first what is Pinned though hardly anything of it is pinned any more,
// then Probation when it has more than a fifth of what isn't pinned, then the main
// row, always its oldest; and what is Pinned, again, if there is nothing else.
func TestVictim(t *testing.T) {
	keep := func(bytes, pinned int64) Segment { return Segment{Pinned, bytes, pinned} }
	row := func(c Class, bytes int64) Segment { return Segment{c, bytes, 0} }
	p, m := Probation, Main
	for name, c := range map[string]struct {
		gens  []Segment
		limit int64
		want  int
	}{
		"Nothing":             {nil, 1000, -1},
		"AllPinned":           {[]Segment{keep(100, 100), keep(50, 50)}, 1000, -1},
		"NearlyAllPinned":     {[]Segment{keep(100, 90)}, 1000, -1},
		"NotAllPinned":        {[]Segment{keep(100, 89)}, 1000, 0},
		"BetterByATenth":      {[]Segment{keep(100, 80), keep(100, 69)}, 1000, 1},
		"HardlyBetter":        {[]Segment{keep(100, 80), keep(100, 71), keep(100, 75)}, 1000, 0},
		"TheEmptiest":         {[]Segment{keep(100, 80), keep(100, 20), keep(100, 60)}, 1000, 1},
		"Empty":               {[]Segment{keep(100, 80), keep(0, 0), row(p, 500)}, 1000, 1},
		"OfAByte":             {[]Segment{keep(1, 1)}, 1000, -1},
		"HalfPinned":          {[]Segment{keep(100, 50), row(m, 10)}, 1000, 1},
		"LessThanHalf":        {[]Segment{keep(100, 49), row(m, 10), row(p, 500)}, 1000, 0},
		"LessThanHalfBehind":  {[]Segment{row(m, 10), row(p, 500), keep(100, 26)}, 1000, 2},
		"HalfAlone":           {[]Segment{keep(100, 99), keep(100, 50)}, 1000, 1},
		"ProbationHasItsPart": {[]Segment{row(p, 100), row(m, 100), row(p, 100)}, 1000, 1},
		"ProbationHasMore":    {[]Segment{row(m, 100), row(p, 100), row(p, 101)}, 1000, 1},
		"MoreOfWhatIsFree":    {[]Segment{keep(500, 500), row(m, 100), row(p, 101)}, 1000, 2},
		"LessOfWhatIsFree":    {[]Segment{keep(500, 500), row(m, 100), row(p, 100)}, 1000, 1},
		"NoMain":              {[]Segment{keep(500, 500), row(p, 1), row(p, 1)}, 1000, 1},
		"NoProbation":         {[]Segment{keep(500, 500), row(m, 100), row(m, 1)}, 1000, 1},
		"AllOfThem":           {[]Segment{row(m, 1), row(p, 1), row(m, 1), row(p, 300)}, 1000, 1},
	} {
		if got := Victim(c.gens, c.limit); got != c.want {
			t.Errorf("%s: drops %d, want %d", name, got, c.want)
		}
	}
}

// TestVictimIsOldest: of any generations none is dropped of which another of its row
// is older, nothing that is all pinned, and something whenever anything is not.
func TestVictimIsOldest(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 5000 {
		gens := make([]Segment, r.IntN(8))
		free, some := int64(1000), false
		for i := range gens {
			g := Segment{Classes[r.IntN(3)], r.Int64N(200), 0}
			if g.Class == Pinned {
				g.Pinned = r.Int64N(g.Bytes + 1)
			}
			some = some || g.Class != Pinned || 10*g.Pinned < 9*max(g.Bytes, 1)
			free -= g.Pinned
			gens[i] = g
		}
		v := Victim(gens, 1000)
		if (v >= 0) != some {
			t.Fatalf("of %v drops %d", gens, v)
		}
		if v < 0 {
			continue
		}
		for i, g := range gens {
			switch {
			case g.Class == Pinned && 10*g.Pinned < 4*g.Bytes && gens[v].Class != Pinned:
				t.Fatalf("of %v drops %d, and %d is nearly empty", gens, v, i)
			case g.Class != gens[v].Class:
			case g.Class == Pinned && float64(g.Pinned)/float64(max(g.Bytes, 1)) < float64(gens[v].Pinned)/float64(max(gens[v].Bytes, 1))-0.1001:
				t.Fatalf("of %v drops %d, and %d is emptier", gens, v, i)
			case g.Class != Pinned && i < v:
				t.Fatalf("of %v drops %d, and %d is older", gens, v, i)
			}
		}
	}
}

// TestFateOfTheLast: the last that fits is moved, and a use is worth one round.
func TestFateOfTheLast(t *testing.T) {
	for n := int64(9); n < 12; n++ {
		if keep, _, _ := Fate(Main, 1, false, false, n, 10); keep != (n <= 10) {
			t.Errorf("%d bytes of 10 are moved: %v", n, keep)
		}
	}
	for _, c := range Classes {
		for uses := range uint8(4) {
			keep, to, left := Fate(c, uses, false, false, 1, 10)
			want := uint8(0)
			if uses > 0 && c != Probation {
				want = uses - 1
			}
			if keep != (uses > 0) || keep && (to != Main || left != want) {
				t.Errorf("%c with %d uses: %v, %c with %d", c, uses, keep, to, left)
			}
		}
	}
}

// TestGhost: what left is known as long as fewer others have left than the cache
// holds, once; what never left is not known, however much did. The table may lose a
// few by collision.
func TestGhost(t *testing.T) {
	id := func(torrent, i int) weir.PieceID {
		return weir.PieceID{Torrent: weir.InfoHash{byte(torrent), 5, 19: byte(torrent)}, Index: i}
	}
	const rounds = 200
	for others := range 6 {
		for _, held := range []int{0, 1, 3, 5, 6, 100} {
			known, again, foreign := 0, 0, 0
			g := NewGhost()
			for i := range rounds {
				g.Add(id(1, i*10))
				for o := range others {
					g.Add(id(2, i*10+o+1))
				}
				if g.Take(id(3, i*10), held) || g.Take(id(1, i*10+7), held) {
					foreign++
				}
				if g.Take(id(1, i*10), held) {
					known++
				}
				if g.Take(id(1, i*10), held) {
					again++
				}
			}
			want := 0
			if others < held {
				want = rounds
			}
			if known > want || known < want-20 || again > 0 || foreign > 5 {
				t.Errorf("%d others left, %d are held: %d of %d known, %d twice, %d that never left", others, held, known, rounds, again, foreign)
			}
		}
	}
	g := NewGhost()
	for i := range 1000 {
		if g.Take(id(1, i), 1<<30) {
			t.Fatal("an empty table knows something")
		}
	}
	for i := range 200_000 {
		g.Add(id(1, i))
	}
	false1, true1 := 0, 0
	for i := range 2000 {
		if g.Take(id(2, i), 1<<30) {
			false1++
		}
		if g.Take(id(1, 199_999-i), 1<<30) {
			true1++
		}
	}
	if false1 > 2 || true1 < 1900 {
		t.Errorf("a full table knows %d of 2000 that left last, and %d of 2000 that did not", true1, false1)
	}
	if n := len(g.table) * int(unsafe.Sizeof(g.table[0])); n > 512<<10 || len(g.table) < 60_000 {
		t.Errorf("it takes %d bytes for %d entries", n, len(g.table))
	}
}

// TestPolicyProtectsHalf: of what isn't pinned half may be protected.
func TestPolicyProtectsHalf(t *testing.T) {
	for _, c := range [][3]int64{{1000, 0, 500}, {1000, 400, 300}, {1000, 1000, 0}, {1000, 5000, 0}, {0, 0, 0}, {1 << 40, 0, 1 << 39}} {
		if got := MostProtected(c[0], c[1]); got != c[2] {
			t.Errorf("of %d with %d pinned: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}
