package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// content answers requests for what is in the tree.
type content struct {
	tree        Tree
	reason      func(ih weir.InfoHash) string
	readTimeout time.Duration
	log         *slog.Logger
}

func (c *content) byPath(w http.ResponseWriter, r *http.Request) {
	n, err := c.tree.Find(r.Context(), strings.TrimSuffix(r.PathValue("path"), "/"))
	c.answer(w, r, n, err)
}

func (c *content) byHash(w http.ResponseWriter, r *http.Request) {
	ih, err := weir.ParseInfoHash(r.PathValue("hash"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	n, err := c.tree.InTorrent(r.Context(), ih, strings.TrimSuffix(r.PathValue("path"), "/"))
	c.answer(w, r, n, err)
}

// answer sends what was found. A folder's address ends with a slash and a file's does
// not: links in listings are relative.
func (c *content) answer(w http.ResponseWriter, r *http.Request, n fs.Node, err error) {
	slash := strings.HasSuffix(r.URL.Path, "/")
	switch {
	case err != nil:
		c.fail(w, r, n, err)
	case n.Folder && !slash:
		redirect(w, r, r.URL.EscapedPath()+"/")
	case !n.Folder && slash:
		redirect(w, r, strings.TrimRight(r.URL.EscapedPath(), "/"))
	case n.Folder:
		c.list(w, r, n)
	default:
		c.file(w, r, n)
	}
}

// redirect sends a client to another path of this server, with the query that it had. A path
// that began with two slashes would be another host's address.
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	to := "/" + strings.TrimLeft(path, "/")
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusPermanentRedirect)
}

// fail answers with an error, as text, with its reason.
func (c *content) fail(w http.ResponseWriter, r *http.Request, n fs.Node, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody listens
	}
	status, text := http.StatusBadGateway, err.Error()
	switch {
	case errors.Is(err, weir.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, weir.ErrRemoved):
		status, text = http.StatusGone, "the torrent was removed"
	case errors.Is(err, weir.ErrRefused):
		status = http.StatusForbidden
	case errors.Is(err, weir.ErrClosed):
		status, text = http.StatusServiceUnavailable, "weir is ending"
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
		text = fmt.Sprintf("the bytes have not arrived within %s", c.readTimeout)
		if n.Torrent == (weir.InfoHash{}) {
			text = err.Error()
		}
		if why := c.reason(n.Torrent); why != "" {
			text += ": " + why
		}
	}
	h := w.Header()
	for _, key := range []string{"ETag", "Last-Modified", "Content-Range", "Content-Length", "Content-Disposition", "Cache-Control"} {
		h.Del(key)
	}
	http.Error(w, text, status)
}

// etag is the strong validator of a file: a torrent's content never changes.
func etag(n fs.Node) string { return fmt.Sprintf(`"%s-%d"`, n.Torrent, n.File) }

// file sends a file or ranges of it.
func (c *content) file(w http.ResponseWriter, r *http.Request, n fs.Node) {
	name := n.Name()
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("ETag", etag(n))
	h.Set("Cache-Control", "private, no-cache") // it may be kept, but who asks again must be let in again
	if r.URL.Query().Has("download") {
		h.Set("Content-Disposition", attachment(name))
	}
	if r.Method == http.MethodHead {
		http.ServeContent(w, r, name, n.Time, &body{length: n.Length})
		return
	}
	open, err := c.tree.Open(n, fs.Opener{Program: clientOf(r)})
	if err != nil {
		c.fail(w, r, n, err)
		return
	}
	defer open.Close()
	b := &body{ctx: r.Context(), file: open, length: n.Length, timeout: c.readTimeout}
	answer := &answer{ResponseWriter: w, body: b, control: http.NewResponseController(w), fail: func(w http.ResponseWriter, err error) { c.fail(w, r, n, err) }}
	http.ServeContent(answer, r, name, n.Time, b)
	if answer.err != nil && !answer.failed {
		// The header is sent and promises more bytes: only a broken connection tells the client.
		panic(http.ErrAbortHandler)
	}
}

// attachment is the Content-Disposition of a download.
func attachment(name string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment; filename*=UTF-8''" + url.PathEscape(name)
}

// clientOf names who asked, for lists of open files.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	agent, _, _ := strings.Cut(r.UserAgent(), " ")
	agent, _, _ = strings.Cut(agent, "/")
	return weir.Printable(fmt.Sprintf("%.32s at %s", cmp.Or(agent, "HTTP"), host))
}

// body is a file as http.ServeContent reads it.
type body struct {
	ctx     context.Context
	file    *fs.OpenFile // nil: only the length is asked for
	length  int64
	timeout time.Duration

	off   int64
	ahead []byte // bytes at off that were read already
}

func (b *body) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += b.off
	case io.SeekEnd:
		off += b.length
	}
	if off < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if off != b.off {
		b.ahead = nil
	}
	b.off = off
	return off, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.off >= b.length {
		return 0, io.EOF
	}
	if len(b.ahead) > 0 {
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		b.off += int64(n)
		return n, nil
	}
	p = p[:min(int64(len(p)), b.length-b.off)]
	ctx, cancel := context.WithTimeout(b.ctx, b.timeout)
	defer cancel()
	if err := b.file.ReadAt(ctx, p, b.off); err != nil {
		return 0, err
	}
	b.off += int64(len(p))
	return len(p), nil
}

// firstBytes is how much of an answer is read before its header is sent, so that a read that
// fails becomes a status. It is little: the first bytes shall leave soon.
const firstBytes = 4 << 10

// begin reads the first bytes at the current offset.
func (b *body) begin() error {
	n := min(firstBytes, b.length-b.off)
	if n <= 0 {
		return nil
	}
	first := make([]byte, n)
	off := b.off
	if _, err := io.ReadFull(b, first); err != nil {
		return err
	}
	b.off, b.ahead = off, first
	return nil
}

// answer is the response to a GET of a file.
type answer struct {
	http.ResponseWriter
	body    *body
	control *http.ResponseController
	fail    func(w http.ResponseWriter, err error)

	failed bool  // an error was answered instead
	err    error // of reading or writing
}

// WriteHeader sends the header once the first bytes are there. For several ranges it does not
// know where the first begins, and sends it at once.
func (a *answer) WriteHeader(status int) {
	single := !strings.HasPrefix(a.Header().Get("Content-Type"), "multipart/")
	if single && (status == http.StatusOK || status == http.StatusPartialContent) {
		if a.err = a.body.begin(); a.err != nil {
			a.failed = true
			a.fail(a.ResponseWriter, a.err)
			return
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.failed {
		return 0, a.err
	}
	a.allow()
	n, err := a.ResponseWriter.Write(p)
	if err != nil {
		a.err = err
	}
	return n, err
}

// allow gives the client stallTimeout for the next write.
func (a *answer) allow() { _ = a.control.SetWriteDeadline(time.Now().Add(stallTimeout)) }

// chunks are the buffers of answers. A client that takes its bytes slowly keeps one.
var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

const chunkBytes = 64 << 10

// ReadFrom sends what src reads, which is how http.ServeContent sends a range.
func (a *answer) ReadFrom(src io.Reader) (total int64, err error) {
	if a.failed {
		return 0, a.err
	}
	chunk := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(chunk)
	for {
		n, err := src.Read(chunk[:])
		if n > 0 {
			a.allow()
			sent, err := a.ResponseWriter.Write(chunk[:n])
			total += int64(sent)
			if err != nil {
				a.err = err
				return total, err
			}
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			a.err = err
			return total, err
		}
	}
}
