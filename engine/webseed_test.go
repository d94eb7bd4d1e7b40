package engine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// webServer serves the files of contents, as a web seed beneath "/".
type webServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string]int
	sent     atomic.Int64
	handlers map[string]http.HandlerFunc // by path
}

// countedWriter counts the bytes of bodies.
type countedWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

func openWeb(tb testing.TB, c *swarmtest.Content) *webServer {
	tb.Helper()
	s := &webServer{requests: map[string]int{}, handlers: map[string]http.HandlerFunc{}}
	files := map[string]int{}
	info := c.Info()
	for i, f := range info.Files {
		if f.Padding {
			continue
		}
		path := "/" + info.Name
		if !info.Single {
			path += "/" + strings.Join(f.Path, "/")
		}
		files[path] = i
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.URL.Path]++
		instead := s.handlers[r.URL.Path]
		s.mu.Unlock()
		w = countedWriter{w, &s.sent}
		i, ok := files[r.URL.Path]
		switch {
		case instead != nil:
			instead(w, r)
		case !ok:
			http.NotFound(w, r)
		default:
			http.ServeContent(w, r, "", time.Time{}, c.FileReader(i))
		}
	}))
	tb.Cleanup(s.Close)
	return s
}

// asked returns how often a path was asked for.
func (s *webServer) asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[path]
}

func webSpec(tb testing.TB, c *swarmtest.Content, urls ...string) *source.Spec {
	tb.Helper()
	return parse(tb, c.Torrent(swarmtest.Hints{WebSeeds: urls}), nil)
}

func openWebEngine(tb testing.TB, o engine.Options) *engine.Engine {
	tb.Helper()
	o.WebSeeds, o.AllowPrivate = true, true
	return openEngine(tb, o)
}

func newFolder(tb testing.TB, v swarmtest.Version) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "folder", PieceLength: 64 << 10, Version: v,
		Files: []swarmtest.File{
			{Path: []string{"a b#1%.bin"}, Length: 700_000, Seed: 1}, {Path: []string{"sub", "é?"}, Length: 10, Seed: 2},
			{Path: []string{"empty"}}, {Path: []string{"z"}, Length: 300_001, Seed: 3},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Without any peer, a torrent is read from its web server, of every version.
func TestWebSeedAlone(t *testing.T) {
	for name, c := range map[string]*swarmtest.Content{
		"V1": newFolder(t, swarmtest.V1), "V2": newFolder(t, swarmtest.V2), "Hybrid": newFolder(t, swarmtest.Hybrid),
		"Single": newContent(t, 3<<20+77, 256<<10), "Padded": newPadded(t),
	} {
		t.Run(name, func(t *testing.T) {
			web := openWeb(t, c)
			tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, web.URL+"/"))
			wantFiles(t, tor, c)
			for path := range web.requests {
				if strings.Contains(path, ".pad") {
					t.Errorf("asked for %s", path)
				}
			}
			if sent := web.sent.Load(); sent > c.Info().ContentBytes()*102/100+4096 {
				t.Errorf("%d bytes were sent for %d", sent, c.Info().ContentBytes())
			}
		})
	}
}

// One byte costs a piece.
func TestWebSeedOnePiece(t *testing.T) {
	c := newContent(t, 8<<20, 256<<10)
	web := openWeb(t, c)
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, web.URL+"/"))
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 5<<20+1000, 100)
	if sent := web.sent.Load(); sent != 256<<10 {
		t.Errorf("%d bytes were sent, want one piece", sent)
	}
	if n := web.asked("/content/file.bin"); n != 1 {
		t.Errorf("%d requests for one piece", n)
	}
}

// Peers and a web server give one torrent together.
func TestWebSeedBesidePeers(t *testing.T) {
	c := newContent(t, 16<<20, 256<<10)
	web := openWeb(t, c)
	s := openSeeder(t, c, swarmtest.SeederOptions{Have: func(_ *swarmtest.Content, piece int) bool { return piece%2 == 0 }})
	spec := webSpec(t, c, web.URL+"/")
	spec.Peers = []string{s.Addr()}
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), spec)
	wantBytes(t, testContext(t, 60*time.Second), tor, c, 0, 16<<20)
	if web.sent.Load() == 0 {
		t.Error("nothing came from the web")
	}
}

// A file that has changed at the server spoils no other, and its pieces come from a
// peer.
func TestWebSeedStaleFile(t *testing.T) {
	c := newPadded(t)
	web := openWeb(t, c)
	web.handlers["/padded/c"] = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 12_345)))
	}
	web.handlers["/padded/a"] = func(w http.ResponseWriter, r *http.Request) { // as long as it was
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 20_000)))
	}
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openWebEngine(t, engine.Options{})
	tor := addTorrent(t, e, webSpec(t, c, web.URL+"/"))
	ctx := testContext(t, 30*time.Second)
	for _, i := range []int{2, 6, 8, 9} { // b, d, e, f
		f := c.Info().Files[i]
		wantBytes(t, ctx, tor, c, f.Offset, int(f.Length))
	}
	for _, i := range []int{0, 4} { // a has the right length and wrong bytes, c another length
		start := time.Now()
		if err := tor.ReadAt(ctx, make([]byte, 10), c.Info().Files[i].Offset); !errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("file %d: error %v", i, err)
		} else if !strings.Contains(err.Error(), "another version") {
			t.Errorf("file %d: %v doesn't say why", i, err)
		}
		t.Logf("file %d: known to be stale after %v", i, time.Since(start))
	}
	eventually(t, "the stale files are reported", func() bool { w := tor.Stats().WebSeeds; return len(w) > 0 && slices.Equal(w[0].Stale, []int{0, 4}) })
	if w := tor.Stats().WebSeeds[0]; !strings.Contains(w.Why, "another version") || w.Newer != "" {
		t.Errorf("reported: %+v", w)
	}
	tor.AddPeers([]string{s.Addr()})
	wantFiles(t, tor, c)
}

