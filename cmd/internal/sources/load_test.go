package sources

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirfs/weir"
)

// TestRefusedShowsNothing: what is in a file that is refused doesn't get into logs.
func TestRefusedShowsNothing(t *testing.T) {
	const secret = "$y$j9T$SeCrEt"
	for _, content := range []string{
		"root:" + secret + ":19000:0:99999:7:::\ndaemon:*:19000::::::\n", // begins like a text
		"daemon:" + secret + ":19000::::::\n",                            // begins like a .torrent
		secret + "\n" + secret + "\n",
		"magnet:?xt=urn:btih:" + secret + "\n",
		"[InternetShortcut]\nURL=file://" + secret + "\n",
		"[" + secret + "]\n" + secret + "\n",
		"\xff\xfe" + secret,
		"\"" + secret + "\\\"\n",
		"d4:infod6:lengthi4e4:name16:../" + secret + "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
	} {
		_, err := ReadDropped([]byte(content))
		if err == nil || strings.Contains(err.Error(), "SeCrEt") || strings.Contains(err.Error(), "j9T") {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil && !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, weir.ErrHostile) {
			t.Errorf("%q: %v has no kind", content, err)
		}
	}
}

func TestLoadNamed(t *testing.T) {
	for _, arg := range []string{
		"0123456789abcdef0123456789abcdef01234567",
		" 0123456789ABCDEF0123456789abcdef01234567\n",
		"AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH",
		strings.Repeat("ab", 32),
		"magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567",
	} {
		if spec, err := (Loaders{}).LoadNamed(t.Context(), arg); err != nil || spec.InfoHash.IsZero() {
			t.Errorf("%q: %+v, %v", arg, spec, err)
		}
	}
	for _, arg := range []string{"", "/etc/passwd", "record.go", "magnet:?dn=x", "ftp://a.example/x", strings.Repeat("xy", 32)} {
		if _, err := (Loaders{}).LoadNamed(t.Context(), arg); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", arg, err)
		}
	}
}
