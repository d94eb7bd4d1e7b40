package api

import "time"

// Sizes and counts of bytes are of payload; rates are bytes per second, times
// RFC 3339 and durations seconds. Paths are relative to the mount's root, with
// slashes; the root itself is "". In requests they stand in the query, where they
// may hold any byte; in answers, what is not UTF-8 is replaced.

// Server says who answers: GET /v1/.
type Server struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	Mountpoint string    `json:"mountpoint"`
	CacheDir   string    `json:"cache_dir"`
	Port       int       `json:"port"` // for incoming peers, 0: none
	Started    time.Time `json:"started"`
	Torrents   int       `json:"torrents"`
	Ephemeral  bool      `json:"ephemeral"`
}

// State is what a torrent is doing.
type State string

// The states of a torrent.
const (
	StateCold     State = "cold"     // nobody uses it: nothing runs
	StateMetadata State = "metadata" // a magnet that looks for its metadata
	StateIdle     State = "idle"     // connected, or about to be; nothing is wanted
	StateFetching State = "fetching" // something is wanted, nobody waits for it
	StateReading  State = "reading"  // reads wait, and blocks arrive
	StateStuck    State = "stuck"    // reads wait or something is fetched, and nothing arrives: see Wait
	StateRefused  State = "refused"  // a magnet whose metadata came and can't be used: see Wait
	StateComplete State = "complete" // all of it is held
)

// Missed is the last read that was given up at its deadline since the mount began.
type Missed struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"` // in words
}

// Torrent describes one torrent. What needs the metadata is zero while it is
// unknown; peers and rates are zero while it is cold.
type Torrent struct {
	InfoHash string    `json:"infohash"` // 40 hexadecimal digits
	Path     string    `json:"path"`     // of its folder in the mount
	State    State     `json:"state"`
	Wait     string    `json:"wait,omitempty"` // in words, why nothing moves
	Missed   *Missed   `json:"missed,omitempty"`
	Added    time.Time `json:"added,omitzero"`

	SizeBytes   int64 `json:"size_bytes"`
	HaveBytes   int64 `json:"have_bytes"`
	PinnedBytes int64 `json:"pinned_bytes"`
	// PinPending says that it, or something of it, is pinned as soon as its metadata is there.
	PinPending     bool    `json:"pin_pending,omitempty"`
	Peers          int     `json:"peers"`            // connected
	Seeds          int     `json:"seeds"`            // of them, those that have everything
	ActiveWebSeeds int     `json:"active_web_seeds"` // web servers that are asked beside them, or may be
	Availability   float64 `json:"availability"`     // whole copies that the connected peers have between them; the fraction is the share of pieces with one more
	DownloadRate   int64   `json:"download_rate"`
	UploadRate     int64   `json:"upload_rate"`
	Downloaded     int64   `json:"downloaded_bytes"` // in all runs
	Uploaded       int64   `json:"uploaded_bytes"`
	Ratio          float64 `json:"ratio"`          // Uploaded per byte that was downloaded, or is held if that is more
	SeededSeconds  int64   `json:"seeded_seconds"` // in all runs, while it was complete and offered
	Offered        bool    `json:"offered"`        // it is announced, and given to whoever asks, while nothing here uses it
}

// TorrentDetails is what GET /v1/torrents/ID adds.
type TorrentDetails struct {
	Torrent
	Name        string     `json:"name"` // as the metadata has it
	Files       int        `json:"files"`
	Pieces      int        `json:"pieces"`
	PieceLength int64      `json:"piece_length"`
	Private     bool       `json:"private"`
	Magnet      string     `json:"magnet"`
	Trackers    [][]string `json:"trackers"`
	Sharing     Sharing    `json:"sharing"`
	WebSeeds    []WebSeed  `json:"web_seeds"`
	Known       int        `json:"known_peers"`     // addresses, connected or not
	Serving     int        `json:"serving_peers"`   // of the connected ones, those that give us blocks
	SwarmSeeds  int        `json:"swarm_seeds"`     // as trackers tell; -1: none does
	SwarmLeech  int        `json:"swarm_leeches"`   // the same
	Announces   []string   `json:"announces"`       // what each tracker said last
	Waiting     int        `json:"waiting"`         // reads that wait
	Verified    int64      `json:"verified_pieces"` // since the start
	Failed      int64      `json:"failed_pieces"`
	Wasted      int64      `json:"wasted_bytes"`  // blocks that came twice, too late, or were never asked for
	Unasked     int64      `json:"unasked_bytes"` // of these, blocks never asked for
}

