package webseed

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// content is a file of n bytes that tells its places apart.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// client returns a Client that may ask this machine.
func client(t *testing.T) *Client {
	t.Helper()
	pool := netrule.NewPool(netrule.PoolOptions{Rule: netrule.Rule{AllowPrivate: true}, PerHost: 4, TLS: &tls.Config{InsecureSkipVerify: true}})
	t.Cleanup(pool.Close)
	return NewClient(pool, "weir/test")
}

func fetch(t *testing.T, c *Client, at string, asked Asked) ([]byte, Result, error) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	got := &sink{left: int(asked.Range.Len()), step: 64 << 10}
	res, err := c.Get(t.Context(), Request{URL: u, Asked: asked}, got)
	return got.got, res, err
}

// sink keeps a body, in steps.
type sink struct {
	left, step int
	got, next  []byte
	filled     func() error
}

func (s *sink) Next() []byte {
	s.next = make([]byte, min(s.left, s.step))
	return s.next
}

func (s *sink) Filled() error {
	s.got, s.left = append(s.got, s.next...), s.left-len(s.next)
	if s.filled != nil {
		return s.filled()
	}
	return nil
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestClientAnswers(t *testing.T) {
	file := content(300 << 10)
	asked := Asked{weir.Range{Off: 100 << 10, End: 200 << 10}, int64(len(file))}
	want := file[asked.Range.Off:asked.Range.End]
	ranged := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}
	partHead := func(w http.ResponseWriter, length int) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", asked.Range.Off, asked.Range.End-1, asked.Length))
		if length >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(length))
		}
		w.WriteHeader(http.StatusPartialContent)
	}
	for _, tt := range []struct {
		name    string
		h       http.HandlerFunc
		verdict Verdict
		whole   bool  // all bytes came
		err     error // of its kind
	}{
		{"Part", ranged, Take, true, nil},
		{"Whole", func(w http.ResponseWriter, r *http.Request) { w.Write(file) }, Take, true, nil},
		{"Chunked", func(w http.ResponseWriter, r *http.Request) {
			partHead(w, -1)
			for b := range bytes.Lines(want) {
				w.Write(b)
				w.(http.Flusher).Flush()
			}
		}, Take, true, nil},
		{"Closing", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close"); ranged(w, r) }, Take, true, nil},
		{"Long", func(w http.ResponseWriter, r *http.Request) {
			partHead(w, len(want)+10)
			w.Write(append(want[:len(want):len(want)], "0123456789"...))
		}, Take, true, nil},
		{"LongChunked", func(w http.ResponseWriter, r *http.Request) {
			partHead(w, -1)
			for w.(http.Flusher).Flush(); ; {
				if _, err := w.Write(want); err != nil {
					return // the client has gone
				}
			}
		}, Take, true, nil},
		{"Short", func(w http.ResponseWriter, r *http.Request) { partHead(w, len(want)); w.Write(want[:5000]) }, Take, false, &BodyError{}},
		{"ShortChunked", func(w http.ResponseWriter, r *http.Request) { partHead(w, -1); w.Write(want[:5000]) }, Take, false, &BodyError{}},
		{"Broken", func(w http.ResponseWriter, r *http.Request) {
			partHead(w, len(want))
			w.Write(want[:5000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Take, false, &BodyError{}},
		{"Stalled", func(w http.ResponseWriter, r *http.Request) {
			partHead(w, len(want))
			w.Write(want[:5000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Take, false, &BodyError{}},
		{"Gone", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410); w.Write(file) }, Missing, false, nil},
		{"Loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, FailFile, false, nil},
		{"Elsewhere", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "ftp://h/x")
			w.WriteHeader(302)
		}, Malformed, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Range") != "bytes=102400-204799" {
					t.Errorf("request %v", r.Header)
				}
				tt.h(w, r)
			})
			c := client(t)
			if tt.name == "Stalled" {
				c.stall = 100 * time.Millisecond
			}
			got, res, err := fetch(t, c, s.URL+"/file", asked)
			if res.Verdict != tt.verdict {
				t.Errorf("verdict %d, want %d", res.Verdict, tt.verdict)
			}
			if tt.whole && !bytes.Equal(got, want) || !bytes.HasPrefix(want, got) {
				t.Errorf("%d bytes that are not those asked for", len(got))
			}
			var body *BodyError
			if errors.As(err, &body) != (tt.err != nil) || tt.err == nil && err != nil {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("the error names the server: %v", err)
			}
		})
	}
}

