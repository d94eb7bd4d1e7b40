package gateway

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/fs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTorrent has its content in memory; what is not held never comes.
type fakeTorrent struct {
	info   *weir.TorrentInfo
	data   []byte
	known  bool
	opened atomic.Int32 // files opened so far
	open   atomic.Int32 // files open now

	mu   sync.Mutex
	held int64 // bytes from the beginning that are held
	wait chan struct{}
}

func newFake(name string, files map[string]int) *fakeTorrent {
	info := &weir.TorrentInfo{InfoHash: sha1.Sum([]byte(name)), Name: name, PieceLength: 64 << 10, Created: time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)}
	var names []string
	for f := range files {
		names = append(names, f)
	}
	slices.Sort(names)
	for _, f := range names {
		n := int64(files[f])
		info.Files = append(info.Files, weir.FileInfo{Path: strings.Split(f, "/"), Offset: info.Length, Length: n})
		info.Length += n
	}
	t := &fakeTorrent{info: info, data: make([]byte, info.Length), known: true, held: info.Length, wait: make(chan struct{})}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(t.data)
	return t
}

func (t *fakeTorrent) content(path string) []byte {
	for _, f := range t.info.Files {
		if strings.Join(f.Path, "/") == path {
			return t.data[f.Offset : f.Offset+f.Length]
		}
	}
	panic("no file " + path)
}

func (t *fakeTorrent) hold(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = n
	close(t.wait)
	t.wait = make(chan struct{})
}

func (t *fakeTorrent) has(end int64) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return end <= t.held, t.wait
}

func (t *fakeTorrent) InfoHash() weir.InfoHash { return t.info.InfoHash }
func (t *fakeTorrent) Added() time.Time        { return t.info.Created }

func (t *fakeTorrent) Outline() (fs.Outline, bool) {
	return fs.Outline{Length: t.info.Length, Files: len(t.info.Files), Created: t.info.Created}, t.known
}

func (t *fakeTorrent) Info() *weir.TorrentInfo {
	if !t.known {
		return nil
	}
	return t.info
}

