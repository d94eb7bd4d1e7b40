package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// TorrentType is the media type of a .torrent file.
const TorrentType = "application/x-bittorrent"

// Server describes the weir that answers.
func (c *Client) Server(ctx context.Context) (s Server, err error) {
	return s, c.Do(ctx, http.MethodGet, "/", nil, &s)
}

// Torrents lists all torrents, in the order in which they were added.
func (c *Client) Torrents(ctx context.Context) ([]Torrent, error) {
	var list Torrents
	err := c.Do(ctx, http.MethodGet, "/torrents", nil, &list)
	return list.Torrents, err
}

// Torrent describes one torrent, named by its info hash or the path of its folder.
func (c *Client) Torrent(ctx context.Context, id string) (d TorrentDetails, err error) {
	return d, c.Do(ctx, http.MethodGet, "/torrents/"+escapePath(id), nil, &d)
}

// Add adds what source names: a magnet, a URL or an info hash.
// into is a folder, made when it is not there; "" is the mount's root.
func (c *Client) Add(ctx context.Context, source, into string) (a Added, err error) {
	return a, c.Do(ctx, http.MethodPost, "/torrents"+query("into", into), AddRequest{source}, &a)
}

// AddFile adds the torrent of a .torrent file's content.
func (c *Client) AddFile(ctx context.Context, content []byte, into string) (a Added, err error) {
	return a, c.send(ctx, http.MethodPost, "/torrents"+query("into", into), TorrentType, bytes.NewReader(content), &a)
}

// Serve adds a torrent whose content lies at an absolute path of this machine, and is served
// in place. Without a torrent it says whether it could.
func (c *Client) Serve(ctx context.Context, files string, r ServeRequest, into string) (a Added, err error) {
	return a, c.Do(ctx, http.MethodPost, "/serve"+query("files", files, "into", into), r, &a)
}

// SetSharing changes how a torrent, named like for Torrent, is given to others, and returns
// what holds then.
func (c *Client) SetSharing(ctx context.Context, id string, change SharingChange) (s Sharing, err error) {
	return s, c.Do(ctx, http.MethodPatch, "/torrents/"+escapePath(id), change, &s)
}

// Remove removes a torrent, named like for Torrent, and with it what is held of
// it, unless keepCache.
func (c *Client) Remove(ctx context.Context, id string, keepCache bool) error {
	path := "/torrents/" + escapePath(id)
	if keepCache {
		path += "?keep_cache=true"
	}
	return c.Do(ctx, http.MethodDelete, path, nil, nil)
}

// Move moves a torrent's folder or a folder of torrents. If to is an existing folder of
// torrents, it moves into that. It returns the new path.
func (c *Client) Move(ctx context.Context, from, to string) (string, error) {
	var m Moved
	err := c.Do(ctx, http.MethodPost, "/move"+query("from", from, "to", to), nil, &m)
	return m.Path, err
}

// Handles lists the open files.
func (c *Client) Handles(ctx context.Context) ([]Handle, error) {
	var list Handles
	err := c.Do(ctx, http.MethodGet, "/handles", nil, &list)
	return list.Handles, err
}

// Waits lists the requests that wait, the longest waiting first.
func (c *Client) Waits(ctx context.Context) ([]Wait, error) {
	var list Waits
	err := c.Do(ctx, http.MethodGet, "/waits", nil, &list)
	return list.Waits, err
}

// Status describes one path.
func (c *Client) Status(ctx context.Context, path string) (s PathStatus, err error) {
	return s, c.Do(ctx, http.MethodGet, "/status"+query("path", path), nil, &s)
}

// Limits returns the limits in force.
func (c *Client) Limits(ctx context.Context) (l Limits, err error) {
	return l, c.Do(ctx, http.MethodGet, "/limits", nil, &l)
}

// SetLimits changes limits and returns those in force then.
func (c *Client) SetLimits(ctx context.Context, change LimitsChange) (l Limits, err error) {
	return l, c.Do(ctx, http.MethodPatch, "/limits", change, &l)
}

// Fetch fetches what is missing of a path, and calls progress a few times a second. It
// returns when everything is held. When ctx ends, so does the fetch.
func (c *Client) Fetch(ctx context.Context, path string, progress func(Progress)) error {
	return c.Stream(ctx, http.MethodPost, "/fetch"+query("path", path), func(text []byte) error {
		var p Progress
		if err := json.Unmarshal(text, &p); err != nil {
			return err
		}
		if p.Error != nil {
			return p.Error
		}
		progress(p)
		return nil
	})
}

// Pin protects a path from eviction, and fetches what is missing when nothing else is
// fetched.
func (c *Client) Pin(ctx context.Context, path string) (k Kept, err error) {
	return k, c.Do(ctx, http.MethodPost, "/pin"+query("path", path), nil, &k)
}

// Unpin undoes Pin.
func (c *Client) Unpin(ctx context.Context, path string) (k Kept, err error) {
	return k, c.Do(ctx, http.MethodPost, "/unpin"+query("path", path), nil, &k)
}

// Evict drops what is held of a path and not pinned.
func (c *Client) Evict(ctx context.Context, path string) (k Kept, err error) {
	return k, c.Do(ctx, http.MethodPost, "/evict"+query("path", path), nil, &k)
}

// Events calls event with each event from now on, until ctx ends or event returns
// an error.
func (c *Client) Events(ctx context.Context, event func(Event) error) error {
	return c.Stream(ctx, http.MethodGet, "/events", func(text []byte) error {
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		return event(e)
	})
}

// query returns the query of keys and values in turn.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

// escapePath makes a path of folders part of a URL's.
func escapePath(p string) string {
	names := strings.Split(p, "/")
	for i, name := range names {
		names[i] = url.PathEscape(name)
	}
	return strings.Join(names, "/")
}
