package source_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// TestLoadFile also covers everything else that needs no network.
func TestLoadFile(t *testing.T) {
	t.Chdir(t.TempDir())
	raw := goodTorrents(t)["Single"]
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("ok.torrent", raw)
	write("cut.torrent", raw[:100])
	write("empty.torrent", nil)
	write("page.torrent", []byte("<html></html>"))
	write("film.mkv", nil)
	if err := os.Truncate("film.mkv", source.MaxMetainfoBytes+1); err != nil { // sparse
		t.Fatal(err)
	}
	if err := os.Mkdir("folder", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("pipe", 0o666); err != nil {
		t.Fatal(err)
	}
	fileHash := strings.Repeat("a", 40) // both a file and an info hash
	write(fileHash, raw)
	torrent, err := source.ParseTorrent(raw)
	if err != nil {
		t.Fatal(err)
	}

	for arg, want := range map[string]string{
		"ok.torrent":                       torrent.InfoHash.String(),
		filepath.Join(".", fileHash):       torrent.InfoHash.String(),
		fileHash:                           torrent.InfoHash.String(),
		hexHash:                            hexHash,
		strings.ToUpper(hexHash):           hexHash,
		strings.ToLower(b32Hash):           hexHash,
		plain:                              hexHash,
		"MAGNET:" + plain[len("magnet:"):]: hexHash,
	} {
		spec, err := source.Loader{}.Load(t.Context(), arg)
		if err != nil {
			t.Errorf("Load(%q): %v", arg, err)
			continue
		}
		if got := spec.InfoHash.String(); got != want {
			t.Errorf("Load(%q) = %s, want %s", arg, got, want)
		}
		if (spec.Info != nil) != (want != hexHash) {
			t.Errorf("Load(%q): info %v", arg, spec.Info)
		}
	}

	for _, c := range []struct {
		arg  string
		is   error
		says string
	}{
		{"", weir.ErrInvalid, "no torrent named"},
		{"missing.torrent", weir.ErrNotFound, "check the path"},
		{strings.Repeat("0", 40), weir.ErrNotFound, "no such file"},
		{"folder", weir.ErrInvalid, "name the .torrent file itself"},
		{"pipe", weir.ErrInvalid, "not a regular file"},
		{"film.mkv", weir.ErrInvalid, "is it the content itself"},
		{"cut.torrent", weir.ErrInvalid, "cut.torrent: the .torrent is incomplete: download it again"},
		{"empty.torrent", weir.ErrInvalid, "is empty"},
		{"page.torrent", weir.ErrInvalid, "is a web page, not a torrent"},
		{"ok.torrent/x", syscall.ENOTDIR, "not a directory"},
		{"magnet:?dn=x", weir.ErrInvalid, "a magnet looks like magnet:?xt="},
		{"http://", weir.ErrInvalid, "is not a URL"},
		{"https://a b/", weir.ErrInvalid, "is not a URL"},
		{"http://a.example/" + strings.Repeat("x", 5000), weir.ErrInvalid, "limit 4096"},
	} {
		spec, err := source.Loader{}.Load(t.Context(), c.arg)
		if err == nil {
			t.Errorf("Load(%q) took it: %+v", c.arg, spec)
			continue
		}
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Load(%q): error %q does not wrap %q or say %q", c.arg, err, c.is, c.says)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (source.Loader{}).Load(ctx, "ok.torrent"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// newWebServer serves the good torrent raw and things that go wrong.
func newWebServer(tb testing.TB, raw []byte) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok.torrent", func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "weir" || r.Header.Get("Referer") != "" && !strings.HasPrefix(r.Header.Get("Referer"), "http://127.0.0.1") {
			http.Error(w, "who are you", http.StatusForbidden)
			return
		}
		_, _ = w.Write(raw)
	})
	mux.HandleFunc("/redirect/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.PathValue("n"), &n)
		to := "/ok.torrent"
		if n > 1 {
			to = fmt.Sprintf("/redirect/%d", n-1)
		}
		http.Redirect(w, r, to, http.StatusFound)
	})
	elsewhere := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
	}
	elsewhere("/tofile", "file:///etc/passwd")
	elsewhere("/tomagnet", plain+"&dn=a film&tr=http%3A%2F%2Fa.example%2Fann")
	elsewhere("/tobadmagnet", "magnet:?dn=x")
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><title>log in first</title>"))
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	})
	mux.HandleFunc("/announced", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(source.MaxDownloadBytes+1))
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/zipped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(raw)
		_ = z.Close()
	})
	// Less than a MiB that unpacks to more than the limit.
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	if err != nil {
		tb.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range source.MaxDownloadBytes>>20 + 1 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		_, _ = w.Write(raw[:50])
	})
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	return server
}

