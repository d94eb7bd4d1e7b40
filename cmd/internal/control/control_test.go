package control_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMount notes what it is asked and fails with err, if that is set.
type fakeMount struct {
	err    error
	asked  []string
	limits api.Limits
	events chan api.Event
}

func (m *fakeMount) note(format string, args ...any) error {
	m.asked = append(m.asked, fmt.Sprintf(format, args...))
	return m.err
}

func (m *fakeMount) Server() api.Server      { return api.Server{Version: "1.2", PID: 7} }
func (m *fakeMount) Torrents() []api.Torrent { return []api.Torrent{{Path: "a/b", SizeBytes: 9}} }
func (m *fakeMount) Torrent(id string) (api.TorrentDetails, error) {
	return api.TorrentDetails{Name: id}, m.note("torrent %q", id)
}
func (m *fakeMount) SetSharing(id string, c api.SharingChange) (api.Sharing, error) {
	return api.Sharing{Ratio: *c.Ratio}, m.note("set %q", id)
}
func (m *fakeMount) Add(_ context.Context, source, into string) (api.Added, error) {
	return api.Added{Path: into}, m.note("add %q %q", source, into)
}
func (m *fakeMount) Serve(_ context.Context, files string, r api.ServeRequest, into string) (api.Added, error) {
	return api.Added{Path: into}, m.note("serve %q %q %x %q", files, r.Torrent, r.Missing, into)
}
func (m *fakeMount) AddFile(_ context.Context, content []byte, into string) (api.Added, error) {
	return api.Added{Path: into}, m.note("add file %q %q", content, into)
}
func (m *fakeMount) Remove(_ context.Context, id string, keep bool) error {
	return m.note("remove %q %v", id, keep)
}
func (m *fakeMount) Move(_ context.Context, from, to string) (string, error) {
	return to, m.note("move %q %q", from, to)
}
func (m *fakeMount) Handles() []api.Handle { return nil }
func (m *fakeMount) Waits() []api.Wait     { return []api.Wait{{Path: "w"}} }
func (m *fakeMount) Status(_ context.Context, path string) (api.PathStatus, error) {
	return api.PathStatus{Path: path}, m.note("status %q", path)
}
func (m *fakeMount) Limits() api.Limits { return m.limits }
func (m *fakeMount) SetLimits(c api.LimitsChange) (api.Limits, error) {
	if c.UploadRate != nil {
		m.limits.UploadRate = *c.UploadRate
	}
	if c.DownloadRate != nil {
		m.limits.DownloadRate = *c.DownloadRate
	}
	return m.limits, m.err
}
func (m *fakeMount) Fetch(ctx context.Context, path string, progress func(api.Progress)) error {
	if path == "early" {
		return m.note("fetch %q", path)
	}
	progress(api.Progress{HaveBytes: 1, TotalBytes: 2})
	if path == "forever" {
		<-ctx.Done()
		return ctx.Err()
	}
	progress(api.Progress{HaveBytes: 2, TotalBytes: 2})
	return m.note("fetch %q", path)
}
func (m *fakeMount) Pin(_ context.Context, path string) (api.Kept, error) {
	return api.Kept{Bytes: 1, Pending: 4}, m.note("pin %q", path)
}
func (m *fakeMount) Unpin(_ context.Context, path string) (int64, error) {
	return 2, m.note("unpin %q", path)
}
func (m *fakeMount) Evict(_ context.Context, path string) (int64, error) {
	return 3, m.note("evict %q", path)
}
func (m *fakeMount) Events(ctx context.Context) <-chan api.Event {
	out := make(chan api.Event)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-m.events:
				out <- e
			}
		}
	}()
	return out
}

// serve answers for m on a socket.
func serve(t *testing.T, m control.Mount) (*api.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	s := control.New(control.Options{Socket: socket, Mount: m})
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(socket)
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return c, socket
}

