package source_test

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// TestParseFile has the texts and shortcuts that programs write.
func TestParseFile(t *testing.T) {
	const m, url = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a", "http://a.example/x.torrent"
	wide := func(order binary.AppendByteOrder, text string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		content       string
		magnets, urls int // -1: refused
	}{
		"Plain":          {m + "\n", 1, 0},
		"Mark":           {"\ufeff" + m + "\r\n", 1, 0},
		"MarkOnly":       {"\ufeff", -1, 0},
		"UTF16":          {wide(binary.LittleEndian, "\ufeff"+m+"\r\n"+url+"\r\n"), 1, 1},
		"UTF16Big":       {wide(binary.BigEndian, "\ufeff"+m+"\r\n"), 1, 0},
		"UTF16NoMark":    {wide(binary.LittleEndian, m+"\r\n"), 1, 0},
		"UTF16BigNoMark": {wide(binary.BigEndian, m), 1, 0},
		"UTF16Odd":       {wide(binary.LittleEndian, "\ufeff"+m+"\r\n") + "x", 1, 0},
		"Shortcut":       {"[InternetShortcut]\r\nURL=" + m + "\r\n", 1, 0},
		"ShortcutURL":    {"[InternetShortcut]\r\nIDList=\r\nURL=" + url + "\r\nIconIndex=0\r\n", 0, 1},
		"ShortcutMark":   {"\ufeff[InternetShortcut]\nURL=" + m, 1, 0},
		"ShortcutUTF16":  {wide(binary.LittleEndian, "\ufeff[InternetShortcut]\r\nURL="+m+"\r\n"), 1, 0},
		"AnyCase":        {"; made by hand\n\n[ internetshortcut ]\n url = " + m + "\n", 1, 0},
		"Desktop":        {"[Desktop Entry]\nType=Link\nName=magnet\nURL=" + m + "\n", 1, 0},
		"DesktopKDE":     {"# x\n[Desktop Entry]\nEncoding=UTF-8\nURL[$e]=" + m + "\n", 1, 0},
		"OtherSections": {"[{000214A0-0000-0000-C000-000000000046}]\nProp3=19,11\nURL=" + url + "\n[InternetShortcut]\nURL=" + m +
			"\n[InternetShortcut.A]\nURL=" + url + "\n", 1, 0},
		"NoURL":        {"[InternetShortcut]\nIconIndex=0\n", -1, 0},
		"OnlyOther":    {"[Other]\nURL=" + m + "\n", -1, 0},
		"OtherAddress": {"[InternetShortcut]\nURL=https:\n[Desktop Entry]\nURL=file:///etc/passwd\n", -1, 0},
		"TextThenINI":  {m + "\n[InternetShortcut]\nURL=" + m + "\n", -1, 0},
		"HashLikeDict": {"d0e1234567890123456789012345678901234567\n", 1, 0},
		"HashesAsWell": {"d0e1234567890123456789012345678901234567\r\n" + strings.Repeat("d1", 32) + "\n" + m, 3, 0},
		"Dict":         {"d0:e", -1, 0},
		"Empty":        {"", -1, 0},
		"Comments":     {"# " + m + "\n\n", -1, 0},
		"Page":         {"\ufeff\n<html>" + m, -1, 0},
		"Program":      {"\x7fELF\x02\x01\x01\x00" + m, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := source.ParseFile([]byte(c.content))
			if err != nil {
				if c.magnets >= 0 || !errors.Is(err, weir.ErrInvalid) {
					t.Error(err)
				}
				return
			}
			if len(got.Specs) != c.magnets || len(got.URLs) != c.urls {
				t.Errorf("%d magnets, %q", len(got.Specs), got.URLs)
			}
			for _, s := range got.Specs {
				if s.Name != "" && (s.InfoHash.String() != "0123456789abcdef0123456789abcdef01234567" || s.Name != "a") {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("# x\nmagnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567\n\nhttp://a.example/x.torrent\n"))
	f.Add([]byte("d4:infod6:lengthi4e4:name4:good12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee"))
	f.Add([]byte("0123456789abcdef0123456789abcdef01234567"))
	f.Add([]byte("[InternetShortcut]\r\nURL=http://a.example\r\n"))
	f.Add([]byte("\xff\xfe[\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := source.ParseFile(b)
		if err != nil {
			return
		}
		if got.Count() == 0 {
			t.Fatal("nothing, and no error")
		}
		if lines, text := source.Lines(b); text && len(lines) != got.Count() {
			t.Fatalf("%d lines name %d torrents", len(lines), got.Count())
		}
		for _, s := range got.Specs {
			if s.InfoHash.IsZero() {
				t.Fatal("a torrent without an info hash")
			}
		}
	})
}

// TestParseFileSays: what is no torrent says what it is, and what to do.
func TestParseFileSays(t *testing.T) {
	const m = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567"
	for content, says := range map[string]string{
		"":                          "download it again",
		"<!DOCTYPE html>":           "is a web page, not a torrent: find the address",
		"\x89PNG\r\n\x1a\n\x00\x00": "check that it is the right file",
		"# nothing but this\n":      "check that it is the right file",
		m + "\nftp://a.example/":    `line 2: "ftp://a.example/" is neither a magnet, a URL nor an info hash; a magnet looks like`,
		"\n" + m[:30] + "\n":        "line 2: bad magnet",
		"[Desktop Entry]\nType=Application\nExec=vi\n":     "is a shortcut without a URL",
		"[InternetShortcut]\nURL=file:///home/x.torrent\n": `"file:///home/x.torrent" is neither`,
		"d4:infod": "the .torrent is incomplete",
	} {
		if _, err := source.ParseFile([]byte(content)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", content, err, says)
		}
	}
	if _, err := source.ParseFile([]byte("[Desktop Entry]\n")); !errors.Is(err, source.ErrNoAddress) {
		t.Errorf("a launcher: %v", err)
	}
}

// TestLoadFiles: a file that names one torrent is as good as what it names, and an
// address in it may be from anybody.
func TestLoadFiles(t *testing.T) {
	raw := goodTorrents(t)["Single"]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }))
	defer server.Close()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const m = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567"
	at := server.URL + "/announce.torrent"
	link := write("x.url", "[InternetShortcut]\r\nURL="+at+"\r\n")
	for _, path := range []string{write("a", "\ufeff"+m), write("a.desktop", "[Desktop Entry]\nURL="+m), write("t", string(raw))} {
		if spec, err := (source.Loader{}).Load(t.Context(), path); err != nil || spec.InfoHash.IsZero() {
			t.Errorf("%s: %v", path, err)
		}
	}
	if spec, err := (source.Loader{AllowPrivate: true}).Load(t.Context(), link); err != nil || spec.Info == nil {
		t.Errorf("%s: %v", link, err)
	}
	if _, err := (source.Loader{}).Load(t.Context(), link); err == nil || !strings.Contains(err.Error(), "--allow-private") {
		t.Errorf("a shortcut to this machine: %v", err)
	}
	if _, err := (source.Loader{}).Load(t.Context(), write("two.txt", m+"\n"+m[:len(m)-1]+"8\n")); !errors.Is(err, weir.ErrInvalid) || !strings.Contains(err.Error(), "2 torrents") {
		t.Errorf("two in a file: %v", err)
	}
	if c, err := source.Read(write("three.txt", m+"\n"+m+"\n"+at+"\n")); err != nil || len(c.Specs) != 2 || len(c.URLs) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