func (t *fakeTorrent) WaitInfo(ctx context.Context) (*weir.TorrentInfo, error) {
	if t.known {
		return t.info, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (t *fakeTorrent) HeldBytes(r weir.Range) int64 { return r.Len() }
func (t *fakeTorrent) Status(weir.Range) fs.Status  { return fs.Status{} }

func (t *fakeTorrent) OpenFile(index int, _ fs.Opener) (fs.File, error) {
	t.opened.Add(1)
	t.open.Add(1)
	return &fakeFile{t, t.info.Files[index].Offset}, nil
}

type fakeFile struct {
	t   *fakeTorrent
	off int64
}

func (f *fakeFile) View(off int64, n int, use func([]byte)) (*weir.Miss, error) {
	at := f.off + off
	if ok, _ := f.t.has(at + int64(n)); !ok {
		return &weir.Miss{}, nil
	}
	use(f.t.data[at : at+int64(n)])
	return nil, nil
}

func (f *fakeFile) Fetch(ctx context.Context, _ *weir.Miss, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeFile) Ahead() int64 { return 0 }
func (f *fakeFile) Close() error { f.t.open.Add(-1); return nil }

// serve shows torrents and returns the server's address, without a slash at the end.
func serve(t *testing.T, o Options, torrents ...*fakeTorrent) (url string, tree *fs.FS) {
	t.Helper()
	tree = fs.New(fs.Options{ReadTimeout: o.ReadTimeout})
	for _, tor := range torrents {
		if _, err := tree.Add(tor.info.Name, tor); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Start(); err != nil {
		t.Fatal(err)
	}
	o.Addr, o.Tree = "127.0.0.1:0", tree.Paths()
	s := New(o)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), tree.Close()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return fmt.Sprintf("http://%s", s.Addr()), tree
}

// ask sends a request with headers "Key: value" and returns the answer with its body.
func ask(t *testing.T, method, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		if key == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(key, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp, b
}

const oddName = "a #?%+&é;\\ b.mkv"

func film(t *testing.T) *fakeTorrent {
	t.Helper()
	return newFake("film", map[string]int{oddName: 300_000, "sub/empty.txt": 0, "sub/x.html": 1000, "sub/unknown.zzz9": 10})
}

// TestRanges asks for parts of a file in the ways that RFC 9110 has, by path and by info hash.
func TestRanges(t *testing.T) {
	tor := film(t)
	base, _ := serve(t, Options{}, tor)
	want := tor.content(oddName)
	path := escapePath("film/" + oddName)
	byHash := "/t/" + tor.info.InfoHash.String() + "/" + escapePath(oddName)
	tag := fmt.Sprintf(`"%s-0"`, tor.info.InfoHash)
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		from    int
		to      int
	}{
		{"whole", nil, 200, 0, len(want)},
		{"first", []string{"Range: bytes=0-0"}, 206, 0, 1},
		{"middle", []string{"Range: bytes=65530-131080"}, 206, 65530, 131081},
		{"open", []string{"Range: bytes=299000-"}, 206, 299000, len(want)},
		{"suffix", []string{"Range: bytes=-10"}, 206, len(want) - 10, len(want)},
		{"beyond the end", []string{"Range: bytes=299999-400000"}, 206, 299999, len(want)},
		{"same version", []string{"Range: bytes=5-9", "If-Range: " + tag}, 206, 5, 10},
		{"other version", []string{"Range: bytes=5-9", `If-Range: "other"`}, 200, 0, len(want)},
	} {
		for _, at := range []string{"/f/" + path, byHash} {
			resp, b := ask(t, "GET", base+at, c.headers...)
			if resp.StatusCode != c.status || !bytes.Equal(b, want[c.from:c.to]) {
				t.Errorf("%s of %s: status %d, %d bytes, right %v", c.name, at, resp.StatusCode, len(b), bytes.Equal(b, want[c.from:c.to]))
			}
			if got := resp.Header.Get("ETag"); got != tag {
				t.Errorf("%s: ETag %s, want %s", c.name, got, tag)
			}
			if got := resp.Header.Get("Content-Type"); got != "video/x-matroska" {
				t.Errorf("%s: type %s", c.name, got)
			}
		}
	}
	if resp, _ := ask(t, "GET", base+"/f/"+path, "Range: bytes=300000-"); resp.StatusCode != 416 || resp.Header.Get("Content-Range") != "bytes */300000" {
		t.Errorf("a range beyond the end: %d, %q", resp.StatusCode, resp.Header.Get("Content-Range"))
	}
	if resp, _ := ask(t, "GET", base+"/f/"+path, "If-None-Match: "+tag); resp.StatusCode != 304 {
		t.Errorf("of the same version: %d", resp.StatusCode)
	}
	resp, b := ask(t, "GET", base+"/f/"+path, "Range: bytes=0-9,100000-100009")
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || resp.StatusCode != 206 {
		t.Fatalf("two ranges: %d, %v", resp.StatusCode, err)
	}
	parts := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for _, r := range [][]byte{want[:10], want[100000:100010]} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(p); !bytes.Equal(got, r) {
			t.Error("wrong bytes in a part")
		}
	}
	if tor.open.Load() != 0 {
		t.Errorf("%d files are still open", tor.open.Load())
	}
}

// TestNothingIsFetched: HEAD, listings, PROPFIND and playlists open no file.
func TestNothingIsFetched(t *testing.T) {
	tor := film(t)
	tor.hold(0)
	base, _ := serve(t, Options{}, tor)
	resp, b := ask(t, "HEAD", base+"/f/"+escapePath("film/"+oddName))
	if resp.StatusCode != 200 || resp.ContentLength != 300_000 || len(b) != 0 {
		t.Errorf("HEAD: %d, %d bytes long", resp.StatusCode, resp.ContentLength)
	}
	for _, path := range []string{"/", "/f/", "/f/film/", "/f/film/sub/", "/playlist/film.m3u8", "/t/" + tor.info.InfoHash.String() + "/"} {
		if resp, _ := ask(t, "GET", base+path); resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if resp, _ := ask(t, "PROPFIND", base+"/dav/film/sub/", "Depth: 1"); resp.StatusCode != 207 {
		t.Errorf("PROPFIND: %d", resp.StatusCode)
	}
	if n := tor.opened.Load(); n != 0 {
		t.Errorf("%d files were opened", n)
	}
}

// TestListing reads listings as pages and as JSON, and follows every link of a page.
func TestListing(t *testing.T) {
	tor := film(t)
	base, tree := serve(t, Options{}, tor)
	if err := tree.MakeFolder("empty/inside"); err != nil {
		t.Fatal(err)
	}
	var list struct {
		Path  string
		Items []item
	}
	get := func(path string) {
		t.Helper()
		resp, b := ask(t, "GET", base+path, "Accept: application/json")
		if err := json.Unmarshal(b, &list); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
	}
	get("/")
	if len(list.Items) != 2 || list.Items[0].Name != "film" || list.Items[0].InfoHash != tor.info.InfoHash.String() || list.Items[1].InfoHash != "" {
		t.Errorf("the root lists %+v", list.Items)
	}
	seen := 0
	var walk func(path string)
	walk = func(path string) {
		resp, b := ask(t, "GET", base+path, "Accept: text/html")
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
			return
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || path != "/" && !strings.HasSuffix(path, "/") {
			seen++
			return
		}
		for _, line := range strings.Split(string(b), "\n") {
			if _, href, ok := strings.Cut(line, `<td dir="auto"><a href="`); ok {
				href, _, _ = strings.Cut(href, `"`)
				to, err := resp.Request.URL.Parse(htmlUnescape(href))
				if err != nil {
					t.Fatal(err)
				}
				walk(to.EscapedPath())
			}
		}
	}
	walk("/")
	if seen != 4 {
		t.Errorf("the links of the pages lead to %d files of 4", seen)
	}
	if resp, _ := ask(t, "GET", base+"/f/film"); resp.StatusCode != 308 || resp.Header.Get("Location") != "/f/film/" {
		t.Errorf("a folder without a slash: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func htmlUnescape(s string) string {
	return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`, "&#39;", "'").Replace(s)
}

// TestDeadline: a read whose bytes don't come is an answer with the reason, and one that fails
// on the way breaks the connection.
func TestDeadline(t *testing.T) {
	tor := film(t)
	tor.hold(100_000)
	base, _ := serve(t, Options{ReadTimeout: 50 * time.Millisecond, Reason: func(weir.InfoHash) string { return "no peer is known" }}, tor)
	url := base + "/f/" + escapePath("film/"+oddName)
	resp, b := ask(t, "GET", url, "Range: bytes=200000-200009")
	if resp.StatusCode != 504 || !strings.Contains(string(b), "no peer is known") || resp.Header.Get("ETag") != "" {
		t.Errorf("a read that can't be answered: %d, %q", resp.StatusCode, b)
	}
	full, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Body.Close()
	got, err := io.ReadAll(full.Body)
	if full.StatusCode != 200 || err == nil || len(got) > 100_000 || !bytes.Equal(got, tor.content(oddName)[:len(got)]) {
		t.Errorf("a read that fails on the way: %d, %d bytes, %v", full.StatusCode, len(got), err)
	}
}

// TestGoneClient: when a client goes away its read ends and its file is closed.
func TestGoneClient(t *testing.T) {
	tor := film(t)
	tor.hold(0)
	base, tree := serve(t, Options{ReadTimeout: time.Hour}, tor)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/f/"+escapePath("film/"+oddName), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "player/1.0 (test)")
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	waitFor(t, "the file to be open", func() bool { return tor.open.Load() == 1 })
	if hs := tree.Handles(); len(hs) != 1 || hs[0].Program != "player at 127.0.0.1" {
		t.Errorf("open files: %+v", hs)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
	waitFor(t, "the file to be closed", func() bool { return tor.open.Load() == 0 })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// TestErrors asks for what is not there, was removed, or can't be known yet.
func TestErrors(t *testing.T) {
	tor, magnet := film(t), newFake("magnet", map[string]int{"a": 1})
	magnet.known = false
	base, _ := serve(t, Options{ReadTimeout: 100 * time.Millisecond}, tor, magnet)
	for path, status := range map[string]int{
		"/nothing": 404, "/f/nothing": 404, "/f/film/nothing": 404, "/t/zz/": 404, "/t/" + strings.Repeat("0", 40) + "/": 404,
		"/f/magnet/a": 504, "/f/magnet/": 504, "/playlist/film": 404, "/playlist/nothing.m3u8": 404,
		"/f/film/sub/empty.txt": 200, "/f/film/sub/empty.txt/": 308, "/f/../../etc/passwd": 307, "/f/film/%2e%2e/%2e%2e/etc/passwd": 404,
	} {
		if resp, b := ask(t, "GET", base+path); resp.StatusCode != status {
			t.Errorf("%s: %d instead of %d: %.200s", path, resp.StatusCode, status, b)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if resp, _ := ask(t, method, base+"/f/film/sub/x.html"); resp.StatusCode != 405 {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

// TestContentIsNobodysPage: what a torrent brings can't act as a page of weir's.
func TestContentIsNobodysPage(t *testing.T) {
	tor := film(t)
	base, _ := serve(t, Options{}, tor)
	resp, _ := ask(t, "GET", base+"/f/film/sub/x.html")
	h := resp.Header
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.HasSuffix(csp, "; sandbox") {
		t.Errorf("policy %q", csp)
	}
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", h)
	}
	resp, _ = ask(t, "GET", base+"/f/"+escapePath("film/"+oddName)+"?download")
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || params["filename"] != oddName {
		t.Errorf("download as %q: %v", resp.Header.Get("Content-Disposition"), err)
	}
}

// TestStrangeHosts: a web page whose name leads here is refused.
func TestStrangeHosts(t *testing.T) {
	base, _ := serve(t, Options{Names: []string{"films.example"}}, film(t))
	for host, status := range map[string]int{"evil.example": 403, "films.example": 200, "localhost:1": 200, "192.0.2.1": 403} {
		if resp, _ := ask(t, "GET", base+"/", "Host: "+host); resp.StatusCode != status {
			t.Errorf("asked as %s: %d instead of %d", host, resp.StatusCode, status)
		}
	}
}

// TestToken lets in who knows the token, in each way to say it, and nobody else.
func TestToken(t *testing.T) {
	base, _ := serve(t, Options{Token: "secret"}, film(t))
	for _, c := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/", nil, 401},
		{"/style.css", nil, 401},
		{"/dav/", nil, 401},
		{"/?token=wrong", nil, 401},
		{"/?token=", nil, 401},
		{"/", []string{"Cookie: token=wrong"}, 401},
		{"/", []string{"Authorization: Bearer secre"}, 401},
		{"/", []string{"Authorization: Basic bm9ib2R5Og=="}, 401},
		{"/?token=secret", nil, 200},
		{"/", []string{"Cookie: token=secret"}, 200},
		{"/", []string{"Authorization: Bearer secret"}, 200},
		{"/", []string{"Authorization: Basic bm9ib2R5OnNlY3JldA=="}, 200},
		{"/?token=secret", []string{"Accept: text/html"}, 303},
	} {
		resp, _ := ask(t, "GET", base+c.path, c.headers...)
		if resp.StatusCode != c.status {
			t.Errorf("%s %q: %d instead of %d", c.path, c.headers, resp.StatusCode, c.status)
		}
		if c.status == 303 {
			cookie := resp.Header.Get("Set-Cookie")
			if resp.Header.Get("Location") != "/" || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
				t.Errorf("to %q with cookie %q", resp.Header.Get("Location"), cookie)
			}
		}
	}
}

// TestTokenFile makes a token once, for the owner alone.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	first, err := Token(file)
	if err != nil || len(first) < 20 {
		t.Fatalf("token %q, %v", first, err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if again, err := Token(file); err != nil || again != first {
		t.Errorf("then %q, %v", again, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Token(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token that others can read: %v", err)
	}
}

// TestPlaylist lists what a player can play.
func TestPlaylist(t *testing.T) {
	tor := newFake("show", map[string]int{"s1/e1.mkv": 1, "s1/e2 #.mp4": 1, "s1/e2.srt": 1, "a.txt": 1, "music/x\ny.flac": 1})
	base, _ := serve(t, Options{}, tor, newFake("other", map[string]int{"b.txt": 1}))
	resp, b := ask(t, "GET", base+"/playlist/show.m3u8")
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if resp.StatusCode != 200 || len(lines) != 7 || lines[0] != "#EXTM3U" {
		t.Fatalf("%d:\n%s", resp.StatusCode, b)
	}
	for i := 2; i < len(lines); i += 2 {
		if resp, _ := ask(t, "GET", lines[i]); resp.StatusCode != 200 || !strings.HasPrefix(lines[i-1], "#EXTINF:-1,") {
			t.Errorf("%s: %d", lines[i], resp.StatusCode)
		}
	}
	if _, all := ask(t, "GET", base+"/playlist/all.m3u8"); !bytes.Equal(all, b) {
		t.Errorf("the root's playlist is\n%s", all)
	}
}

// TestDAV asks as clients of WebDAV do.
func TestDAV(t *testing.T) {
	tor := film(t)
	base, _ := serve(t, Options{}, tor)
	resp, b := ask(t, "PROPFIND", base+"/dav/film/", "Depth: 1")
	var list struct {
		Responses []struct {
			Href  string `xml:"href"`
			Props []struct {
				Status string `xml:"status"`
				Length int64  `xml:"prop>getcontentlength"`
				Type   string `xml:"prop>getcontenttype"`
				ETag   string `xml:"prop>getetag"`
			} `xml:"propstat"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal(b, &list); err != nil || resp.StatusCode != 207 || len(list.Responses) != 3 {
		t.Fatalf("%d, %v:\n%s", resp.StatusCode, err, b)
	}
	found := false
	for _, r := range list.Responses {
		if p := r.Props[0]; p.Length == 300_000 {
			found = p.Type == "video/x-matroska" && strings.HasPrefix(p.ETag, `"`+tor.info.InfoHash.String())
			if resp, got := ask(t, "GET", base+r.Href); resp.StatusCode != 200 || !bytes.Equal(got, tor.content(oddName)) {
				t.Errorf("GET %s: %d, %d bytes", r.Href, resp.StatusCode, len(got))
			}
		}
	}
	if !found {
		t.Errorf("the film is not listed with its length, type and version:\n%s", b)
	}
	for _, c := range []struct {
		method, path, depth string
		status              int
	}{
		{"PROPFIND", "/dav/film/", "infinity", 403},
		{"PROPFIND", "/dav/film/", "", 403},
		{"PROPFIND", "/dav/film/" + escapePath(oddName), "0", 207},
		{"PROPFIND", "/dav/nothing", "0", 404},
		{"OPTIONS", "/dav/", "", 200},
		{"GET", "/dav/film/", "", 308},
		{"PUT", "/dav/x", "", 405},
		{"LOCK", "/dav/film/", "", 405},
		{"DELETE", "/dav/film/", "", 405},
		{"MKCOL", "/dav/x/", "", 405},
		{"PROPPATCH", "/dav/film/", "", 405},
	} {
		if resp, b := ask(t, c.method, base+c.path, "Depth: "+c.depth); resp.StatusCode != c.status {
			t.Errorf("%s %s: %d instead of %d: %.300s", c.method, c.path, resp.StatusCode, c.status, b)
		}
	}
}

// TestTLS serves with a certificate, over HTTP/2; one that can't be read is an error.
func TestTLS(t *testing.T) {
	authority := weirtest.NewAuthority(t)
	cert, key := authority.Certificate(t, "127.0.0.1")
	dir := t.TempDir()
	o := Options{Addr: "127.0.0.1:0", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Token: "x", Tree: fs.New(fs.Options{}).Paths()}
	if err := New(o).Open(); err == nil || !strings.Contains(err.Error(), o.Cert) {
		t.Errorf("a certificate that is not there: %v", err)
	}
	if err := errors.Join(os.WriteFile(o.Cert, cert, 0o600), os.WriteFile(o.Key, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := New(o)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ca, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer client.CloseIdleConnections()
	r, err := http.NewRequest("GET", s.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !strings.Contains(resp.Header.Get("Set-Cookie"), "Secure") {
		t.Errorf("%s: status %d, HTTP/%d, cookie %q", s.URL(), resp.StatusCode, resp.ProtoMajor, resp.Header.Get("Set-Cookie"))
	}
}
