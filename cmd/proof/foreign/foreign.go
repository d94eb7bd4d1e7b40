// Package foreign runs BitTorrent programs that weir's authors did not write, so
// that tests meet the protocol as others understand it: libtorrent (through
// Debian's Python), qbittorrent-nox, transmission-daemon, aria2c, webtorrent and
// the Client of anacrolix/torrent as peers on loopback; mktorrent,
// transmission-create, libtorrent and weir as makers of torrents; nginx as a web seed; and a
// UDP tracker.
//
// Only tests use it. Of weir it knows engine/publish, one of the makers; a peer is a process, an
// address and some content on disk. Every process ends with the test that
// started it, also when the test itself is killed. None is told of anything but
// loopback: DHT, LSD, µTP and port mapping are off everywhere.
package foreign

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Encryption is what a peer is told about encrypted connections.
type Encryption string

// The choices.
const (
	Allowed  Encryption = "allowed"
	Required Encryption = "required"
	Off      Encryption = "off"
)

// Job is what a client shall do: have one torrent, or get it, and serve it.
type Job struct {
	Source string // path of a .torrent, or a magnet
	Dir    string // the folder that holds the torrent's file or folder, or where it shall go
	IP     string // loopback address to listen on

	Encryption Encryption // Allowed when empty
	PEX        bool       // peer exchange (BEP 11)
	Sequential bool       // libtorrent: pieces are asked for in their order
	Unchecked  bool       // libtorrent: the content is taken for right without a look at it
}

// State is what a peer says of its torrent.
type State struct {
	Complete bool  `json:"complete"` // all content is there and verified
	Uploaded int64 `json:"uploaded"` // bytes of content sent to peers; 0 where the client doesn't say
}

// Peer is a running client with one torrent.
type Peer struct {
	Addr string // host:port

	process *process
	state   func() (State, error)
}

// WaitComplete returns when the peer has all content.
func (p *Peer) WaitComplete(tb testing.TB) {
	tb.Helper()
	p.process.poll(tb, p.Addr, func() error {
		s, err := p.state()
		if err == nil && !s.Complete {
			err = fmt.Errorf("not complete: %+v", s)
		}
		return err
	})
}

// Uploaded returns how many bytes of content the peer has sent, in payload,
// without the protocol around it. Of use with libtorrent, which counts exactly.
func (p *Peer) Uploaded(tb testing.TB) int64 {
	tb.Helper()
	s, err := p.state()
	if err != nil {
		tb.Fatalf("ask a peer for its counter: %v", err)
	}
	return s.Uploaded
}

// Stop ends the process at once, as a crash would.
func (p *Peer) Stop() { p.process.stop() }

// Client starts peers of one kind.
type Client struct {
	Name string
	// Version asks the program.
	Version func(tb testing.TB) string
	// Start returns once the peer accepts connections; it ends with tb.
	Start func(tb testing.TB, job Job) *Peer
	// Cannot is the reason for each property that the client lacks.
	Cannot map[Property]string
	// NeverTells says why others don't hear of peers through it, though it hears of
	// them: no PEX in one direction.
	NeverTells string
	// TellsNewOnly says that it tells by PEX only of peers that it met within the
	// last minute.
	TellsNewOnly bool
	// MustBeDialed says that it takes nobody's loopback address for a peer's: it
	// is found, but finds nobody.
	MustBeDialed bool
	// NoPadding says that it looks on its disk for padding files (BEP 47), so that it
	// seeds no torrent that has some.
	NoPadding bool
	// NoEmpty says that it never completes a torrent with a v2 half and empty files.
	NoEmpty bool
}

// Seed starts a peer that has all content, and returns when it has verified it.
func (c Client) Seed(tb testing.TB, job Job) *Peer {
	tb.Helper()
	p := c.Start(tb, job)
	p.WaitComplete(tb)
	return p
}

// Property is something that a client and weir can do with each other; a row of
// the table in docs/interop.md.
type Property string

