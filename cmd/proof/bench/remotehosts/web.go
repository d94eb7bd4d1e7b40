package remotehosts

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"
)

// ArchivePath is where the hosts' web servers show the same files as at their root,
// but in the way of the Internet Archive: see archive.
const ArchivePath = "/archive/"

// nodePath is where a host gives what another one has redirected to it.
const nodePath = "/node/"

// WebCounts is what the web servers were asked for since Start.
type WebCounts struct {
	Requests int64 // answered with bytes of files
	Bytes    int64 // of bodies
	Padding  int64 // requests for padding
}

// web is the web server of all hosts.
type web struct {
	files http.Dir

	mu   sync.Mutex
	n    WebCounts
	busy map[string]int // refusals of files, by path
}

func (s *web) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.busy = WebCounts{}, map[string]int{}
}

// Web returns what the web servers were asked for since Start.
func (s *Hosts) Web(_ bool, n *WebCounts) error {
	s.web.mu.Lock()
	defer s.web.mu.Unlock()
	*n = s.web.n
	return nil
}

// Web returns what the web servers were asked for since Start.
func (c *Client) Web(ctx context.Context) (n WebCounts, err error) {
	err = c.call(ctx, "Web", true, &n)
	return n, err
}

// ServeHTTP implements http.Handler.
func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, ArchivePath); ok {
		s.archive(w, r, name)
		return
	}
	s.send(w, r, strings.TrimPrefix(r.URL.Path, nodePath))
}

// send answers with a file.
func (s *web) send(w http.ResponseWriter, r *http.Request, name string) {
	f, err := s.files.Open("/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	s.mu.Lock()
	s.n.Requests++
	s.mu.Unlock()
	http.ServeContent(counting{w, s}, r, "", time.Time{}, f)
}

// archive answers as the Internet Archive does: some files are at another server and
// under another spelling of their names, small ones are sent whole whatever is asked,
// the item's own metadata has changed since, a busy server says so twice, and
// padding is nowhere.
func (s *web) archive(w http.ResponseWriter, r *http.Request, name string) {
	switch base := path.Base(name); {
	case strings.Contains(name, "/.pad/"):
		s.mu.Lock()
		s.n.Padding++
		s.mu.Unlock()
		http.NotFound(w, r)
	case strings.HasSuffix(base, "_meta.xml"):
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("<reviewed/>", 300)))
	case strings.HasSuffix(base, ".mp4"):
		node := *r.URL
		node.Scheme, node.Host, node.Path, node.RawPath = "http", neighbour(r.Host), nodePath+name, ""
		http.Redirect(w, r, node.String(), http.StatusFound)
	case strings.HasSuffix(base, ".bin") && s.refused(name) <= 2:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	case strings.HasSuffix(base, ".txt"):
		r.Header.Del("Range")
		s.send(w, r, name)
	default:
		s.send(w, r, name)
	}
}

// refused counts how often a file was asked for.
func (s *web) refused(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[name]++
	return s.busy[name]
}

// neighbour returns the host before one, with its port.
func neighbour(host string) string {
	at, err := netip.ParseAddrPort(host)
	if err != nil {
		return host
	}
	return netip.AddrPortFrom(at.Addr().Prev(), at.Port()).String()
}

// counting counts a body's bytes.
type counting struct {
	http.ResponseWriter
	s *web
}

func (w counting) add(n int64) {
	w.s.mu.Lock()
	w.s.n.Bytes += n
	w.s.mu.Unlock()
}

// Write implements io.Writer.
func (w counting) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, with which the kernel sends files by itself.
func (w counting) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.add(n)
	return n, err
}
