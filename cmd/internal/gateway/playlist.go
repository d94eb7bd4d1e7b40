package gateway

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

const (
	playlistSuffix = ".m3u8"
	maxPlaylist    = 10_000 // files
)

// playlistHref returns the address of the playlist of a folder.
func playlistHref(dir string) string {
	if dir == "" {
		return "/playlist/all" + playlistSuffix
	}
	return "/playlist/" + escapePath(dir) + playlistSuffix
}

// playlist sends the media files in a folder and in those beneath it, in the order of their
// names, as an extended M3U. all.m3u8 is that of the root, if nothing there is called all.
func (c *content) playlist(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), c.readTimeout)
	defer cancel()
	at, ok := strings.CutSuffix(r.PathValue("path"), playlistSuffix)
	if !ok {
		http.Error(w, "a playlist's address ends with "+playlistSuffix, http.StatusNotFound)
		return
	}
	n, err := c.tree.Find(ctx, at)
	if err != nil && at == "all" {
		n, err = c.tree.Find(ctx, "")
	}
	if err != nil {
		c.fail(w, r, n, err)
		return
	}
	files, err := c.media(ctx, n, nil)
	if err != nil {
		c.fail(w, r, n, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apple.mpegurl")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", attachment(path.Base("/"+at)+playlistSuffix))
	if r.Method == http.MethodHead {
		return
	}
	// The token travels on in the addresses if the player knows it from there.
	query := ""
	if token := r.URL.Query().Get(tokenKey); token != "" {
		query = "?" + tokenKey + "=" + token
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	_, _ = fmt.Fprint(w, "#EXTM3U\n")
	for _, f := range files {
		_, _ = fmt.Fprintf(w, "#EXTINF:-1,%s\n%s://%s/f/%s%s\n", title(f), scheme, r.Host, escapePath(f.Path), query)
	}
}

// title is a file's name for a line of a playlist.
func title(f fs.Node) string {
	name := strings.TrimSuffix(f.Name(), path.Ext(f.Name()))
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, weir.Printable(name))
}

// media appends the media files of a folder, or the file itself. A magnet without metadata has
// none.
func (c *content) media(ctx context.Context, n fs.Node, files []fs.Node) ([]fs.Node, error) {
	if !n.Folder {
		if isMedia(n.Name()) && len(files) < maxPlaylist {
			files = append(files, n)
		}
		return files, nil
	}
	nodes, err := c.tree.List(ctx, n)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(nodes, func(a, b fs.Node) int { return strings.Compare(a.Path, b.Path) })
	for _, child := range nodes {
		if child.Folder && !strings.HasPrefix(child.Path, n.Path) {
			continue // a link upward
		}
		sub, err := c.media(ctx, child, files)
		if err != nil && child.Torrent != n.Torrent {
			continue // a torrent whose metadata has not arrived
		}
		if err != nil {
			return nil, err
		}
		files = sub
	}
	return files, nil
}
