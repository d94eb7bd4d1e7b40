package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// answering returns a client of a socket at which h answers.
func answering(tb testing.TB, h http.HandlerFunc) (*api.Client, string) {
	tb.Helper()
	socket := filepath.Join(tb.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener = l
	s.Start()
	tb.Cleanup(s.Close)
	c := api.NewClient(socket)
	tb.Cleanup(c.Close)
	return c, socket
}

// TestRequests: what each call puts on the wire, by docs/api.md.
func TestRequests(t *testing.T) {
	var got string
	c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), body))
		fmt.Fprintln(w, `{"path":"a","bytes":7,"infohash":"00"}`)
	})
	ctx := t.Context()
	up := int64(5)
	for want, call := range map[string]func() error{
		"GET /v1/":                    func() error { _, err := c.Server(ctx); return err },
		"GET /v1/torrents":            func() error { _, err := c.Torrents(ctx); return err },
		"GET /v1/torrents/a/b%3F%20c": func() error { _, err := c.Torrent(ctx, "a/b? c"); return err },
		`POST /v1/torrents?into=f%2Fg application/json {"source":"magnet:?x"}`: func() error { _, err := c.Add(ctx, "magnet:?x", "f/g"); return err },
		"POST /v1/torrents?into= " + api.TorrentType + " d4:":                  func() error { _, err := c.AddFile(ctx, []byte("d4:"), ""); return err },
		`POST /v1/serve?files=%2Fa%26b&into=f application/json {"torrent":"ZA==","missing":"BQ=="}`: func() error {
			_, err := c.Serve(ctx, "/a&b", api.ServeRequest{Torrent: []byte("d"), Missing: []byte{5}}, "f")
			return err
		},
		`PATCH /v1/torrents/a/b application/json {"upload_rate":5}`: func() error { _, err := c.SetSharing(ctx, "a/b", api.SharingChange{UploadRate: &up}); return err },
		"DELETE /v1/torrents/x":                               func() error { return c.Remove(ctx, "x", false) },
		"DELETE /v1/torrents/x?keep_cache=true":               func() error { return c.Remove(ctx, "x", true) },
		"POST /v1/move?from=a%26b&to=c%3Dd":                   func() error { _, err := c.Move(ctx, "a&b", "c=d"); return err },
		"GET /v1/handles":                                     func() error { _, err := c.Handles(ctx); return err },
		"GET /v1/waits":                                       func() error { _, err := c.Waits(ctx); return err },
		"GET /v1/status?path=a%2Fb":                           func() error { _, err := c.Status(ctx, "a/b"); return err },
		"GET /v1/limits":                                      func() error { _, err := c.Limits(ctx); return err },
		`PATCH /v1/limits application/json {"upload_rate":5}`: func() error { _, err := c.SetLimits(ctx, api.LimitsChange{UploadRate: &up}); return err },
		"POST /v1/pin?path=": func() error {
			k, err := c.Pin(ctx, "")
			if k.Bytes != 7 {
				return fmt.Errorf("kept %d", k.Bytes)
			}
			return err
		},
		"POST /v1/unpin?path=p": func() error { _, err := c.Unpin(ctx, "p"); return err },
		"POST /v1/evict?path=p": func() error { _, err := c.Evict(ctx, "p"); return err },
		"POST /v1/fetch?path=p": func() error { return c.Fetch(ctx, "p", func(api.Progress) {}) },
		"GET /v1/events":        func() error { return c.Events(ctx, func(api.Event) error { return nil }) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}

// TestAnswers: errors keep what they mean over the socket, and what is no answer of
// weir's is said to be none.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		is     error
		text   string
	}{
		"NotFound":     {404, `{"error":{"kind":"not_found","message":"no such thing"}}`, weir.ErrNotFound, "no such thing"},
		"UnknownKind":  {418, `{"error":{"kind":"tea","message":"short and stout"}}`, nil, "short and stout"},
		"NoJSON":       {502, "<html>", nil, "is it of another version?"},
		"NoError":      {500, `{"message":"x"}`, nil, "is it of another version?"},
		"NoJSONIn200":  {200, "oops", nil, "read weir's answer"},
		"WrongJSON":    {200, `{"upload_rate":"x"}`, nil, "read weir's answer"},
		"HalfAnAnswer": {200, `{"upload_rate":`, nil, "read weir's answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			_, err := c.Limits(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.text) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v, want %q", err, test.text)
			}
		})
	}
}

// TestStreamed: each line as it comes; an end in mid-line is told from the end, and
// so are the caller's own error, and its context's.
func TestStreamed(t *testing.T) {
	const lines = `{"have_bytes":1,"total_bytes":3}` + "\n" + `{"have_bytes":3,"total_bytes":3}` + "\n"
	mine := errors.New("enough")
	for name, test := range map[string]struct {
		tail string
		stop bool
		want string
		seen int64
	}{
		"Whole":   {"", false, "", 3},
		"Cut":     {`{"have_by`, false, "weir ended while it answered", 3},
		"Error":   {`{"error":{"kind":"too_large","message":"no room"}}` + "\n", false, "no room", 3},
		"NoJSON":  {"hm", false, "weir ended while it answered", 3},
		"Wrong":   {`{"have_bytes":"x"}` + "\n", false, "cannot unmarshal", 3},
		"Stopped": {"", true, mine.Error(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, lines+test.tail) })
			var seen int64
			var err error
			if test.stop {
				err = c.Stream(t.Context(), http.MethodPost, "/fetch?path=x", func(text []byte) error {
					var p api.Progress
					_ = json.Unmarshal(text, &p)
					seen = p.HaveBytes
					return mine
				})
			} else {
				err = c.Fetch(t.Context(), "x", func(p api.Progress) { seen = p.HaveBytes })
			}
			if seen != test.seen || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("saw %d, %v, want %d, %q", seen, err, test.seen, test.want)
			}
		})
	}
	t.Run("ContextEnds", func(t *testing.T) {
		gone := make(chan struct{})
		c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, lines)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(gone)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		err := c.Fetch(ctx, "x", func(p api.Progress) {
			if p.HaveBytes == 3 {
				cancel(mine)
			}
		})
		if !errors.Is(err, mine) {
			t.Errorf("%v, want the context's cause", err)
		}
		<-gone // the server was told
	})
}