// Sharing is what holds for giving a torrent to others: what is set for it, or else for the
// mount.
type Sharing struct {
	Seed         string  `json:"seed"`         // all, pinned or none
	Ratio        float64 `json:"ratio"`        // until this is reached; 0: no end
	SeedSeconds  int64   `json:"seed_seconds"` // until it was seeded for so long; 0: no end
	UploadRate   int64   `json:"upload_rate"`  // of this torrent; 0: no limit but the mount's
	DownloadRate int64   `json:"download_rate"`
}

// SharingChange is the body of PATCH /v1/torrents/ID; what is left out stays.
type SharingChange struct {
	Seed         *string  `json:"seed,omitempty"`         // all or none; "default": what the mount says
	Ratio        *float64 `json:"ratio,omitempty"`        // a negative one: what the mount says
	SeedSeconds  *int64   `json:"seed_seconds,omitempty"` // the same
	UploadRate   *int64   `json:"upload_rate,omitempty"`
	DownloadRate *int64   `json:"download_rate,omitempty"`
	AddTrackers  []string `json:"add_trackers,omitempty"`
}

// WebSeed is a web server that a torrent names (BEP 19).
type WebSeed struct {
	URL      string   `json:"url"`   // without user and password
	State    string   `json:"state"` // untried, ready, busy, paused or refused
	Rate     int64    `json:"rate"`  // bytes per second lately
	Received int64    `json:"received_bytes"`
	Error    string   `json:"error,omitempty"`         // what went wrong last
	Stale    []string `json:"stale_files,omitempty"`   // of which it has another version than the torrent
	Newer    string   `json:"newer_torrent,omitempty"` // where a newer torrent is likely to be
}

// Torrents is the answer to GET /v1/torrents.
type Torrents struct {
	Torrents []Torrent `json:"torrents"`
}

// AddRequest is the body of POST /v1/torrents?into=FOLDER. A .torrent file itself
// can be the body instead, of type application/x-bittorrent.
type AddRequest struct {
	Source string `json:"source"` // a magnet, the URL of a .torrent, or an info hash
}

// Added is the answer to POST /v1/torrents.
type Added struct {
	InfoHash string `json:"infohash"`
	Path     string `json:"path"`
	Known    bool   `json:"known"` // it was there before, at Path
}

// ServeRequest is the body of POST /v1/serve?files=PATH&into=FOLDER: a torrent whose content
// lies in files of this machine, which are served in place. The absolute path is that of the
// torrent's folder, or of its file when it has only one.
type ServeRequest struct {
	// Torrent is a .torrent file; without one the answer says whether files could be served.
	Torrent []byte `json:"torrent,omitempty"`
	// Missing are the pieces that are not in the files, a bit each: piece i is bit i%8 of byte i/8.
	Missing []byte `json:"missing,omitempty"`
}

// Moved is the answer to POST /v1/move?from=PATH&to=PATH: a torrent's folder, or a
// folder of torrents, got another path.
type Moved struct {
	Path string `json:"path"`
}

// Handle is one open file: GET /v1/handles.
type Handle struct {
	Path    string    `json:"path"`
	PID     int       `json:"pid"`
	Program string    `json:"program"` // as the kernel names it, "" when it is gone
	Opened  time.Time `json:"opened"`
	Ahead   int64     `json:"ahead_bytes"` // wanted ahead of the reader: its window, without what is held
}

// Handles is the answer to GET /v1/handles.
type Handles struct {
	Handles []Handle `json:"handles"`
}

// Wait is one request that waits now: GET /v1/waits.
type Wait struct {
	Path    string  `json:"path"`
	Off     int64   `json:"offset"` // of the bytes that are waited for, in the file
	Bytes   int64   `json:"bytes"`  // 0: not a read, but for metadata
	PID     int     `json:"pid"`
	Program string  `json:"program"`
	Seconds float64 `json:"seconds"` // it has waited
	For     string  `json:"for"`     // in words, what for
}

