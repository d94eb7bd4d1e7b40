package segment

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
	"github.com/weirfs/weir/cache/internal/policy"
)

const kib = 1 << 10

var sizes = []int{1, 100, 16*kib - 1, 16 * kib, 16*kib + 1, 100 * kib, 300 * kib}

func content(i int) []byte {
	b := make([]byte, 0, sizes[i%len(sizes)]+8)
	r := rand.NewPCG(uint64(i), 1)
	for len(b) < sizes[i%len(sizes)] {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:sizes[i%len(sizes)]]
}

func hashOf(i int) []byte {
	h := sha1.Sum(content(i))
	return h[:]
}

func pieceID(i int) weir.PieceID { return weir.PieceID{Torrent: weir.InfoHash{byte(i % 3)}, Index: i} }

// fill makes a segment of n pieces, every second one with a hash.
func fill(tb testing.TB, dir string, n int) (s *Segment, names []Name, prints Prints) {
	tb.Helper()
	s, err := Create(dir, 7, policy.Probation, Capacity(4<<20, 100*kib))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Release)
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < n; {
		var rows []*Row
		for range min(1+r.IntN(4), n-i) { // together, in slices of any length
			b, hash := content(i), []byte(nil)
			var blocks [][]byte
			for rest := b; len(rest) > 0; {
				k := 1 + r.IntN(len(rest))
				blocks, rest = append(blocks, rest[:k]), rest[k:]
			}
			if i%2 == 0 {
				hash = hashOf(i)
			}
			row := new(Row)
			row.Set(pieceID(i), hash, blocks, int64(len(b)))
			rows = append(rows, row)
			i++
		}
		if err := s.Append(rows...); err != nil {
			tb.Fatal(err)
		}
		for _, row := range rows {
			names = append(names, Name{ID: row.ID(), Off: row.Off, N: row.Bytes()})
			if hash := row.Hash(); len(hash) > 0 {
				prints = append(prints, NewPrint(hash, row.Off))
			}
		}
	}
	return s, names, prints
}

// serves reports whether a piece is served, and fails when wrong bytes are.
func serves(tb testing.TB, s *Segment, f Name) bool {
	tb.Helper()
	exp := content(f.ID.Index)
	if int64(len(exp)) != f.N {
		tb.Fatalf("%s has %d bytes", f.ID, f.N)
	}
	all := true
	for _, r := range [][2]int{{0, len(exp)}, {len(exp) / 2, len(exp)}, {len(exp) / 3, len(exp)/3 + 1}, {len(exp) - 1, len(exp)}} {
		dst := make([]byte, r[1]-r[0])
		ok := s.Read(dst, f.Off, f.N, int64(r[0]))
		if ok && !bytes.Equal(dst, exp[r[0]:r[1]]) {
			tb.Errorf("%s: wrong bytes were served", f.ID)
		}
		all = all && ok
	}
	return all
}

func TestSegment(t *testing.T) {
	const pieces = 40
	for name, end := range map[string]func(s *Segment, names []Name, prints Prints) error{
		"Sealed": func(s *Segment, names []Name, prints Prints) error { return s.Seal(names, prints) },
		"Killed": func(s *Segment, names []Name, prints Prints) error { s.stop(); return nil },
		"KilledWhileSealing": func(s *Segment, names []Name, prints Prints) error {
			return errors.Join(s.Seal(names, prints), os.Truncate(s.path, s.next+100))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, names, open := fill(t, dir, pieces)
			for _, f := range names {
				if !serves(t, s, f) {
					t.Errorf("%s is not served", f.ID)
				}
			}
			prints := open.Sorted()
			if err := end(s, names, prints); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second finds what the first has made
				again, got, hashes, err := Open(dir, filepath.Base(s.path))
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, names) || !slices.Equal(hashes, prints) || again.Salt != s.Salt {
					t.Errorf("%d names and %d hashes, want %d and %d", len(got), len(hashes), len(names), len(prints))
				}
				for i, f := range got {
					if !serves(t, again, f) {
						t.Errorf("%s is not served", f.ID)
					}
					off, ok := hashes.Find(hashOf(i), true)
					if ok != (i%2 == 0) || ok && off != f.Off {
						t.Errorf("the hash of %s leads to %d, %v", f.ID, off, ok)
					}
					if id, ok := again.Has(f.Off, hashOf(i), f.N); ok != (i%2 == 0) || ok && id != f.ID {
						t.Errorf("the row of %s has its hash: %v", f.ID, ok)
					}
				}
				if taken, rows := again.Size(), again.next; taken > rows+int64(len(names))*rowListed+8*kib {
					t.Errorf("%d bytes on disk for %d of rows", taken, rows)
				}
				again.Release()
			}
		})
	}
}

