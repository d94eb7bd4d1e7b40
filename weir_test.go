package weir_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir"
)

const hexHash = "0123456789abcdef0123456789abcdef01234567"

func TestParseInfoHash(t *testing.T) {
	const base32Hash = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"
	for _, s := range []string{hexHash, strings.ToUpper(hexHash), base32Hash, strings.ToLower(base32Hash)} {
		h, err := weir.ParseInfoHash(s)
		if err != nil || h.String() != hexHash || h.IsZero() {
			t.Errorf("ParseInfoHash(%q) = %s, %v", s, h, err)
		}
	}
	for name, s := range map[string]string{
		"Empty":            "",
		"39Digits":         hexHash[1:],
		"41Digits":         hexHash + "0",
		"NotHex":           "g" + hexHash[1:],
		"SpaceInHex":       " " + hexHash[1:],
		"NotBase32":        "1" + base32Hash[1:],
		"PaddedBase32":     base32Hash[:26] + "======",
		"Base32WithLines":  base32Hash[:24] + "\r\n\r\n\r\n\r\n",
		"UpperBecomesLess": base32Hash[:16] + strings.Repeat("ſ", 8), // two bytes each, upper-cased to one
		"V2":               strings.Repeat("a", 64),
	} {
		h, err := weir.ParseInfoHash(s)
		if !errors.Is(err, weir.ErrInvalid) || !h.IsZero() {
			t.Errorf("%s: ParseInfoHash(%q) = %s, %v, want ErrInvalid", name, s, h, err)
		}
	}
}

func FuzzParseInfoHash(f *testing.F) {
	for _, s := range []string{"", hexHash, "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH", strings.Repeat("\n", 32), strings.Repeat("=", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := weir.ParseInfoHash(s)
		if err != nil {
			if !errors.Is(err, weir.ErrInvalid) || !h.IsZero() {
				t.Fatalf("got %s, %v", h, err)
			}
			return
		}
		if again, err := weir.ParseInfoHash(h.String()); err != nil || again != h {
			t.Fatalf("%s parses to %s, %v", h, again, err)
		}
		if len(s) == 40 && !strings.EqualFold(s, h.String()) {
			t.Fatalf("%q parses to %s", s, h)
		}
		if strings.ContainsAny(s, "=\r\n ") {
			t.Fatalf("%q was taken", s)
		}
	})
}

