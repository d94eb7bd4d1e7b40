package weir_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/weirfs/weir"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"film (2019) [1080p].mkv", "film (2019) [1080p].mkv"},
		{`C:\foo`, `C:\foo`},
		{"ü 字 é\u0301 🎬 \u00a0\u3000", "ü 字 é\u0301 🎬 \u00a0\u3000"},
		{"x\x1b]0;T\x07y", `x\x1b]0;T\x07y`},
		{"a\x1b[2Jb\nc\u0085", `a\x1b[2Jb\nc\u0085`},
		{"\t\r\x00\x7f", `\t\r\x00\x7f`},
		{"a\u202egpj.exe", `a\u202egpj.exe`},
		{"\u200e\u200f\u202a\u2066\u2069\u061c", `\u200e\u200f\u202a\u2066\u2069\u061c`},
		{"a\u200bb\u00adc\ufeff\u2060", `a\u200bb\u00adc\ufeff\u2060`},
		{"a\u2028b\u2029", `a\u2028b\u2029`},
		{"\U000e0041", `\U000e0041`},
		{"\u009b31m", `\u009b31m`},
		{"caf\xe9\xff", `caf\xe9\xff`},
		{"\ufffd", "\ufffd"},
	} {
		if got := weir.Printable(c.in); got != c.want {
			t.Errorf("Printable(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got, want := weir.PrintableLines("a\x1b\nb\u202e\n"), "a\\x1b\nb\\u202e\n"; got != want {
		t.Errorf("PrintableLines: %q, want %q", got, want)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff字")
	f.Fuzz(func(t *testing.T, s string) {
		got := weir.Printable(s)
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) }); i >= 0 {
			t.Fatalf("%q becomes %q", s, got)
		}
		if again := weir.Printable(got); again != got {
			t.Fatalf("%q becomes %q, and that %q", s, got, again)
		}
	})
}
