package gateway

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.New("").ParseFS(assets, "assets/*.html"))

// style sends the style sheet of the pages.
func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeFileFS(w, r, assets, "assets/style.css")
}

// item is one line of a listing, as JSON and on the page.
type item struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"` // file or folder
	Href     string    `json:"href"` // relative to the listing
	Bytes    int64     `json:"bytes,omitempty"`
	Held     int64     `json:"held,omitempty"` // of these, held locally
	Modified time.Time `json:"modified"`
	InfoHash string    `json:"infohash,omitempty"` // of a torrent's folder
}

// Folder reports whether the item is a folder.
func (i item) Folder() bool { return i.Type == "folder" }

// Size is the file's length for people.
func (i item) Size() string { return humanize.IBytes(uint64(i.Bytes)) }

// Share is how much of the file is held, in percent.
func (i item) Share() int {
	if i.Bytes == 0 {
		return 100
	}
	return int(100 * float64(i.Held) / float64(i.Bytes))
}

// Shown is the name without control characters that would change how the page reads.
func (i item) Shown() string { return weir.Printable(i.Name) }

// list sends what is in a folder: JSON if the client prefers it, else a page.
func (c *content) list(w http.ResponseWriter, r *http.Request, dir fs.Node) {
	ctx, cancel := context.WithTimeout(r.Context(), c.readTimeout)
	defer cancel()
	nodes, err := c.tree.List(ctx, dir)
	if err != nil {
		c.fail(w, r, dir, err)
		return
	}
	items := make([]item, 0, len(nodes))
	for _, n := range nodes {
		items = append(items, itemOf(n, dir))
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", "no-store")
	if prefersJSON(r.Header.Get("Accept")) {
		h.Set("Content-Type", "application/json")
		if r.Method == http.MethodHead {
			return
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(struct {
			Path     string    `json:"path"`
			Modified time.Time `json:"modified"`
			Items    []item    `json:"items"`
		}{dir.Path, dir.Time.UTC(), items})
		return
	}
	slices.SortStableFunc(items, func(a, b item) int {
		if a.Folder() != b.Folder() {
			if a.Folder() {
				return -1
			}
			return 1
		}
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	h.Set("Content-Type", "text/html; charset=utf-8")
	if r.Method == http.MethodHead {
		return
	}
	playlist := ""
	if slices.ContainsFunc(nodes, func(n fs.Node) bool { return !n.Folder && isMedia(n.Name()) }) {
		playlist = playlistHref(dir.Path)
	}
	title := weir.Printable(dir.Path)
	if err := pages.ExecuteTemplate(w, "listing.html", struct {
		Title    string
		Crumbs   []crumb
		Items    []item
		Playlist string
	}{cmp.Or(title, "weir"), crumbsOf(dir.Path), items, playlist}); err != nil {
		c.log.Debug("send a listing", "err", err)
	}
}

func itemOf(n, dir fs.Node) item {
	i := item{Name: n.Name(), Type: "file", Bytes: n.Length, Held: n.Held, Modified: n.Time.UTC()}
	i.Href = "./" + url.PathEscape(i.Name) // without ./ a name with a colon would be a scheme
	if dir.Path == "" {
		i.Href = "/f/" + url.PathEscape(i.Name) // the root is also at /
	}
	if n.Folder {
		i.Type, i.Href = "folder", i.Href+"/"
	}
	if n.Folder && n.Torrent != dir.Torrent {
		i.InfoHash = n.Torrent.String()
	}
	return i
}

// crumb is one folder on the way to a folder.
type crumb struct{ Name, Href string }

func crumbsOf(path string) []crumb {
	if path == "" {
		return nil
	}
	href := "/f/"
	var all []crumb
	for name := range strings.SplitSeq(path, "/") {
		href += url.PathEscape(name) + "/"
		all = append(all, crumb{weir.Printable(name), href})
	}
	return all
}

// escapePath escapes each name of a path for a URL.
func escapePath(path string) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		names[i] = url.PathEscape(name)
	}
	return strings.Join(names, "/")
}

// prefersJSON reports whether an Accept header names JSON before HTML.
func prefersJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "application/json", "text/json":
			return true
		case "text/html", "application/xhtml+xml":
			return false
		}
	}
	return false
}