func TestLoadURL(t *testing.T) {
	raw := goodTorrents(t)["Multi"]
	server := newWebServer(t, raw)
	want, err := source.ParseTorrent(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/ok.torrent", "/redirect/5", "/zipped"} {
		spec, err := source.Loader{}.Load(t.Context(), server.URL+path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if spec.InfoHash != want.InfoHash {
			t.Errorf("%s: got %s, want %s", path, spec.InfoHash, want.InfoHash)
		}
	}
	for _, c := range []struct {
		path string
		is   error
		says string
	}{
		{"/missing", weir.ErrNotFound, "404"},
		{"/broken", nil, "500"},
		{"/redirect/6", weir.ErrInvalid, "more than 5 redirects"},
		{"/tofile", weir.ErrHostile, "neither http nor https"},
		{"/tobadmagnet", weir.ErrInvalid, "bad magnet"},
		{"/page", weir.ErrInvalid, "is a web page, not a torrent"},
		{"/announced", weir.ErrInvalid, "more than 67108864 bytes"},
		{"/bomb", weir.ErrInvalid, "more than 67108864 bytes"},
		{"/cut", nil, "unexpected EOF"},
	} {
		spec, err := source.Loader{}.Load(t.Context(), server.URL+c.path)
		if err == nil {
			t.Errorf("%s was taken: %+v", c.path, spec)
			continue
		}
		if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %q does not wrap %v or say %q", c.path, err, c.is, c.says)
		}
		if !strings.Contains(err.Error(), server.URL+c.path) {
			t.Errorf("%s: error %q does not name the URL", c.path, err)
		}
	}
	t.Run("PasswordNotShown", func(t *testing.T) {
		_, err := source.Loader{}.Load(t.Context(), strings.Replace(server.URL, "://", "://user:secret@", 1)+"/missing")
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("NobodyThere", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		if _, err := (source.Loader{}).Load(t.Context(), server.URL+"/x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v, want connection refused", err)
		}
	})
}

// TestLoadURLOfMagnet: a link of a page may lead to a magnet.
func TestLoadURLOfMagnet(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	magnet := plain + "&dn=a film&tr=http%3A%2F%2Fa.example%2Fann"
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", magnet)
		w.WriteHeader(http.StatusSeeOther)
	})
	mux.HandleFunc("/far", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/redirect", http.StatusFound) })
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(" " + magnet + "\r\n")) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(magnet + strings.Repeat("x", source.MaxMagnetBytes)))
	})
	for _, path := range []string{"/redirect", "/far", "/text"} {
		spec, err := source.Loader{}.Load(t.Context(), server.URL+path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if spec.InfoHash.String() != hexHash || spec.Name != "a film" || len(spec.Trackers) != 1 || spec.Info != nil {
			t.Errorf("%s: %+v", path, spec)
		}
	}
	if _, err := (source.Loader{}).Load(t.Context(), server.URL+"/long"); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("a long text: %v", err)
	}
}