// TestCalls makes every call of the client, with paths that hold anything.
func TestCalls(t *testing.T) {
	m := &fakeMount{}
	c, _ := serve(t, m)
	ctx := t.Context()
	const odd = "a b/ü%2F?&#+/\xff..x"
	for _, call := range []struct {
		want string
		do   func() error
	}{
		{`torrent "a b/ü%2F?&#+/\xff..x"`, func() error { _, err := c.Torrent(ctx, odd); return err }},
		{`add "magnet:?x&y" "a b/ü%2F?&#+/\xff..x"`, func() error { _, err := c.Add(ctx, "magnet:?x&y", odd); return err }},
		{`add file "d4:info" ""`, func() error { _, err := c.AddFile(ctx, []byte("d4:info"), ""); return err }},
		{`serve "/a b/ü%2F?&#+/\xff..x" "d4:info\xff" 05 "x"`, func() error {
			_, err := c.Serve(ctx, "/"+odd, api.ServeRequest{Torrent: []byte("d4:info\xff"), Missing: []byte{5}}, "x")
			return err
		}},
		{`remove "a b/ü%2F?&#+/\xff..x" false`, func() error { return c.Remove(ctx, odd, false) }},
		{`remove "x" true`, func() error { return c.Remove(ctx, "x", true) }},
		{`move "x" "a b/ü%2F?&#+/\xff..x"`, func() error { _, err := c.Move(ctx, "x", odd); return err }},
		{`status "a b/ü%2F?&#+/\xff..x"`, func() error { _, err := c.Status(ctx, odd); return err }},
		{`fetch ""`, func() error { return c.Fetch(ctx, "", func(api.Progress) {}) }},
		{`pin "x"`, func() error { _, err := c.Pin(ctx, "/x/"); return err }},
		{`unpin "x"`, func() error { _, err := c.Unpin(ctx, "x"); return err }},
		{`evict "x"`, func() error { _, err := c.Evict(ctx, "x"); return err }},
	} {
		m.asked = nil
		if err := call.do(); err != nil || !slices.Equal(m.asked, []string{call.want}) {
			t.Errorf("%s: asked %q, %v", call.want, m.asked, err)
		}
	}
	if s, err := c.Server(ctx); err != nil || s.Version != "1.2" || s.PID != 7 {
		t.Errorf("Server: %+v, %v", s, err)
	}
	if list, err := c.Torrents(ctx); err != nil || len(list) != 1 || list[0].Path != "a/b" {
		t.Errorf("Torrents: %+v, %v", list, err)
	}
	if list, err := c.Handles(ctx); err != nil || len(list) != 0 {
		t.Errorf("Handles: %+v, %v", list, err)
	}
	if list, err := c.Waits(ctx); err != nil || len(list) != 1 {
		t.Errorf("Waits: %+v, %v", list, err)
	}
	rate := int64(5)
	if l, err := c.SetLimits(ctx, api.LimitsChange{DownloadRate: &rate}); err != nil || l != (api.Limits{DownloadRate: 5}) {
		t.Errorf("SetLimits: %+v, %v", l, err)
	}
	if l, err := c.Limits(ctx); err != nil || l.DownloadRate != 5 {
		t.Errorf("Limits: %+v, %v", l, err)
	}
}

// TestErrors come through as what they were.
func TestErrors(t *testing.T) {
	m := &fakeMount{}
	c, _ := serve(t, m)
	for _, sentinel := range []error{
		weir.ErrInvalid, weir.ErrHostile, weir.ErrNotFound, weir.ErrExists, weir.ErrRemoved, weir.ErrClosed, weir.ErrCorrupt,
		weir.ErrInUse, weir.ErrNoSpace, weir.ErrRefused, context.DeadlineExceeded, context.Canceled,
	} {
		m.err = fmt.Errorf("try another: %w", sentinel)
		for name, err := range map[string]error{
			"Remove":     c.Remove(t.Context(), "x", false),
			"FetchEarly": c.Fetch(t.Context(), "early", func(api.Progress) {}),
			"FetchLate":  c.Fetch(t.Context(), "late", func(api.Progress) {}),
		} {
			if !errors.Is(err, sentinel) || err.Error() != weir.ErrorText(m.err) {
				t.Errorf("%s: %v, want %s", name, err, weir.ErrorText(m.err))
			}
		}
	}
	m.err = errors.New("something else")
	if err := c.Remove(t.Context(), "x", false); err == nil || err.Error() != "something else" {
		t.Errorf("an error without a kind: %v", err)
	}
}