// The properties, in the order of the table.
const (
	ByTorrent      Property = "by .torrent"
	ByMagnet       Property = "by magnet"
	V1             Property = "v1"
	Hybrid         Property = "hybrid (v1 and v2)"
	V2             Property = "v2"
	IPv4           Property = "IPv4"
	IPv6           Property = "IPv6"
	Private        Property = "private torrent"
	ByHTTPTracker  Property = "found by HTTP tracker"
	ByUDPTracker   Property = "found by UDP tracker"
	ByPEX          Property = "found by PEX through a third"
	TheyRequire    Property = "encryption required by the client"
	TheyRefuse     Property = "encryption off in the client"
	WeirRequires   Property = "encryption required by weir"
	WeirRefuses    Property = "encryption off in weir"
	BothPlainFirst Property = "encryption allowed by both"
)

// Properties are all of them.
var Properties = []Property{
	ByTorrent, ByMagnet, V1, Hybrid, V2, IPv4, IPv6, Private, ByHTTPTracker, ByUDPTracker, ByPEX,
	BothPlainFirst, TheyRequire, TheyRefuse, WeirRequires, WeirRefuses,
}

// SkipEnv names clients, with commas between, that are not to be run: where one
// can't be installed. A run says so, and leaves what it knows of them as it was.
const SkipEnv = "WEIR_SKIP_PEERS"

const (
	noV2        = "it does not support BitTorrent v2"
	noTolerance = "it always accepts encrypted peers"
	neverTells  = "it learns of peers by PEX and names none itself: it never starts its own messages"
	brokenMSE   = "its encryption crashes it (bittorrent-protocol: padCBuffer.copy is not a function)"
)

// clients are all that weir is tested against.
var clients = []Client{
	{Name: "libtorrent", Version: libtorrentVersion, Start: Libtorrent},
	{Name: "qBittorrent", Version: qBittorrentVersion, Start: qBittorrent},
	{Name: "Transmission", Version: transmissionVersion, Start: transmission, MustBeDialed: true, Cannot: map[Property]string{
		Hybrid:     "it rejects hybrid torrents as corrupt",
		V2:         noV2,
		TheyRefuse: noTolerance,
		ByPEX:      "it ignores loopback addresses, so here it neither learns of peers nor names any",
	}},
	{Name: "aria2", Version: aria2Version, Start: aria2, TellsNewOnly: true, Cannot: map[Property]string{
		Hybrid:       "it computes a different info hash for hybrid torrents than the other programs",
		V2:           noV2,
		TheyRefuse:   noTolerance,
		ByUDPTracker: "it asks UDP trackers only while its DHT is on",
	}},
	{Name: "WebTorrent", Version: webTorrentVersion, Start: webTorrent, NoPadding: true, NeverTells: neverTells, Cannot: map[Property]string{
		V2:           noV2,
		TheyRequire:  brokenMSE,
		WeirRequires: brokenMSE,
	}},
	{Name: "anacrolix", Version: anacrolixVersion, Start: anacrolix, NoEmpty: true},
}

// Clients returns those that are not skipped by name, and the names of those
// that are.
func Clients(tb testing.TB) (run []Client, skipped []string) {
	tb.Helper()
	for name := range strings.SplitSeq(os.Getenv(SkipEnv), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.IndexFunc(clients, func(c Client) bool { return strings.EqualFold(c.Name, name) })
		if i < 0 {
			tb.Fatalf("%s names %q, which is no client", SkipEnv, name)
		}
		skipped = append(skipped, clients[i].Name)
	}
	for _, c := range clients {
		if !slices.Contains(skipped, c.Name) {
			run = append(run, c)
		}
	}
	return run, skipped
}

// startTimeout bounds how long a client may take from its start to its first
// accepted connection, and for its small job after that. It ends what hangs: a
// libtorrent whose plain connection was refused tries an encrypted one after a minute,
// and the machine may be busy.
const startTimeout = 5 * time.Minute

var lastIP atomic.Uint32

// NextIP returns a loopback address that nothing in this process has had: peers
// are told apart, remembered and banned by address.
func NextIP() string {
	n := lastIP.Add(1)
	return fmt.Sprintf("127.1.%d.%d", n/200, 1+n%200)
}
