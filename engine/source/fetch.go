package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

const (
	maxRedirects = 5
	fetchTimeout = 2 * time.Minute // for all of it, at least 560 kB/s for the largest
)

// fetch gets a .torrent from rawURL, which may also be the page of an item. It follows at
// most maxRedirects redirects, to http and https only, and reads at most MaxDownloadBytes
// before and after decompression. If a redirect leads to a magnet, the magnet is the
// answer. It ends with ctx and leaves no connection open.
func (l Loader) fetch(ctx context.Context, rawURL string) ([]byte, error) {
	if len(rawURL) > maxURLBytes {
		return nil, weir.Errorf(weir.ErrInvalid, "the URL has %d bytes (limit %d)", len(rawURL), maxURLBytes)
	}
	if _, ok := usableURL(rawURL, "http", "https"); !ok {
		return nil, weir.Errorf(weir.ErrInvalid, "%s is not a URL; one looks like https://example.org/name.torrent", quote(rawURL))
	}
	rawURL = itemTorrent(rawURL)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redact(rawURL), err)
	}
	req.Header.Set("User-Agent", "weir")
	req.Header.Set("Accept", "application/x-bittorrent, */*;q=0.5")
	trip := &netrule.Trip{Rule: netrule.Rule{AllowPrivate: l.AllowPrivate}, Typed: !l.Found, Proxy: http.ProxyFromEnvironment}
	client := &http.Client{Transport: trip, CheckRedirect: checkRedirect, Timeout: fetchTimeout}
	resp, err := client.Do(req)
	if err != nil {
		var magnet magnetRedirect
		if errors.As(err, &magnet) {
			return []byte(magnet), nil
		}
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // it repeats the URL
		}
		return nil, fmt.Errorf("fetch %s: %w", redact(rawURL), err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return nil, weir.Errorf(weir.ErrNotFound, "fetch %s: the server answers %s: check the address", redact(rawURL), quote(resp.Status))
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetch %s: the server answers %s", redact(rawURL), quote(resp.Status))
	case resp.ContentLength > MaxDownloadBytes:
		return nil, tooLarge(rawURL)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxDownloadBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch %s: %w", redact(rawURL), err)
	case len(b) > MaxDownloadBytes:
		return nil, tooLarge(rawURL)
	}
	b, err = decompress(b, resp.Header.Values("Content-Encoding"))
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(rawURL)
	case err != nil:
		return nil, fmt.Errorf("fetch %s: %w", redact(rawURL), err)
	}
	return b, nil
}

// magnetRedirect is a magnet that a server redirects to.
type magnetRedirect string

func (magnetRedirect) Error() string { return "redirects to a magnet" }

func tooLarge(rawURL string) error {
	return weir.Errorf(weir.ErrInvalid, "fetch %s: more than %d bytes: if it is a torrent, download it and give weir the file",
		redact(rawURL), MaxDownloadBytes)
}

// checkRedirect is asked before each redirect is followed.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Scheme == "magnet":
		return magnetRedirect(req.URL.String())
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return weir.Errorf(weir.ErrHostile, "redirects to %s, which is neither http nor https", quote(req.URL.Redacted()))
	case len(via) > maxRedirects:
		return weir.Errorf(weir.ErrInvalid, "more than %d redirects", maxRedirects)
	}
	return nil
}

// redact returns a URL for messages: without a password and a query, where sites put
// a user's key, and short.
func redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "the URL"
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	s := u.Redacted()
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

// itemTorrent returns the URL of an item's torrent for that of the item's page, at sites
// where one follows from the other: the Internet Archive (details/ITEM and download/ITEM)
// and Academic Torrents (details/HASH). It returns any other URL as it is.
func itemTorrent(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return rawURL
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	item, inside, _ := strings.Cut(rest, "/")
	switch strings.TrimPrefix(strings.ToLower(u.Host), "www.") {
	case "archive.org":
		// A page may show one file of the item; a download of one is that file.
		if isItem(item) && (kind == "details" || kind == "download" && inside == "") {
			return "https://archive.org/download/" + item + "/" + item + "_archive.torrent"
		}
	case "academictorrents.com":
		if ih, err := weir.ParseInfoHash(item); kind == "details" && err == nil {
			return "https://academictorrents.com/download/" + ih.String() + ".torrent"
		}
	}
	return rawURL
}

// isItem reports whether s can be the name of an item of the Internet Archive.
func isItem(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && strings.Trim(s, ".") != ""
}
