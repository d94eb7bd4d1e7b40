package tree

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSafeName(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"film.mkv", "film.mkv"},
		{"100% real", "100% real"},
		{"a/b", "a%2Fb"},
		{"a\x00b", "a%00b"},
		{".", "%2E"},
		{"..", "%2E%2E"},
		{"...", "..."},
		{".hidden", ".hidden"},
		{"", "%"},
		{"%", "%25"},
		{"%2E", "%252E"},
		{"%2E%2E", "%252E%2E"},
		{"x%2E", "x%2E"},
		{"a%2Fb", "a%252Fb"},
		{"a%2fb", "a%2fb"},
		{"%25", "%2525"},
		{"%/", "%%2F"},
		{"../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"},
		{"\xff\xfe", "%FF%FE"},
		{"caf\xe9.txt", "caf%E9.txt"},
		{"日本\xb5", "日本%B5"},
		{"\xe6\x97", "%E6%97"},       // cut in the middle
		{"%C3%A9.txt", "%C3%A9.txt"}, // an é of a web address: its bytes would be shown as é
		{"%E9.txt", "%25E9.txt"},
		{"%C3%A9\xe9", "%C3%A9%E9"},
		{"\xc3%A9", "%C3%25A9"},
		{"%C3\xa9", "%25C3%A9"},
		{"%e9", "%e9"},
		{"%80%", "%2580%"},
		{strings.Repeat("a", 255), strings.Repeat("a", 255)},
		{strings.Repeat("a", 300) + ".mkv", strings.Repeat("a", 234) + "~2de2dc2b16e94c6a.mkv"}, // by sha256sum
	} {
		got := SafeName(tt.raw)
		if got != tt.want {
			t.Errorf("SafeName(%q) = %q, want %q", tt.raw, got, tt.want)
		}
		if len(tt.raw) <= 255 && RawName(got) != tt.raw {
			t.Errorf("RawName(%q) = %q, want %q", got, RawName(got), tt.raw)
		}
	}
}

func TestSafeNameCutsBetweenCharacters(t *testing.T) {
	for pad := range 4 {
		raw := strings.Repeat("x", pad) + strings.Repeat("語", 100) + ".tar"
		got := SafeName(raw)
		if !utf8.ValidString(got) || len(got) > 255 || len(got) < 250 || !strings.HasSuffix(got, ".tar") {
			t.Errorf("SafeName of %d bytes: %q, %d bytes", len(raw), got, len(got))
		}
		if SafeName(raw+"x") == got {
			t.Error("two names have the same cut form")
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "%", "%2E", "a/b%2Fc", "a\x00%00", "%25%2525", "\xff%FF", "%C3%A9", "\xc3%A9\xa9", strings.Repeat("é", 200), strings.Repeat("/", 90)} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		sa, sb := SafeName(a), SafeName(b)
		for _, s := range []string{sa, sb} {
			if len(s) == 0 || len(s) > NameBytes || strings.ContainsAny(s, "/\x00") || !utf8.ValidString(s) || s == "." || s == ".." {
				t.Fatalf("not a name: %q", s)
			}
		}
		if a != b && sa == sb && len(sa) < 200 {
			t.Fatalf("%q and %q are both %q", a, b, sa)
		}
		if got := RawName(sa); got != a && len(a) <= NameBytes/3 {
			t.Fatalf("%q became %q and came back as %q", a, sa, got)
		}
		if SafeName(a) != sa {
			t.Fatal("not deterministic")
		}
	})
}

func BenchmarkSafeName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		SafeName("A Perfectly Ordinary Name (2019) [1080p].mkv")
	}
}