func TestStrings(t *testing.T) {
	h, err := weir.ParseInfoHash(hexHash)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got  fmt.Stringer
		want string
	}{
		{weir.PieceID{Torrent: h, Index: 12}, hexHash + "/12"},
		{weir.Unwanted, "unwanted"},
		{weir.Background, "background"},
		{weir.Window, "window"},
		{weir.Blocked, "blocked"},
		{weir.Priority(9), "Priority(9)"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestRange(t *testing.T) {
	// All pairs of small ranges, backward ones too, against sets of bytes.
	var all []weir.Range
	for off := int64(-2); off < 6; off++ {
		for end := int64(-2); end < 6; end++ {
			all = append(all, weir.Range{Off: off, End: end})
		}
	}
	has := func(r weir.Range, b int64) bool { return b >= r.Off && b < r.End }
	for _, a := range all {
		var n int64
		for b := int64(-3); b < 7; b++ {
			if has(a, b) {
				n++
			}
		}
		if a.Len() != n || a.Empty() != (n == 0) {
			t.Fatalf("%v: length %d, empty %v, want length %d", a, a.Len(), a.Empty(), n)
		}
		for _, o := range all {
			both := a.Intersect(o)
			for b := int64(-3); b < 7; b++ {
				if has(both, b) != (has(a, b) && has(o, b)) {
					t.Fatalf("%v and %v meet in %v: wrong at %d", a, o, both, b)
				}
			}
		}
	}
}

// newInfo lays files of the given lengths end to end.
func newInfo(pieceLength int64, lengths ...int64) *weir.TorrentInfo {
	ti := &weir.TorrentInfo{PieceLength: pieceLength}
	for i, n := range lengths {
		ti.Files = append(ti.Files, weir.FileInfo{Path: []string{fmt.Sprint(i)}, Offset: ti.Length, Length: n})
		ti.Length += n
	}
	return ti
}

// newInfoV2 lays files of the given lengths out as BEP 52 does.
func newInfoV2(pieceLength int64, lengths ...int64) *weir.TorrentInfo {
	ti := &weir.TorrentInfo{PieceLength: pieceLength, V2: true}
	add := func(f weir.FileInfo) {
		f.Offset = ti.Length
		ti.Length += f.Length
		ti.Files = append(ti.Files, f)
	}
	for i, n := range lengths {
		if over := ti.Length % pieceLength; n > 0 && over > 0 {
			add(weir.FileInfo{Path: []string{".pad"}, Length: pieceLength - over, Padding: true})
		}
		add(weir.FileInfo{Path: []string{fmt.Sprint(i)}, Length: n})
	}
	return ti
}

// realEnd is where the bytes of the piece that begins at off end, found by
// walking: in a v2 torrent a gap ends it.
func realEnd(ti *weir.TorrentInfo, off int64) int64 {
	end := off
	for end < min(off+ti.PieceLength, ti.Length) {
		if ti.V2 && slices.ContainsFunc(ti.Files, func(f weir.FileInfo) bool {
			return f.Padding && f.Offset <= end && end < f.Offset+f.Length
		}) {
			break
		}
		end++
	}
	return end
}

// span is the first index that ok takes and the one after the last, or 0, 0.
func span(n int, ok func(i int) bool) (first, end int) {
	for i := range n {
		if ok(i) {
			if end == 0 {
				first = i
			}
			end = i + 1
		}
	}
	return first, end
}

// checkOffsets compares the arithmetic of ti for r with a walk over everything.
func checkOffsets(tb testing.TB, ti *weir.TorrentInfo, r weir.Range) {
	tb.Helper()
	pieces := 0
	for off := int64(0); off < ti.Length; off += ti.PieceLength {
		want := weir.Range{Off: off, End: realEnd(ti, off)}
		if got := ti.PieceRange(pieces); got != want {
			tb.Fatalf("PieceRange(%d) = %v, want %v", pieces, got, want)
		}
		pieces++
	}
	if got := ti.NumPieces(); got != pieces {
		tb.Fatalf("NumPieces() = %d, want %d", got, pieces)
	}
	touches := func(o weir.Range) bool { return max(r.Off, o.Off) < min(r.End, o.End) }
	wantFirst, wantEnd := span(pieces, func(i int) bool { return touches(ti.PieceRange(i)) })
	if first, end := ti.Pieces(r); first != wantFirst || end != wantEnd {
		tb.Fatalf("Pieces(%v) = %d, %d, want %d, %d", r, first, end, wantFirst, wantEnd)
	}
	wantFirst, wantEnd = span(len(ti.Files), func(i int) bool { return touches(ti.Files[i].Range()) })
	if first, end := ti.FilesIn(r); first != wantFirst || end != wantEnd {
		tb.Fatalf("FilesIn(%v) = %d, %d, want %d, %d", r, first, end, wantFirst, wantEnd)
	}
}

func TestOffsets(t *testing.T) {
	for _, lengths := range [][]int64{
		{0}, {1}, {7}, {8}, {0, 0, 0}, {3, 5}, {0, 4, 0, 0, 4, 0}, {1, 1, 1, 1, 1, 1, 1}, {4, 0, 9, 2}, {16},
	} {
		for _, pieceLength := range []int64{1, 3, 4, 8, 100} {
			for _, ti := range []*weir.TorrentInfo{newInfo(pieceLength, lengths...), newInfoV2(pieceLength, lengths...)} {
				if ti.Length > 200 {
					continue // hundred-byte pieces of one byte each: slow, and nothing new
				}
				for off := int64(-2); off <= ti.Length+2; off++ {
					for end := int64(-2); end <= ti.Length+2; end++ {
						checkOffsets(t, ti, weir.Range{Off: off, End: end})
					}
				}
			}
		}
	}
}

// TestPieceRangeV2 is the layout of BEP 52 by hand.
func TestPieceRangeV2(t *testing.T) {
	ti := newInfoV2(8, 0, 3, 0, 17, 8, 0, 5, 0)
	var got []weir.Range
	for i := range ti.NumPieces() {
		got = append(got, ti.PieceRange(i))
	}
	want := []weir.Range{{Off: 0, End: 3}, {Off: 8, End: 16}, {Off: 16, End: 24}, {Off: 24, End: 25}, {Off: 32, End: 40}, {Off: 40, End: 45}}
	if !slices.Equal(got, want) || ti.Length != 45 {
		t.Errorf("pieces %v of %d bytes, want %v", got, ti.Length, want)
	}
	for _, c := range []struct{ off, end, first, after int64 }{
		{3, 8, 0, 0}, {3, 9, 1, 2}, {2, 8, 0, 1}, {25, 32, 0, 0}, {4, 26, 1, 4}, {-5, 100, 0, 6},
	} {
		first, after := ti.Pieces(weir.Range{Off: c.off, End: c.end})
		if int64(first) != c.first || int64(after) != c.after {
			t.Errorf("Pieces(%d, %d) = %d, %d, want %d, %d", c.off, c.end, first, after, c.first, c.after)
		}
	}
	for _, i := range []int{-1, 6, 1000} { // of no torrent; must not panic
		if r := ti.PieceRange(i); !r.Intersect(weir.Range{Off: 0, End: ti.Length}).Empty() {
			t.Errorf("PieceRange(%d) = %v", i, r)
		}
	}
	if n := testing.AllocsPerRun(100, func() { ti.PieceRange(3); ti.Pieces(weir.Range{Off: 3, End: 9}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPieceRangeV2(b *testing.B) {
	ti := newInfoV2(16<<10, slices.Repeat([]int64{20_000}, 1_000_000)...)
	n := ti.NumPieces()
	for i := 0; b.Loop(); i++ {
		if ti.PieceRange(i * 7919 % n).Empty() {
			b.Fatal("empty")
		}
	}
}

// TestOffsetsLarge is about overflow: the largest torrent that is let in.
func TestOffsetsLarge(t *testing.T) {
	const length, piece = int64(1) << 60, int64(512) << 20
	ti := newInfo(piece, length-1, 0, 1)
	const maxInt64 = 1<<63 - 1
	last := ti.NumPieces() - 1
	if want := int(length/piece) - 1; last != want {
		t.Fatalf("last piece %d, want %d", last, want)
	}
	if got, want := ti.PieceRange(last), (weir.Range{Off: length - piece, End: length}); got != want {
		t.Errorf("PieceRange(%d) = %v, want %v", last, got, want)
	}
	for _, c := range []struct {
		r    weir.Range
		want []int // Pieces, FilesIn
	}{
		{weir.Range{Off: -maxInt64 - 1, End: maxInt64}, []int{0, last + 1, 0, 3}},
		{weir.Range{Off: length - 1, End: maxInt64}, []int{last, last + 1, 2, 3}},
		{weir.Range{Off: length - 2, End: length - 1}, []int{last, last + 1, 0, 1}},
		{weir.Range{Off: length, End: maxInt64}, []int{0, 0, 0, 0}},
		{weir.Range{Off: maxInt64, End: -maxInt64}, []int{0, 0, 0, 0}},
	} {
		a, b := ti.Pieces(c.r)
		x, y := ti.FilesIn(c.r)
		if got := []int{a, b, x, y}; !slices.Equal(got, c.want) {
			t.Errorf("%v: pieces and files %v, want %v", c.r, got, c.want)
		}
	}
}

func FuzzOffsets(f *testing.F) {
	f.Add([]byte{3, 0, 5}, uint16(4), int64(2), int64(6))
	f.Add([]byte{}, uint16(0), int64(0), int64(0))
	f.Add([]byte{0, 0, 255, 0}, uint16(300), int64(-5), int64(1)<<62)
	f.Fuzz(func(t *testing.T, sizes []byte, piece uint16, off, end int64) {
		var lengths []int64
		for _, n := range sizes[:min(len(sizes), 100)] {
			lengths = append(lengths, int64(n))
		}
		piece = piece%300 + 1 // so that the walks stay short
		for _, ti := range []*weir.TorrentInfo{newInfo(int64(piece), lengths...), newInfoV2(int64(piece), lengths...)} {
			checkOffsets(t, ti, weir.Range{Off: off, End: end})
			if ti.Length > 0 { // and where it is likely to touch something
				r := weir.Range{Off: off & 0xffff % ti.Length, End: end&0xffff%ti.Length + 1}
				checkOffsets(t, ti, r)
			}
		}
	})
}
