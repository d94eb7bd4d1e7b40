package tree

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// everyName calls fn with each name of up to so many of these pieces.
func everyName(pieces []string, most int, fn func(string)) {
	var grow func(s string, left int)
	grow = func(s string, left int) {
		fn(s)
		if left > 0 {
			for _, p := range pieces {
				grow(s+p, left-1)
			}
		}
	}
	grow("", most)
}

// TestEveryNameComesBack: no two raw names are shown alike, what is shown leads back
// to what it was, and only what can't be shown is changed.
func TestEveryNameComesBack(t *testing.T) {
	for most, pieces := range map[int][]string{
		3: {"/", "\x00", "%", "2F", "00", "25", "2", "F", ".", "a", "\x80", "\xc3", "\xa9", "é", "語", "%2E", "%80", "%FF", "%C3", "%A9", "%7F", "%0", "G", "f", "�"},
		5: {"%", "C3", "A9", "\xc3", "\xa9", "/", "2F"},
	} {
		raws := map[string]string{}
		everyName(pieces, most, func(raw string) {
			safe := SafeName(raw)
			if safe == "" || safe == "." || safe == ".." || strings.ContainsAny(safe, "/\x00") || !utf8.ValidString(safe) {
				t.Fatalf("%q is shown as %q", raw, safe)
			}
			if other, ok := raws[safe]; ok && other != raw {
				t.Fatalf("%q and %q are both shown as %q", raw, other, safe)
			}
			raws[safe] = raw
			if got := RawName(safe); got != raw {
				t.Fatalf("%q is shown as %q, which leads back to %q", raw, safe, got)
			}
			showable := raw != "" && raw != "." && raw != ".." && raw != "%" && raw != "%2E" && raw != "%2E%2E" && utf8.ValidString(raw) && !strings.ContainsAny(raw, "/\x00")
			if showable && RawName(raw) == raw && safe != raw {
				t.Fatalf("%q is shown as %q without need", raw, safe)
			}
			if len(safe) > 3*len(raw)+3 {
				t.Fatalf("%q is shown as %q", raw, safe)
			}
		})
	}
}

// TestNameLengths: 255 bytes fit; one more and the name is cut, its extension kept if
// that has 15 letters at most, with a mark of 17 bytes.
func TestNameLengths(t *testing.T) {
	for _, ext := range []string{"", ".", ".a", ".mkv", "." + strings.Repeat("e", 15), "." + strings.Repeat("e", 16)} {
		for n := 250; n < 262; n++ {
			raw := strings.Repeat("x", n-len(ext)) + ext
			got := SafeName(raw)
			kept := ext
			if len(ext) == 1 || len(ext) > 16 {
				kept = ""
			}
			base := strings.TrimSuffix(got, kept)
			switch mark := strings.LastIndexByte(base, '~'); {
			case n <= 255:
				if got != raw {
					t.Errorf("%d bytes become %q", n, got)
				}
			case len(got) != 255 || !strings.HasSuffix(got, kept) || mark != len(base)-17 || base[:mark] != raw[:mark] || strings.Trim(base[mark+1:], "0123456789abcdef") != "":
				t.Errorf("%d bytes with %q become %q", n, ext, got)
			}
		}
	}
	// What grows by its escapes is cut, too, and the same beginning has another mark.
	if got := SafeName(strings.Repeat("/", 85)); got != strings.Repeat("%2F", 85) {
		t.Errorf("85 slashes become %q", got)
	}
	if got := SafeName(strings.Repeat("/", 86)); len(got) != 255 || got[:238] != strings.Repeat("%2F", 80)[:238] {
		t.Errorf("86 slashes become %q", got)
	}
	if got := SafeName("." + strings.Repeat("h", 300)); !strings.HasPrefix(got, ".hhh") || len(got) != 255 {
		t.Errorf("a hidden name becomes %q", got)
	}
}

func TestNumberedNames(t *testing.T) {
	long := strings.Repeat("x", 251) + ".mkv"
	for _, c := range []struct {
		name string
		n    int
		want string
	}{
		{"a", 2, "a~2"}, {"a.tar.gz", 10, "a.tar~10.gz"}, {".hidden", 3, ".hidden~3"}, {"a.", 2, "a.~2"}, {"", 2, "~2"},
		{long, 2, long[:249] + "~2.mkv"}, {long, 1234, long[:246] + "~1234.mkv"}, {"a." + strings.Repeat("b", 15), 2, "a~2." + strings.Repeat("b", 15)},
		{"a." + strings.Repeat("b", 16), 2, "a." + strings.Repeat("b", 16) + "~2"},
	} {
		if got := NumberedName(c.name, c.n); got != c.want {
			t.Errorf("%q, %d: %q, want %q", c.name, c.n, got, c.want)
		}
	}
}

// TestCut: as many bytes as fit, and no character in two, unless not even one fits;
// of what is no UTF-8 exactly as many.
func TestCut(t *testing.T) {
	for _, s := range []string{"abcdef", "aébc語d😀e", "😀😀😀", "語", "\x80\x80\x80\x80\x80\x80\x80"} {
		for n := range len(s) + 2 {
			want := min(n, len(s))
			for utf8.ValidString(s) && want > 0 && !utf8.ValidString(s[:want]) {
				want--
			}
			if want == 0 {
				want = n
			}
			if got := CutBytes(s, n); got != s[:want] {
				t.Errorf("%q cut to %d: %q", s, n, got)
			}
		}
	}
}

// TestNumbersInAFolder: of equal names in a folder the first keeps it, folders before
// files, and the others get the least number that is free.
func TestNumbersInAFolder(t *testing.T) {
	children := []child{{"a", 5}, {"a", 3}, {"a", dirBit | 9}, {"a", dirBit | 7}, {"a~2", 1}, {"a~4", 2}, {"b.c", 8}, {"b.c", 6}, {"b", 4}}
	nameChildren(children)
	var got []string
	for _, k := range children {
		d := "file"
		if k.ref&dirBit != 0 {
			d = "folder"
		}
		got = append(got, fmt.Sprintf("%s=%s %d", k.name, d, k.ref&^dirBit))
	}
	want := "a=folder 7, a~2=file 1, a~3=folder 9, a~4=file 2, a~5=file 3, a~6=file 5, b=file 4, b.c=file 6, b~2.c=file 8"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}