// TestFree gives rows back, one after the other: those that are left are served, and
// found by walking.
func TestFree(t *testing.T) {
	const pieces = 40
	dir := t.TempDir()
	s, names, prints := fill(t, dir, pieces)
	if err := s.Seal(names, prints.Sorted()); err != nil {
		t.Fatal(err)
	}
	live := slices.Clone(names)
	r := rand.New(rand.NewPCG(5, 5))
	for len(live) > 1 {
		var dead []Name
		for range min(1+r.IntN(4), len(live)-1) {
			i := r.IntN(len(live))
			dead = append(dead, live[i])
			live = slices.Delete(live, i, i+1)
		}
		SortByRow(dead)
		if err := s.Free(dead, live); err != nil {
			t.Fatal(err)
		}
		for _, f := range live {
			if !serves(t, s, f) {
				t.Fatalf("%s is not served", f.ID)
			}
		}
		for _, f := range dead {
			if serves(t, s, f) && f.N > 8*kib {
				t.Errorf("%s is served", f.ID)
			}
		}
		var took int64
		for _, f := range live {
			took += Span(f.N) + 2*disk.PageBytes
		}
		if size := s.Size(); size > took+pieces*rowListed+2*disk.PageBytes {
			t.Errorf("%d bytes on disk, %d in rows", size, took)
		}
		again, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		other := t.TempDir() // without its list
		if err := os.WriteFile(filepath.Join(other, filepath.Base(s.path)), again[:s.next], 0o600); err != nil {
			t.Fatal(err)
		}
		w, got, _, err := Open(other, filepath.Base(s.path))
		if err != nil || !slices.Equal(got, live) {
			t.Fatalf("walking finds %d of %d, %v", len(got), len(live), err)
		}
		w.Release()
	}
}

// TestLoad appends rows of one segment to another, under other names.
func TestLoad(t *testing.T) {
	s, names, _ := fill(t, t.TempDir(), 14)
	to, err := Create(t.TempDir(), 8, policy.Main, Capacity(4<<20, 100*kib))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Release()
	defer to.stop()
	for _, f := range names {
		row := new(Row)
		id := weir.PieceID{Torrent: weir.InfoHash{9}, Index: f.ID.Index}
		if err := s.Load(row, id, f.Off); err != nil {
			t.Fatal(err)
		}
		if err := to.Append(row); err != nil {
			t.Fatal(err)
		}
		if got, ok := to.headAt(row.Off, row.Off+Span(f.N)); !ok || got.id != id || !serves(t, to, Name{ID: id, Off: row.Off, N: f.N}) {
			t.Errorf("%s is %s there, %v", f.ID, got.id, ok)
		}
		// Right bytes in the wrong place are wrong.
		if dst := make([]byte, f.N); row.Off != f.Off && to.Read(dst, f.Off, f.N, 0) {
			t.Errorf("%s is served from where it lay elsewhere", f.ID)
		}
	}
	if err := s.Load(new(Row), names[3].ID, names[3].Off+1); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("a row that is none: %v, want ErrCorrupt", err)
	}
}

func TestFull(t *testing.T) {
	s, err := Create(t.TempDir(), 1, policy.Main, Capacity(1<<20, 16*kib))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var names []Name
	var prints Prints
	for i := 3; s.Fits(16*kib, 0); i += len(sizes) {
		row := new(Row)
		row.Set(weir.PieceID{Torrent: weir.InfoHash{byte(i), byte(i >> 8)}, Index: i}, hashOf(i), [][]byte{content(i)}, 16*kib)
		if err := s.Append(row); err != nil {
			t.Fatal(err)
		}
		names = append(names, Name{ID: row.ID(), Off: row.Off, N: 16 * kib})
		prints = append(prints, NewPrint(row.Hash(), row.Off))
	}
	// The list of as many torrents fits into what was reserved.
	before := s.Size()
	if err := s.Seal(names, prints.Sorted()); err != nil || s.Size() > before {
		t.Errorf("%d bytes reserved, %d taken, %v", before, s.Size(), err)
	}
	if len(names) < 63 {
		t.Errorf("%d pieces in a segment of 1 MiB", len(names))
	}
}