// TestNobodyThere: each way of there being no weir has its own sentence.
func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for socket, want := range map[string]string{
		filepath.Join(dir, "none"):     "it was removed, or weir has ended; unmount and mount again",
		stale:                          "it has ended; mount again",
		plain:                          "it has ended; mount again", // the kernel refuses, too
		dir + strings.Repeat("/x", 99): "ask weir at",
	} {
		c := api.NewClient(socket)
		if _, err := c.Server(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), socket) || strings.Contains(err.Error(), "http://weir") {
			t.Errorf("%s: %v, want %q", socket, err, want)
		}
		c.Close()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("no more time")
	cancel(mine)
	c := api.NewClient(stale)
	defer c.Close()
	if _, err := c.Server(ctx); !errors.Is(err, mine) {
		t.Errorf("%v, want the context's cause", err)
	}
}

// TestCacheRequests: what each call about the cache puts on the wire, and the last line of
// a verification.
func TestCacheRequests(t *testing.T) {
	var got, body string
	answer := `{"pieces":3,"bytes":7,"limit_bytes":9}` + "\n"
	c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Method+" "+r.RequestURI, strings.TrimSpace(string(b))
		fmt.Fprint(w, answer)
	})
	ctx := t.Context()
	expect := func(what, sent string, err error, right bool) {
		t.Helper()
		if err != nil || got != what || body != sent || !right {
			t.Errorf("asked %q %q, %v, right %v; want %q %q", got, body, err, right, what, sent)
		}
	}
	stat, err := c.CacheStat(ctx)
	expect("GET /v1/cache", "", err, stat.Pieces == 3 && stat.LimitBytes == 9)
	stat, err = c.CacheResize(ctx, 1<<40)
	expect("POST /v1/cache/limit", `{"limit_bytes":1099511627776}`, err, stat.LimitBytes == 9)
	cleared, err := c.CacheClear(ctx)
	expect("POST /v1/cache/clear", "", err, cleared == api.CacheCleared{Pieces: 3, Bytes: 7})

	answer = `{"pieces":1,"total":2}` + "\n" + `{"pieces":2,"total":2,"damaged":1,"dropped":[{"infohash":"ab","piece":1}],"done":true}` + "\n"
	lines := 0
	last, err := c.CacheVerify(ctx, func(api.CacheVerify) { lines++ })
	expect("POST /v1/cache/verify", "", err, lines == 2 && last.Done && len(last.Dropped) == 1)
	answer = `{"pieces":1,"total":2}` + "\n" + `{"error":{"kind":"closed","message":"weir ends"}}` + "\n"
	if _, err := c.CacheVerify(ctx, func(api.CacheVerify) {}); !errors.Is(err, weir.ErrClosed) {
		t.Errorf("%v, want the error of the last line", err)
	}
	answer = `{"pieces":"many"}` + "\n"
	if _, err := c.CacheVerify(ctx, func(api.CacheVerify) { t.Error("progress without figures") }); err == nil {
		t.Error("a line that makes no sense is taken")
	}
}

// TestErrorOf: each kind of error comes out of the socket as it went in, with a status of
// its own kind; one that has none is internal.
func TestErrorOf(t *testing.T) {
	for _, is := range []error{
		weir.ErrHostile, weir.ErrRemoved, weir.ErrNotFound, weir.ErrExists, weir.ErrInUse, weir.ErrNoSpace, weir.ErrRefused, weir.ErrCorrupt,
		weir.ErrClosed, weir.ErrInvalid, context.Canceled, context.DeadlineExceeded,
	} {
		sent, status := api.ErrorOf(fmt.Errorf("open it: %w", is))
		if status < 400 || sent.Message == "" || !errors.Is(sent, is) {
			t.Errorf("%v becomes %d, %+v", is, status, sent)
		}
		if again, same := api.ErrorOf(fmt.Errorf("again: %w", sent)); *again != *sent || same != status {
			t.Errorf("%v passed on becomes %d, %+v", is, same, again)
		}
		for _, other := range []error{weir.ErrNotFound, weir.ErrInvalid} {
			if other != is && errors.Is(sent, other) {
				t.Errorf("%v has become %v, too", is, other)
			}
		}
	}
	for _, err := range []error{errors.New("odd"), &api.Error{Kind: "tea", Message: "odd"}} {
		if sent, status := api.ErrorOf(err); sent.Kind != "internal" || status != http.StatusInternalServerError || sent.Message != "odd" || errors.Unwrap(sent) != nil {
			t.Errorf("%v becomes %d, %+v", err, status, sent)
		}
	}
}