// Waits is the answer to GET /v1/waits.
type Waits struct {
	Waits []Wait `json:"waits"`
}

// Selected are files that a magnet selects (BEP 53).
type Selected struct {
	Files     int   `json:"files"`
	SizeBytes int64 `json:"size_bytes"`
	HaveBytes int64 `json:"have_bytes"`
}

// PathStatus is the answer to GET /v1/status?path=…: why is a read there waiting?
type PathStatus struct {
	Path      string  `json:"path"`
	Torrent   Torrent `json:"torrent"`
	SizeBytes int64   `json:"size_bytes"` // of the file, or of all files beneath the folder
	HaveBytes int64   `json:"have_bytes"`
	Pinned    bool    `json:"pinned"`      // all of it
	Pieces    int     `json:"pieces"`      // that it touches
	Held      int     `json:"held_pieces"` // of them
	// Selected is what fetch and pin bring in of a torrent whose magnet selects
	// files; null: all.
	Selected *Selected `json:"selected,omitempty"`

	Sharing Sharing `json:"sharing"`

	Waits    []Wait   `json:"waits"`
	Handles  []Handle `json:"handles"`
	Trackers []string `json:"trackers"` // what each said last
	// WebSeeds are those that are asked, or of which something went wrong.
	WebSeeds []WebSeed `json:"web_seeds"`

	// InPlace is the folder or file that the torrent is served from; empty: from the cache.
	InPlace string `json:"in_place,omitempty"`
	// Changed are files there with pieces that are not the torrent's any more.
	Changed []ChangedFile `json:"changed_files,omitempty"`

	// HiddenLinks are the paths of symbolic links that are not shown, because their
	// targets are outside of the torrent: the first ones, and how many there are.
	HiddenLinks     []string `json:"hidden_links,omitempty"`
	HiddenLinkCount int      `json:"hidden_link_count,omitempty"`
}

// ChangedFile is a file that is served in place and is another now.
type ChangedFile struct {
	Path string `json:"path"` // in the torrent
	Why  string `json:"why"`  // in words
}

// Limits bound the payload that all torrents together exchange with peers; 0 is no
// limit: GET and PATCH /v1/limits.
type Limits struct {
	UploadRate   int64 `json:"upload_rate"`
	DownloadRate int64 `json:"download_rate"`
}

// LimitsChange is the body of PATCH /v1/limits; what is left out stays.
type LimitsChange struct {
	UploadRate   *int64 `json:"upload_rate,omitempty"`
	DownloadRate *int64 `json:"download_rate,omitempty"`
}

// Progress is a line of the answer to POST /v1/fetch?path=PATH. The last line has Done or
// Error set. Closing the connection ends the fetch.
type Progress struct {
	HaveBytes  int64  `json:"have_bytes"`
	TotalBytes int64  `json:"total_bytes"`
	Rate       int64  `json:"rate"`
	Peers      int    `json:"peers"`
	Wait       string `json:"wait,omitempty"` // in words, why nothing moves
	Done       bool   `json:"done,omitempty"`
	Error      *Error `json:"error,omitempty"`
}

// Kept is the answer to POST /v1/pin, /v1/unpin and /v1/evict, each with ?path=PATH.
type Kept struct {
	Bytes int64 `json:"bytes"` // that are pinned, no longer pinned, or were dropped
	// Pending is how many torrents are pinned when their metadata comes.
	Pending int `json:"pending,omitempty"`
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventAdded    EventKind = "added"
	EventRemoved  EventKind = "removed"
	EventMoved    EventKind = "moved"
	EventMetadata EventKind = "metadata" // has arrived
	EventHave     EventKind = "have"     // held bytes changed; at most one a second and torrent
	EventStuck    EventKind = "stuck"    // Wait says why
	EventUnstuck  EventKind = "unstuck"
	EventMissed   EventKind = "missed" // the listener was too slow; list the torrents again
)

// Event is a line of GET /v1/events.
type Event struct {
	Kind      EventKind `json:"event"`
	Time      time.Time `json:"time"`
	InfoHash  string    `json:"infohash,omitempty"`
	Path      string    `json:"path,omitempty"`
	HaveBytes int64     `json:"have_bytes,omitempty"`
	SizeBytes int64     `json:"size_bytes,omitempty"`
	Wait      string    `json:"wait,omitempty"`
}