// TestRefuses what is not of the API.
func TestRefuses(t *testing.T) {
	_, socket := serve(t, &fakeMount{})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/", "", 200},
		{"GET", "/", "", 404},
		{"GET", "/v2/torrents", "", 404},
		{"PUT", "/v1/torrents", "{}", 404},
		{"POST", "/v1/torrents", `{"sauce":"x"}`, 400},
		{"POST", "/v1/torrents", `no JSON`, 400},
		{"POST", "/v1/torrents", `{"source":"` + strings.Repeat("x", 2<<20) + `"}`, 400},
		{"DELETE", "/v1/torrents/x?keep_cache=perhaps", "", 400},
		{"POST", "/v1/evict", "", 400}, // not everything, just because the path was forgotten
		{"POST", "/v1/evict?path=", "", 200},
		{"POST", "/v1/move?from=x", "", 400},
		{"POST", "/v1/fetch", "", 400},
		{"GET", "/v1/status", "", 400},
		{"PATCH", "/v1/limits", `{"upload_rate":"fast"}`, 400},
		{"PATCH", "/v1/limits", `{"upload_rate":1} {"upload_rate":2}`, 400}, // one of them was not meant
		{"POST", "/v1/evict?path=%zz&path=", "", 400},                       // nor was all, instead of what can't be read
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, "http://weir"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s %s: %v", r.method, r.path, err)
		}
		resp.Body.Close()
		if resp.StatusCode != r.status {
			t.Errorf("%s %s: status %d, want %d", r.method, r.path, resp.StatusCode, r.status)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: content type %q", r.method, r.path, got)
		}
	}
}

// TestStreams end with their client, and with the server.
func TestStreams(t *testing.T) {
	m := &fakeMount{events: make(chan api.Event)}
	socket := filepath.Join(t.TempDir(), "s")
	s := control.New(control.Options{Socket: socket, Mount: m})
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(socket)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	heard := make(chan api.Event, 1)
	go func() {
		ended <- c.Events(ctx, func(e api.Event) error { heard <- e; return nil })
	}()
	m.events <- api.Event{Kind: api.EventAdded, Path: "x"}
	if e := <-heard; e.Kind != api.EventAdded || e.Path != "x" {
		t.Errorf("heard %+v", e)
	}
	begun := make(chan struct{}, 1)
	go func() { ended <- c.Fetch(ctx, "forever", func(api.Progress) { begun <- struct{}{} }) }()
	<-begun
	cancel()
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a stream ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a stream goes on without its client")
		}
	}
	go func() { ended <- c.Fetch(t.Context(), "forever", func(api.Progress) { begun <- struct{}{} }) }()
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a fetch ended well though the server closed")
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// TestSocket is ours alone, replaces a stale one, and leaves a live one.
func TestSocket(t *testing.T) {
	c, socket := serve(t, &fakeMount{})
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	second := control.New(control.Options{Socket: socket, Mount: &fakeMount{}})
	if err := second.Open(); !errors.Is(err, weir.ErrInUse) {
		t.Errorf("open where a weir answers: %v, want ErrInUse", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Server(t.Context()); err != nil {
		t.Errorf("the first one after that: %v", err)
	}

	stale := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if err := api.NewClient(stale).Do(t.Context(), http.MethodGet, "/", nil, nil); err == nil || !strings.Contains(err.Error(), "mount again") {
		t.Errorf("ask where nobody listens: %v", err)
	}
	third := control.New(control.Options{Socket: stale, Mount: &fakeMount{}})
	if err := third.Open(); err != nil {
		t.Errorf("replace a stale socket: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketPath(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 100))
	for name, test := range map[string]struct{ runtime, cache, in string }{
		"Runtime":     {dir, filepath.Join(dir, "c"), filepath.Join(dir, "weir")},
		"Cache":       {"", filepath.Join(dir, "c"), filepath.Join(dir, "c", "control")},
		"RuntimeLong": {long, filepath.Join(dir, "c"), filepath.Join(dir, "c", "control")},
		"BothLong":    {long, long, filepath.Join(os.TempDir(), fmt.Sprintf("weir-%d", os.Geteuid()))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", test.runtime)
			path, err := control.SocketPath("/mnt/a", test.cache)
			if err != nil || filepath.Dir(path) != test.in {
				t.Errorf("%q, %v; want it in %s", path, err, test.in)
			}
			other, err := control.SocketPath("/mnt/b", test.cache)
			if err != nil || other == path {
				t.Errorf("two mounts have the socket %q, %v", path, err)
			}
		})
	}
}
