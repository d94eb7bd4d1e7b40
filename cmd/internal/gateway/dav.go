package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// dav returns the handler of WebDAV beneath a prefix: class 1, to read only. A PROPFIND
// fetches nothing, and tells of one folder at a time.
func (c *content) dav(prefix string) http.Handler {
	h := &webdav.Handler{Prefix: prefix, FileSystem: davTree{c}, LockSystem: webdav.NewMemLS()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			c.davGet(w, r, strings.TrimPrefix(r.URL.Path, prefix))
		case http.MethodOptions:
			w.Header().Set("Allow", "OPTIONS, GET, HEAD, PROPFIND")
			w.Header().Set("DAV", "1")
			w.Header().Set("MS-Author-Via", "DAV") // Windows asks in another protocol first without it
		case "PROPFIND":
			if depth := r.Header.Get("Depth"); depth != "0" && depth != "1" {
				davError(w, http.StatusForbidden, "propfind-finite-depth") // RFC 4918, 9.1
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("Allow", "OPTIONS, GET, HEAD, PROPFIND")
			http.Error(w, "torrents can only be read", http.StatusMethodNotAllowed)
		}
	})
}

// davError answers with a precondition of RFC 4918.
func davError(w http.ResponseWriter, status int, condition string) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%s<D:error xmlns:D=\"DAV:\"><D:%s/></D:error>\n", xml.Header, condition)
}

// davGet sends a file. A folder has its listing.
func (c *content) davGet(w http.ResponseWriter, r *http.Request, path string) {
	n, err := c.tree.Find(r.Context(), strings.Trim(path, "/"))
	switch {
	case err != nil:
		c.fail(w, r, n, err)
	case n.Folder:
		redirect(w, r, "/f/"+escapePath(n.Path)+"/")
	default:
		c.file(w, r, n)
	}
}

// davTree is the tree as x/net/webdav wants it. What would change it is refused before it gets
// here, but stays refused.
type davTree struct{ c *content }

var _ webdav.FileSystem = davTree{}

func (davTree) Mkdir(context.Context, string, os.FileMode) error { return iofs.ErrPermission }
func (davTree) RemoveAll(context.Context, string) error          { return iofs.ErrPermission }
func (davTree) Rename(context.Context, string, string) error     { return iofs.ErrPermission }

func (t davTree) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	n, err := t.c.tree.Find(ctx, strings.Trim(name, "/"))
	if err != nil {
		return nil, davErrno(err)
	}
	return davInfo{n}, nil
}

func (t davTree) OpenFile(ctx context.Context, name string, _ int, _ os.FileMode) (webdav.File, error) {
	n, err := t.c.tree.Find(ctx, strings.Trim(name, "/"))
	if err != nil {
		return nil, davErrno(err)
	}
	return &davFile{ctx: ctx, c: t.c, n: n}, nil
}

// davErrno returns an error that x/net/webdav turns into the right status.
func davErrno(err error) error {
	if errors.Is(err, weir.ErrNotFound) {
		return iofs.ErrNotExist
	}
	return err
}

// davFile is a file or folder of which properties are asked for. Its content is sent by davGet.
type davFile struct {
	ctx context.Context
	c   *content
	n   fs.Node
}

func (f *davFile) Close() error                   { return nil }
func (f *davFile) Read([]byte) (int, error)       { return 0, iofs.ErrPermission }
func (f *davFile) Seek(int64, int) (int64, error) { return 0, iofs.ErrPermission }
func (f *davFile) Write([]byte) (int, error)      { return 0, iofs.ErrPermission }
func (f *davFile) Stat() (os.FileInfo, error)     { return davInfo{f.n}, nil }

func (f *davFile) Readdir(int) ([]os.FileInfo, error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.c.readTimeout)
	defer cancel()
	nodes, err := f.c.tree.List(ctx, f.n)
	if err != nil {
		return nil, davErrno(err)
	}
	infos := make([]os.FileInfo, 0, len(nodes))
	for _, n := range nodes {
		infos = append(infos, davInfo{n})
	}
	return infos, nil
}

// davInfo describes a node. It knows its type and validator, so that nobody opens it for that.
type davInfo struct{ n fs.Node }

var (
	_ webdav.ContentTyper = davInfo{}
	_ webdav.ETager       = davInfo{}
)

func (i davInfo) Name() string       { return i.n.Name() }
func (i davInfo) Size() int64        { return i.n.Length }
func (i davInfo) ModTime() time.Time { return i.n.Time }
func (i davInfo) IsDir() bool        { return i.n.Folder }
func (i davInfo) Sys() any           { return nil }

func (i davInfo) Mode() os.FileMode {
	if i.n.Folder {
		return os.ModeDir | 0o555
	}
	return 0o444
}

func (i davInfo) ContentType(context.Context) (string, error) {
	return contentType(i.n.Name()), nil
}

func (i davInfo) ETag(context.Context) (string, error) {
	if i.n.Folder {
		return "", webdav.ErrNotImplemented
	}
	return etag(i.n), nil
}