// Of two web servers one has other bytes in everything: what is read is right, and the
// liar is found out.
func TestWebSeedLies(t *testing.T) {
	c := newFolder(t, swarmtest.V1)
	honest, liar := openWeb(t, c), openWeb(t, c)
	for i, f := range c.Info().Files {
		liar.handlers["/folder/"+strings.Join(f.Path, "/")] = func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, c.Info().Files[i].Length)))
		}
	}
	// Two names of this machine, since one of a host is asked at a time.
	at := strings.Replace(liar.URL, "127.0.0.1", "localhost", 1)
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, honest.URL+"/", at+"/"))
	wantFiles(t, tor, c)
}

// A file that one web server has in another version, and the other one not at all, fails at
// once; what one of them has is read.
func TestWebSeedStaleAndMissing(t *testing.T) {
	c := newPadded(t)
	stale, missing := openWeb(t, c), openWeb(t, c)
	stale.handlers["/padded/c"] = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 12_345)))
	}
	missing.handlers["/padded/c"] = http.NotFound
	stale.handlers["/padded/b"] = http.NotFound
	at := strings.Replace(missing.URL, "127.0.0.1", "localhost", 1)
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, stale.URL+"/", at+"/"))
	ctx := testContext(t, 60*time.Second)
	for _, i := range []int{0, 2, 6, 8, 9} { // all but c
		f := c.Info().Files[i]
		wantBytes(t, ctx, tor, c, f.Offset, int(f.Length))
	}
	if err := tor.ReadAt(ctx, make([]byte, 10), c.Info().Files[4].Offset); !errors.Is(err, weir.ErrCorrupt) || !strings.Contains(err.Error(), "another version") {
		t.Errorf("error %v", err)
	}
}

// What no web server has is given up at once when no peer is known, and what is there
// is read.
func TestWebSeedMissing(t *testing.T) {
	c := newPadded(t)
	one, other := openWeb(t, c), openWeb(t, c)
	one.handlers["/padded/c"], other.handlers["/padded/c"] = http.NotFound, http.NotFound
	at := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, one.URL+"/", at+"/"))
	ctx := testContext(t, 60*time.Second)
	if err := tor.ReadAt(ctx, make([]byte, 10), c.Info().Files[4].Offset); !errors.Is(err, weir.ErrCorrupt) || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v", err)
	}
	if m := tor.Stats().Missed; m == nil || !strings.Contains(m.Why, "404") {
		t.Errorf("missed %+v", m)
	}
	for _, i := range []int{0, 2, 6, 8, 9} { // all but c
		f := c.Info().Files[i]
		wantBytes(t, ctx, tor, c, f.Offset, int(f.Length))
	}
}

func TestWebSeedsOff(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	web := openWeb(t, c)
	for name, o := range map[string]engine.Options{"Off": {AllowPrivate: true}, "Inside": {WebSeeds: true}} {
		t.Run(name, func(t *testing.T) {
			tor := addTorrent(t, openEngine(t, o), webSpec(t, c, web.URL+"/"))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := tor.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			if n := web.asked("/content/file.bin"); n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// What nobody wants any more is not sent to the end.
func TestWebSeedTakesBack(t *testing.T) {
	c := newContent(t, 64<<20, 1<<20)
	web := openWeb(t, c)
	hold := make(chan struct{})
	web.handlers["/content/file.bin"] = func(w http.ResponseWriter, r *http.Request) {
		select { // no byte comes
		case <-hold:
		case <-r.Context().Done():
		}
	}
	tor := addTorrent(t, openWebEngine(t, engine.Options{}), webSpec(t, c, web.URL+"/"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tor.ReadAt(ctx, make([]byte, 10), 0) }()
	eventually(t, "the server is asked", func() bool { return web.asked("/content/file.bin") > 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	web.mu.Lock()
	delete(web.handlers, "/content/file.bin")
	web.mu.Unlock()
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 40<<20, 100)
	close(hold)
}

// No password is logged.
func TestWebSeedPassword(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	web := openWeb(t, c)
	web.handlers["/content/file.bin"] = func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, c.FileReader(0))
	}
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("me", "secret"), "/"
	log := &lockedBuffer{}
	e := openWebEngine(t, engine.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	tor := addTorrent(t, e, webSpec(t, c, u.String()))
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 0, 1<<20)
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log has the password: %s", log.String())
	}
	eventually(t, "the web seed is reported", func() bool { return len(tor.Stats().WebSeeds) > 0 && tor.Stats().WebSeeds[0].Received == 1<<20 })
	if w := tor.Stats().WebSeeds[0]; w.URL != web.URL+"/" || w.State == engine.WebSeedUntried || w.Why != "" {
		t.Errorf("reported: %+v", w)
	}
	if n := tor.Stats().FromWeb; n != 1<<20 {
		t.Errorf("%d bytes from the web", n)
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
