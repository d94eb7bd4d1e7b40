package cache

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// TestWalkAgreesWithBadger compares our reading of badger's value log with
// badger's own: it fails when badger changes the layout.
func TestWalkAgreesWithBadger(t *testing.T) {
	c, err := Open(Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{1, 50, 1000, weir.BlockBytes, slabBytes - 1, slabBytes, slabBytes + 1, 3*slabBytes + 7}
	for i, n := range sizes {
		if err := c.Put(weir.PieceID{Torrent: weir.InfoHash{1}, Index: i}, [][]byte{bytes.Repeat([]byte{byte(i + 1)}, n)}); err != nil {
			t.Fatal(err)
		}
	}
	dir := c.gens[0].dir
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	walked := map[int]found{}
	if end := walk(log, logHeaderBytes, func(f found) { walked[f.id.Index] = f }); end != int64(len(log)) {
		t.Errorf("the walk ended at %d of %d bytes", end, len(log))
	}
	db, err := badger.OpenManaged(generationOptions(dir, 64<<20, 1<<20, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, n := range sizes {
		f := walked[i]
		if f.n != int64(n) {
			t.Errorf("piece %d: walked over %d bytes, put were %d", i, f.n, n)
			continue
		}
		for s := range slabCount(f.n) {
			at := slabOffset(f.off, f.n, s)
			ours := log[at : at+valueLen(slabLen(f.n, s))]
			txn := db.NewTransactionAt(math.MaxUint64, false)
			item, err := txn.Get(appendKey(nil, f.id, s, f.n))
			if err != nil {
				t.Fatalf("piece %d slab %d: %v", i, s, err)
			}
			if err := item.Value(func(theirs []byte) error {
				if !bytes.Equal(ours, theirs) {
					t.Errorf("piece %d slab %d: not the value that badger has", i, s)
				}
				return nil
			}); err != nil {
				t.Errorf("piece %d slab %d: %v", i, s, err)
			}
			txn.Discard()
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add(appendKey(nil, weir.PieceID{Torrent: weir.InfoHash{1, 2}, Index: 7}, 3, 4*slabBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, slab, n, ok := parseKey(b)
		if !ok {
			return
		}
		if slabLen(n, slab) <= 0 || slabLen(n, slab) > slabBytes {
			t.Errorf("slab %d of %d bytes has %d", slab, n, slabLen(n, slab))
		}
		if again := appendKey(nil, id, slab, n); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

// entry is what badger would write.
func entry(id weir.PieceID, slab int, n int64) []byte {
	value := valueLen(slabLen(n, slab))
	b := []byte{0, 0}
	b = binary.AppendUvarint(b, logKeyBytes)
	b = binary.AppendUvarint(b, uint64(value))
	b = binary.AppendUvarint(b, 0)
	b = appendKey(b, id, slab, n)
	return append(b, make([]byte, versionBytes+value+4)...)
}

func FuzzWalk(f *testing.F) {
	id := weir.PieceID{Torrent: weir.InfoHash{9}, Index: 3}
	whole := bytes.Join([][]byte{make([]byte, logHeaderBytes), entry(id, 0, 100), entry(id, 0, 5), entry(id, 0, 20_000)}, nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, log []byte) {
		last := int64(logHeaderBytes)
		end := walk(log, logHeaderBytes, func(p found) {
			if p.off < last || p.n <= 0 || p.off+pieceSpan(p.n) > int64(len(log)) {
				t.Errorf("impossible piece %+v in %d bytes", p, len(log))
			}
			last = p.off + pieceSpan(p.n)
		})
		if end < last {
			t.Errorf("ended at %d before %d", end, last)
		}
	})
}

func FuzzSeal(f *testing.F) {
	f.Add(encodeSeal([]found{{weir.PieceID{Torrent: weir.InfoHash{1}, Index: 5}, 20, 100, false}, {weir.PieceID{Torrent: weir.InfoHash{2}, Index: 5}, 400, 7, true}}, 1000))
	f.Add([]byte(sealMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // let the fuzzer past the checksum
			b = appendSum(b[:len(b)-4])
		}
		var pieces []found
		err := parseSeal(b, 1<<20, func(p found) {
			if p.off < logHeaderBytes || p.off+pieceSpan(p.n) > 1<<20 || p.id.Index >= maxPieces {
				t.Errorf("impossible piece %+v", p)
			}
			pieces = append(pieces, p)
		})
		if err != nil {
			return
		}
		count := 0
		if err := parseSeal(encodeSeal(pieces, 1<<20), 1<<20, func(found) { count++ }); err != nil || count != len(pieces) {
			t.Errorf("%d pieces became %d, %v", len(pieces), count, err)
		}
	})
}

func FuzzNotes(f *testing.F) {
	one := found{id: weir.PieceID{Index: 1}, off: 20}
	f.Add(appendNote(appendNote(nil, gone, one), linked, one))
	f.Add(append(make([]byte, 5), appendNote(nil, linked, one)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		notes := parseNotes(b)
		if len(notes) > len(b)/noteRecord {
			t.Errorf("%d notes in %d bytes", len(notes), len(b))
		}
		row := found{id: weir.PieceID{Index: 7}, off: 20, n: 3}
		for _, f := range named([]found{row}, notes) {
			if f.off != row.off || f.n != row.n || f.id.Index >= maxPieces {
				t.Errorf("impossible piece %+v", f)
			}
		}
	})
}

func FuzzHashRecord(f *testing.F) {
	f.Add(appendHash(nil, 77, make([]byte, 20)))
	f.Add(appendHash(nil, 1<<31, bytes.Repeat([]byte{7}, 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		off, hash, ok := parseHash(b)
		if ok && !bytes.Equal(appendHash(nil, off, hash)[:5+len(hash)], b[:5+len(hash)]) {
			t.Errorf("%x is offset %d, hash %x", b, off, hash)
		}
	})
}

// TestNotes: the last note about a name counts, and half a record in between
// costs no other.
func TestNotes(t *testing.T) {
	a, b, c := weir.PieceID{Index: 1}, weir.PieceID{Index: 2}, weir.PieceID{Index: 3}
	rows := []found{{id: a, off: 20, n: 5}, {id: b, off: 200, n: 6}}
	type step struct {
		kind noteKind
		f    found
	}
	for name, test := range map[string]struct {
		steps []step
		want  []found
	}{
		"None":        {nil, rows},
		"Gone":        {[]step{{gone, rows[0]}}, rows[1:]},
		"Linked":      {[]step{{linked, found{id: c, off: 20}}}, append(slices.Clone(rows), found{c, 20, 5, true})},
		"LinkedGone":  {[]step{{linked, found{id: c, off: 20}}, {gone, found{id: c, off: 20}}}, rows},
		"GoneLinked":  {[]step{{gone, rows[0]}, {linked, rows[0]}}, rows},
		"NameOnly":    {[]step{{linked, found{id: c, off: 20}}, {gone, rows[0]}}, []found{rows[1], {c, 20, 5, true}}},
		"NoSuchRow":   {[]step{{linked, found{id: c, off: 21}}}, rows},
		"AnotherRow":  {[]step{{gone, found{id: a, off: 200}}}, rows},
		"NameOfOther": {[]step{{linked, found{id: a, off: 200}}}, append(slices.Clone(rows), found{a, 200, 6, true})},
	} {
		t.Run(name, func(t *testing.T) {
			var file []byte
			for _, s := range test.steps {
				file = append(appendNote(file, s.kind, s.f), 1, 2, 3)
			}
			if got := named(slices.Clone(rows), parseNotes(file)); !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func FuzzPins(f *testing.F) {
	f.Add((&torrentPins{1000, 5500, []span{{0, 2}, {4, 6}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseTorrentPins(b)
		if err != nil {
			return
		}
		if n := p.bytes(); n < 0 || n > p.length {
			t.Errorf("%d bytes pinned of %d", n, p.length)
		}
		if !bytes.Equal(p.encode(), b) {
			t.Errorf("%x became %x", b, p.encode())
		}
	})
}

func FuzzLongRecord(f *testing.F) {
	f.Add(encodeLong(7, make([]byte, chunkBytes+1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, n, _, ok := parseLong(b); ok && (n <= chunkBytes || n > maxRecordBytes) {
			t.Errorf("%d bytes", n)
		}
	})
}

func TestGenName(t *testing.T) {
	for _, name := range []string{"", "x", "0000000001", "0000000001-", "0000000001-x", "1-p", "0000000001-pp", "-000000001-p", "dropped-0000000001-p"} {
		if _, _, ok := parseGenName(name); ok {
			t.Errorf("%q was taken for a generation", name)
		}
	}
	if seq, c, ok := parseGenName(genName(12, mainRow)); !ok || seq != 12 || c != mainRow {
		t.Errorf("got %d, %c, %v", seq, c, ok)
	}
}

func TestSpans(t *testing.T) {
	var spans []span
	in := map[int]bool{}
	for i := range 200 {
		cut := span{i * 37 % 100, i*37%100 + i%13 + 1}
		for j := cut.first; j < cut.end; j++ {
			in[j] = i%3 != 0
		}
		if i%3 != 0 {
			spans = with(spans, cut)
		} else {
			spans = without(spans, cut)
		}
		p := torrentPins{1, 1000, spans}
		for j := range 120 {
			if p.has(j) != in[j] {
				t.Fatalf("step %d: piece %d pinned is %v in %v", i, j, p.has(j), spans)
			}
		}
		if _, err := parseTorrentPins(p.encode()); err != nil {
			t.Fatalf("step %d: %v: %v", i, spans, err)
		}
	}
}
