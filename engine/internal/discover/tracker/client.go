// Package tracker talks to trackers over HTTP and UDP (BEP 3, 7, 12, 15, 23, 31, 41, 48),
// and decides which tracker of a tier is asked, and when. Which torrents are announced,
// and what becomes of the peers, does not belong here.
//
// A tier decides and does not ask: it has no I/O and no clock. A Client asks and remembers
// nothing.
//
// Nothing is read from the environment: HTTP_PROXY and its like are ignored, because the
// tracker would list the proxy's address as ours. Certificates of https trackers are
// verified. No error and no name of a tracker holds a part of its URL that could be a
// secret.
package tracker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// Times and sizes of one conversation with a tracker.
const (
	Timeout        = 15 * time.Second // of an announce or a scrape
	resolveTimeout = 5 * time.Second
	maxBytes       = 2 << 20
	maxPeers       = 1000
	maxNamedPeers  = 16 // peers by name in an answer: each is a DNS query
	maxPerName     = 4  // addresses of a name
	maxReasonBytes = 300
)

// Event is what an announce tells beside the numbers (BEP 3).
type Event string

// The events.
const (
	None      Event = ""
	Started   Event = "started"
	Completed Event = "completed"
	Stopped   Event = "stopped"
	// Paused is told with each announce of a torrent that is not complete and of which
	// nothing is fetched (BEP 21). UDP has no such event.
	Paused Event = "paused"
)

// Request is what a tracker is told.
type Request struct {
	Hash                       weir.InfoHash
	PeerID                     [20]byte
	Port                       int
	Uploaded, Downloaded, Left int64 // bytes
	Event                      Event
	NumWant                    int
	Key                        uint32 // by which it knows us when our address changes
	Network                    string // "4" or "6" to ask over that one only
	TrackerID                  string // of its last answer
}

// Answer is what a tracker answered to an announce.
type Answer struct {
	Interval     time.Duration // 0 when not told
	MinInterval  time.Duration // 0 when not told
	Seeds        int           // -1 when not told
	Leeches      int           // -1 when not told
	Peers        []netip.AddrPort
	Named        []NamedPeer // peers by name (BEP 3), for Resolve
	FromLoopback bool        // the tracker is on this machine, so that peers may be too
	TrackerID    string
	Warning      string
}

// NamedPeer is a peer that a tracker knows by a name of DNS.
type NamedPeer struct {
	host string
	port uint16
}

// Counts is what a tracker says about a torrent (BEP 48). Unknown numbers are -1.
type Counts struct {
	Seeds     int
	Leeches   int
	Completed int // times that it was downloaded
}

// Refusal is a tracker's failure reason (BEP 3): it works, and doesn't want us.
type Refusal struct {
	Reason  string
	retryIn time.Duration // BEP 31; 0 when not told
	never   bool          // BEP 31: it will never want us
}

func (r *Refusal) Error() string { return "tracker refuses: " + r.Reason }

// Client talks to trackers. It is safe for concurrent use.
type Client struct {
	rule      netrule.Rule
	lookup    func(ctx context.Context, network, host string) ([]netip.Addr, error)
	userAgent string
	dial      func(ctx context.Context, address string) (net.Conn, error)
}

// New returns a client that calls itself userAgent and asks trackers where rule lets it.
// dial connects to HTTP trackers, by addresses alone; nil for the system's network.
func New(userAgent string, rule netrule.Rule, dial func(ctx context.Context, address string) (net.Conn, error)) *Client {
	return &Client{userAgent: userAgent, rule: rule, dial: dial, lookup: net.DefaultResolver.LookupNetIP}
}

// trip returns the transport of one request to the tracker at announce.
func (c *Client) trip(network string, announce *url.URL) *netrule.Trip {
	return &netrule.Trip{Rule: c.rule, Tracker: true, AnnouncePath: announce.Path, Network: network, Dial: c.dial}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("more than five redirects")
	}
	if s := req.URL.Scheme; s != "http" && s != "https" {
		return errors.New("redirected to something else than HTTP")
	}
	return nil
}

// Networks returns the networks over which a tracker is to be asked: "4" and "6" if it
// can be reached over both, so that it learns both of our addresses and names the peers
// of both (BEP 7), else "", which is any.
func (c *Client) Networks(ctx context.Context, rawURL string) []string {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	one := []string{""}
	u, err := parseURL(rawURL)
	if err != nil || u.Scheme == "udp4" || u.Scheme == "udp6" {
		return one
	}
	addrs, err := c.lookup(ctx, "ip", u.Hostname())
	if err != nil {
		return one // asking it gives the same error
	}
	four := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() })
	six := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is6() })
	if four && six {
		return []string{"4", "6"}
	}
	return one
}

// Resolve looks up peers that a tracker knows by name, all at once.
func (c *Client) Resolve(ctx context.Context, named []NamedPeer, fromLoopback bool) (peers []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found := make([][]netip.AddrPort, len(named))
	var wg sync.WaitGroup
	for i, p := range named {
		wg.Go(func() {
			addrs, err := c.lookup(ctx, "ip", p.host)
			if err != nil {
				return
			}
			for _, a := range addrs[:min(len(addrs), maxPerName)] {
				found[i] = append(found[i], netip.AddrPortFrom(a, p.port))
			}
		})
	}
	wg.Wait()
	return peeraddr.Filter(slices.Concat(found...), fromLoopback)
}

// Announce tells one tracker that we are here.
func (c *Client) Announce(ctx context.Context, rawURL string, req Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	u, err := parseURL(rawURL)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	if u.Scheme == "http" || u.Scheme == "https" {
		a, err = c.announceHTTP(ctx, u, req)
	} else {
		a, err = c.announceUDP(ctx, u, req)
	}
	return a, withoutSecrets(err, u)
}

// Scrape asks one tracker for the counts of torrents, in their order. The error wraps
// weir.ErrNotFound if the tracker has no scrape.
func (c *Client) Scrape(ctx context.Context, rawURL string, hashes []weir.InfoHash) ([]Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	var counts []Counts
	if u.Scheme == "http" || u.Scheme == "https" {
		counts, err = c.scrapeHTTP(ctx, u, hashes)
	} else {
		counts, err = c.scrapeUDP(ctx, u, hashes)
	}
	return counts, withoutSecrets(err, u)
}

// printable makes a text from outside fit for a log: valid, short, one line.
func printable(b []byte) string {
	b = b[:min(len(b), maxReasonBytes)]
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), " ")))
}
