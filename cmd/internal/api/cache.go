package api

import (
	"context"
	"encoding/json"
	"net/http"
)

// CacheStat describes a cache: GET /v1/cache. Counts begin at the start of the
// weir that has it open.
type CacheStat struct {
	Dir         string `json:"dir"`
	PID         int    `json:"pid"`                  // of the weir that answers
	Mountpoint  string `json:"mountpoint,omitempty"` // of that weir; "" when nothing is mounted
	Pieces      int    `json:"pieces"`
	Bytes       int64  `json:"bytes"`         // in pieces
	Shared      int    `json:"shared_pieces"` // of the pieces, those that another torrent's bytes serve
	SharedBytes int64  `json:"shared_bytes"`  // in these
	Torrents    int    `json:"torrents"`      // that have a piece here
	DiskBytes   int64  `json:"disk_bytes"`    // all of the folder, as du counts
	LimitBytes  int64  `json:"limit_bytes"`
	FreeBytes   int64  `json:"free_bytes"`     // of the disk
	MinFree     int64  `json:"min_free_bytes"` // of the disk, where the cache stops growing
	PinnedBytes int64  `json:"pinned_bytes"`   // reserved by pins, held or not
	Hits        int64  `json:"hits"`           // reads
	Misses      int64  `json:"misses"`
	Evictions   int64  `json:"evicted_pieces"`
	Moves       int64  `json:"moved_pieces"` // written again because they were in use
	Damaged     int64  `json:"damaged_pieces"`
}

// CacheLimit is the body of POST /v1/cache/limit, which answers with a CacheStat.
type CacheLimit struct {
	LimitBytes int64 `json:"limit_bytes"`
}

// CacheCleared is the answer to POST /v1/cache/clear.
type CacheCleared struct {
	Pieces int   `json:"pieces"` // that are gone
	Bytes  int64 `json:"bytes"`  // in them
}

// PieceName names one piece of one torrent.
type PieceName struct {
	InfoHash string `json:"infohash"`
	Piece    int    `json:"piece"`
}

// CacheVerify is a line of the answer to POST /v1/cache/verify. The last line has
// Done or Error set, and Dropped. Closing the connection ends the verification.
type CacheVerify struct {
	Pieces    int         `json:"pieces"`    // looked at so far
	Total     int         `json:"total"`     // held when it began
	Bytes     int64       `json:"bytes"`     // in those looked at
	Unchecked int         `json:"unchecked"` // of them, those whose torrent is not known any more: only their checksums were
	Damaged   int         `json:"damaged"`   // of them, those that were not right and are dropped
	Dropped   []PieceName `json:"dropped,omitempty"`
	Done      bool        `json:"done,omitempty"`
	Error     *Error      `json:"error,omitempty"`
}

// CacheStat describes the mount's cache.
func (c *Client) CacheStat(ctx context.Context) (s CacheStat, err error) {
	return s, c.Do(ctx, http.MethodGet, "/cache", nil, &s)
}

// CacheResize changes the budget of the mount's cache at once and for later
// starts.
func (c *Client) CacheResize(ctx context.Context, limit int64) (s CacheStat, err error) {
	return s, c.Do(ctx, http.MethodPost, "/cache/limit", CacheLimit{limit}, &s)
}

// CacheClear drops every piece of the mount's cache.
func (c *Client) CacheClear(ctx context.Context) (cleared CacheCleared, err error) {
	return cleared, c.Do(ctx, http.MethodPost, "/cache/clear", nil, &cleared)
}

// CacheVerify hashes every piece of the mount's cache against its torrent, drops
// what is wrong, and calls progress a few times a second. It returns the last
// line. When ctx ends, so does the verification.
func (c *Client) CacheVerify(ctx context.Context, progress func(CacheVerify)) (last CacheVerify, err error) {
	err = c.Stream(ctx, http.MethodPost, "/cache/verify", func(text []byte) error {
		last = CacheVerify{}
		if err := json.Unmarshal(text, &last); err != nil {
			return err
		}
		if last.Error != nil {
			return last.Error
		}
		progress(last)
		return nil
	})
	return last, err
}