func TestParseName(t *testing.T) {
	for _, c := range []policy.Class{policy.Probation, policy.Main, policy.Pinned} {
		if seq, got, ok := ParseName(fileName(12, c)); !ok || seq != 12 || got != c {
			t.Errorf("%c: %d, %c, %v", c, seq, got, ok)
		}
	}
	for _, name := range []string{"", "0000000001", "0000000001-x", "1-p", "0000000001-p ", "-000000001-p"} {
		if _, _, ok := ParseName(name); ok {
			t.Errorf("%q is one", name)
		}
	}
}

func TestPrints(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		p, newest := Prints{}, map[uint32]int64{}
		hash := func() []byte {
			v := r.Uint32()
			if n%3 == 0 {
				v %= 8 // many are equal, and far from evenly spread
			}
			return binary.LittleEndian.AppendUint32(nil, v)
		}
		for i := range n {
			h := hash()
			p = append(p, NewPrint(h, int64(i)))
			newest[printOf(h)] = int64(i)
		}
		sorted := p.Sorted()
		for print, off := range newest {
			h := binary.LittleEndian.AppendUint32(nil, print)
			if got, ok := sorted.Find(h, true); !ok || got != off {
				t.Fatalf("%d of %d: %d, %v, want %d", print, n, got, ok, off)
			}
			if got, ok := p.Find(h, false); !ok || got != off {
				t.Fatalf("%d of %d, open: %d, %v, want %d", print, n, got, ok, off)
			}
		}
		for range 20 {
			h := hash()
			if off, ok := sorted.Find(h, true); ok && newest[printOf(h)] != off || !ok && newest[printOf(h)] != 0 {
				t.Fatalf("%x is %d, %v", h, off, ok)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	hash := func() []byte { return binary.LittleEndian.AppendUint32(nil, r.Uint32()) }
	for _, n := range []int{0, 10, 10_000} {
		f, p := NewFilter(n), Prints{}
		var in [][]byte
		for i := range n {
			h := hash()
			in = append(in, h)
			if i%3 == 0 {
				f.Add(NewPrint(h, 1))
			} else {
				p = append(p, NewPrint(h, 1))
			}
		}
		f.Add(p...)
		for _, h := range in {
			if !f.Has(h) {
				t.Fatalf("%x is in it", h)
			}
		}
		wrong := 0
		for range 10_000 {
			if f.Has(hash()) {
				wrong++
			}
		}
		if wrong > 600 {
			t.Errorf("with %d, wrong about %d of 10,000", n, wrong)
		}
		if n == 10_000 && f.Full() {
			t.Error("full at once")
		}
		for !f.Full() {
			f.Add(NewPrint(hash(), 1))
		}
	}
}

// FuzzOpen damages a segment at one place and opens it: nothing wrong is served.
func FuzzOpen(f *testing.F) {
	for i := range 40 {
		f.Add(uint32(i*7919), byte(1<<(i%8)), uint16(i*50), i%2 == 0)
	}
	dir := f.TempDir()
	s, names, prints := fill(f, dir, 20)
	if err := s.Seal(names, prints.Sorted()); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(s.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, at uint32, flip byte, cut uint16, tail bool) {
		b := bytes.Clone(good)
		where := int(at) % len(b)
		if tail {
			where = len(b) - 1 - int(at)%2000
		}
		b[where] ^= flip
		b = b[:len(b)-int(cut)%len(b)]
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(s.path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, found, _, err := Open(dir, filepath.Base(s.path))
		if err != nil {
			return
		}
		defer got.Release()
		right := 0
		for _, n := range found {
			if n.ID.Index >= 20 || int64(len(content(n.ID.Index))) != n.N || n.ID != pieceID(n.ID.Index) {
				t.Fatalf("found %+v", n)
			}
			if serves(t, got, n) {
				right++
			}
		}
		if cut == 0 && right < len(names)-1 && where >= headerBytes && flip != 0 && where > int(names[19].Off) {
			t.Error(fmt.Sprint(right, " pieces outlive one bit near the end"))
		}
	})
}