// A large file that the server sends whole is not read.
func TestClientAborts(t *testing.T) {
	gone := make(chan int64, 1)
	const length = 1 << 30
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(length))
		sent, b := int64(0), make([]byte, 64<<10)
		for sent < length {
			n, err := w.Write(b)
			if sent += int64(n); err != nil {
				break
			}
		}
		gone <- sent
	})
	got, res, err := fetch(t, client(t), s.URL, Asked{weir.Range{Off: length / 2, End: length/2 + 100}, length})
	if err != nil || res.Verdict != NoRanges || len(got) != 0 {
		t.Fatalf("%+v, %d bytes, %v", res, len(got), err)
	}
	if sent := <-gone; sent > length/8 { // what fits into the sockets' buffers
		t.Errorf("%d bytes were sent until it saw", sent)
	}
}

// User and password go along to another path of the same host.
func TestClientPassword(t *testing.T) {
	file := content(100)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "me" || password != "s:cret" {
			w.WriteHeader(http.StatusUnauthorized)
		} else if r.URL.Path == "/here" {
			http.Redirect(w, r, "/there", http.StatusMovedPermanently)
		} else {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}
	})
	at := strings.Replace(s.URL, "http://", "http://me:s%3Acret@", 1)
	got, res, err := fetch(t, client(t), at+"/here", Asked{weir.Range{Off: 10, End: 20}, 100})
	if err != nil || !bytes.Equal(got, file[10:20]) {
		t.Errorf("%q, %+v, %v", got, res, err)
	}
	if res.Location != s.URL+"/there" {
		t.Errorf("remembered %q", res.Location)
	}
}

func TestClientFollows(t *testing.T) {
	file := content(1000)
	var nodeAuth string
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		nodeAuth = r.Header.Get("Authorization")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	})
	for status, lasting := range map[int]bool{301: true, 302: true, 303: false, 307: true, 308: true} {
		front := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, node.URL+"/a%2Bb", status) })
		at := strings.Replace(front.URL, "http://", "http://me:secret@", 1)
		got, res, err := fetch(t, client(t), at, Asked{weir.Range{Off: 10, End: 20}, 1000})
		if err != nil || !bytes.Equal(got, file[10:20]) {
			t.Fatalf("%d: %q, %v", status, got, err)
		}
		if want := map[bool]string{true: node.URL + "/a%2Bb"}[lasting]; res.Location != want {
			t.Errorf("%d: remembered %q, want %q", status, res.Location, want)
		}
		if nodeAuth != "" {
			t.Errorf("%d: the password went to another host", status)
		}
	}
}

func TestClientInside(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("asked") })
	pool := netrule.NewPool(netrule.PoolOptions{})
	defer pool.Close()
	_, _, err := fetch(t, NewClient(pool, "weir"), s.URL, Asked{weir.Range{End: 1}, 1})
	if !errors.Is(err, netrule.ErrInside) {
		t.Errorf("error %v", err)
	}
}

// Requests one after another share a connection, also after a 404 and a whole small file.
func TestClientKeepsConnections(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%v", http2), func(t *testing.T) {
			file := content(1000)
			var mu sync.Mutex
			conns, protos := 0, map[int]bool{}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				protos[r.ProtoMajor] = true
				mu.Unlock()
				switch r.URL.Path {
				case "/missing":
					http.NotFound(w, r)
				case "/whole":
					w.Write(file)
				default:
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
				}
			}))
			s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
				if st == http.StateNew {
					mu.Lock()
					conns++
					mu.Unlock()
				}
			}
			if s.EnableHTTP2 = http2; http2 {
				s.StartTLS()
			} else {
				s.Start()
			}
			defer s.Close()
			c := client(t)
			for i, path := range []string{"/part", "/missing", "/whole", "/part", "/missing", "/whole"} {
				_, res, err := fetch(t, c, s.URL+path, Asked{weir.Range{Off: 100, End: 200}, 1000})
				if err != nil || res.Multi != http2 {
					t.Fatalf("%d: %+v, %v", i, res, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if conns != 1 || !protos[1+map[bool]int{true: 1}[http2]] {
				t.Errorf("%d connections, protocols %v", conns, protos)
			}
		})
	}
}

// A server of HTTP/1.0 without lengths, which ends an answer with the connection.
func TestClientOldServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.0 206 Partial\r\nContent-Range: bytes 5-9/20\r\n\r\n56789")
			}
			conn.Close()
		}
	}()
	got, _, err := fetch(t, client(t), "http://"+l.Addr().String(), Asked{weir.Range{Off: 5, End: 10}, 20})
	if err != nil || string(got) != "56789" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestClientEnds(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-99/100")
		w.WriteHeader(206)
		w.Write(make([]byte, 50))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	u, _ := url.Parse(s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := client(t).Get(ctx, Request{URL: u, Asked: Asked{weir.Range{End: 100}, 100}}, &sink{left: 100, step: 10, filled: func() error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	stop := errors.New("enough")
	if _, err := client(t).Get(t.Context(), Request{URL: u, Asked: Asked{weir.Range{End: 100}, 100}}, &sink{left: 100, step: 10, filled: func() error { return stop }}); err != stop {
		t.Errorf("error %v, want the sink's", err)
	}
}