// TestLoadCompressed has all that servers do to a .torrent, and bombs.
func TestLoadCompressed(t *testing.T) {
	raw := goodTorrents(t)["Multi"]
	want, err := source.ParseTorrent(raw)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(b []byte, open func(io.Writer) io.WriteCloser) []byte {
		var out bytes.Buffer
		w := open(&out)
		_, err := w.Write(b)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	gz := func(b []byte) []byte {
		return pack(b, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}
	zl := func(b []byte) []byte {
		return pack(b, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	}
	fl := func(b []byte) []byte {
		return pack(b, func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, flate.BestSpeed); return z })
	}
	// A flushed block of zeros can stand any number of times in a row. To compress all
	// of them would take minutes under the race detector.
	var block bytes.Buffer
	w, _ := flate.NewWriter(&block, flate.BestSpeed)
	_, err = w.Write(make([]byte, 1<<20))
	if err := errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat(block.Bytes(), source.MaxDownloadBytes>>20+1)
	gzBomb := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), bomb...)
	zlBomb := append([]byte("\x78\x9c"), bomb...)
	for name, c := range map[string]struct {
		encoding string
		body     []byte
		says     string // "" for one that is taken
	}{
		"Gzip":         {"gzip", gz(raw), ""},
		"XGzip":        {"x-gzip", gz(raw), ""},
		"Zlib":         {"deflate", zl(raw), ""},
		"Deflate":      {"Deflate", fl(raw), ""},
		"Identity":     {"identity", raw, ""},
		"Both":         {"deflate, x-gzip", gz(zl(raw)), ""},
		"NotSaid":      {"", gz(raw), ""},
		"ZlibNotSaid":  {"", zl(raw), ""},
		"GzipOfGzip":   {"gzip", gz(gz(raw)), ""},
		"NotGzip":      {"x-gzip", raw, "unpack"},
		"NotDeflate":   {"deflate", []byte("\xff\xff\xff"), "unpack"},
		"Brotli":       {"br", raw, "nobody asked for"},
		"Often":        {"deflate, deflate, deflate, deflate", raw, "4 times"},
		"Cut":          {"x-gzip", gz(raw)[:40], "unpack"},
		"GzipBomb":     {"x-gzip", gzBomb, "more than 67108864 bytes"},
		"DeflateBomb":  {"deflate", bomb, "more than 67108864 bytes"},
		"ZlibBomb":     {"deflate", zlBomb, "more than 67108864 bytes"},
		"BombNotSaid":  {"", zlBomb, "more than 67108864 bytes"},
		"BombInPacket": {"x-gzip", gz(gzBomb), "more than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.encoding != "" {
					w.Header().Set("Content-Encoding", c.encoding)
				}
				_, _ = w.Write(c.body)
			}))
			defer server.Close()
			spec, err := source.Loader{}.Load(t.Context(), server.URL)
			switch {
			case c.says == "" && (err != nil || spec.InfoHash != want.InfoHash):
				t.Errorf("%+v, %v", spec, err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

// TestLoadMagnetFetchesNothing: xs and as are where anybody who makes a link could
// send our requests.
func TestLoadMagnetFetchesNothing(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	at := url.QueryEscape(server.URL + "/x.torrent")
	spec, err := source.Loader{}.Load(t.Context(), plain+"&xs="+at+"&as="+at+"&xs.1="+at+"&tr="+at+"&ws="+at+"&mt="+at)
	if err != nil {
		t.Fatal(err)
	}
	server.Close() // waits for requests that are under way
	if n := asked.Load(); n > 0 {
		t.Errorf("reading a magnet sent %d requests", n)
	}
	if len(spec.Trackers) != 1 || len(spec.WebSeeds) != 1 {
		t.Errorf("spec %+v: xs or as became a tracker or a web seed", spec)
	}
}

// TestLoadFoundURL: what stands in a file leads to the internet only.
func TestLoadFoundURL(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	for _, at := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		_, err := source.Loader{Found: true}.Load(t.Context(), at+"/announce")
		if err == nil || !strings.Contains(err.Error(), "--allow-private") || asked.Load() != 0 {
			t.Errorf("%s: %v, asked %d times", at, err, asked.Load())
		}
	}
	if _, err := (source.Loader{Found: true, AllowPrivate: true}).Load(t.Context(), server.URL+"/x"); !errors.Is(err, weir.ErrNotFound) || asked.Load() != 1 {
		t.Errorf("allowed: %v, asked %d times", err, asked.Load())
	}
}

func TestLoadURLContextCanceled(t *testing.T) {
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done() // until the client goes away
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := source.Loader{}.Load(ctx, server.URL)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
