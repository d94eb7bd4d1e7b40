package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// Times and sizes of one conversation with a tracker.
const (
	announceTimeout  = 15 * time.Second
	maxTrackerBytes  = 2 << 20
	maxTrackerPeers  = 1000
	maxNamedPeers    = 16 // each is a question to DNS
	mostNamed        = 4  // addresses of each
	maxReasonBytes   = 300
	announcesAtOnce  = 256 // of all torrents together
	leastSecretBytes = 6   // shorter words of a URL aren't removed from texts
)

// The events of an announce (BEP 3).
const (
	eventNone      = ""
	eventStarted   = "started"
	eventCompleted = "completed"
	eventStopped   = "stopped"
)

// announceRequest is what a tracker is told.
type announceRequest struct {
	hash                       weir.InfoHash
	peerID                     [20]byte
	port                       int
	uploaded, downloaded, left int64 // bytes
	event                      string
	numWant                    int
	key                        uint32 // tells us apart when our address changes
	network                    string // "4" or "6" to ask over that one only
	trackerID                  string // what the tracker gave us to say
}

// announceAnswer is what a tracker told.
type announceAnswer struct {
	interval    time.Duration // 0 when not told
	minInterval time.Duration // 0 when not told
	seeds       int           // -1 when not told
	leeches     int           // -1 when not told
	peers       []netip.AddrPort
	named       []namedPeer // peers by their names, not looked up yet (BEP 3)
	local       bool        // the tracker is on this machine, so that peers may be too
	trackerID   string
	warning     string
}

// namedPeer is a peer that a tracker knows by a name of DNS.
type namedPeer struct {
	host string
	port uint16
}

// scrapeCount is what a tracker says about a torrent (BEP 48). Unknown numbers
// are -1.
type scrapeCount struct {
	Seeds     int
	Leeches   int
	Completed int // times that it was downloaded
}

// refusal is a tracker's failure reason (BEP 3): it works, and doesn't want us.
type refusal struct {
	reason  string
	retryIn time.Duration // BEP 31; 0 when not told
	never   bool          // BEP 31: it will never want us
}

func (r *refusal) Error() string { return "tracker refuses: " + r.reason }

// trackers talks to trackers. It is safe for concurrent use.
type trackers struct {
	rule      netrule.Rule
	lookup    func(ctx context.Context, network, host string) ([]netip.Addr, error)
	userAgent string
	dial      func(ctx context.Context, address string) (net.Conn, error) // of HTTP; nil for the system's network
}

func newTrackers(userAgent string, rule netrule.Rule) *trackers {
	return &trackers{userAgent: userAgent, rule: rule, lookup: net.DefaultResolver.LookupNetIP}
}

// trip returns the transport of one request to the tracker at announce. No proxy is
// used: see the package's comment.
func (t *trackers) trip(network string, announce *url.URL) *netrule.Trip {
	return &netrule.Trip{Rule: t.rule, Tracker: true, AnnouncePath: announce.Path, Network: network, Dial: t.dial}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("too many redirects")
	}
	if s := req.URL.Scheme; s != "http" && s != "https" {
		return errors.New("redirect away from HTTP")
	}
	return nil
}

// networks returns over what a tracker is to be told of us: one that is reached
// over IPv4 and IPv6 hears of us at both of our addresses, and tells over each
// of peers that can be reached there (BEP 7). "" is whatever there is.
func (t *trackers) networks(ctx context.Context, rawURL string) []string {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	one := []string{""}
	u, err := parseTrackerURL(rawURL)
	if err != nil || u.Scheme == "udp4" || u.Scheme == "udp6" {
		return one
	}
	addrs, err := t.lookup(ctx, "ip", u.Hostname())
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

// resolve looks up peers that a tracker knows by name, all at once.
func (t *trackers) resolve(ctx context.Context, named []namedPeer, fromLoopback bool) (peers []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found := make([][]netip.AddrPort, len(named))
	var wg sync.WaitGroup
	for i, p := range named {
		wg.Go(func() {
			addrs, err := t.lookup(ctx, "ip", p.host)
			if err != nil {
				return
			}
			for _, a := range addrs[:min(len(addrs), mostNamed)] {
				found[i] = append(found[i], netip.AddrPortFrom(a, p.port))
			}
		})
	}
	wg.Wait()
	return usableOnly(slices.Concat(found...), fromLoopback)
}

// announce tells one tracker that we are here. Its errors name no part of the
// URL that could be a secret.
func (t *trackers) announce(ctx context.Context, rawURL string, req announceRequest) (announceAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	u, err := parseTrackerURL(rawURL)
	if err != nil {
		return announceAnswer{}, err
	}
	var a announceAnswer
	if u.Scheme == "http" || u.Scheme == "https" {
		a, err = t.announceHTTP(ctx, u, req)
	} else {
		a, err = t.announceUDP(ctx, u, req)
	}
	return a, discreet(err, u)
}

// scrape asks one tracker for the counts of torrents, in their order.
func (t *trackers) scrape(ctx context.Context, rawURL string, hashes []weir.InfoHash) ([]scrapeCount, error) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	u, err := parseTrackerURL(rawURL)
	if err != nil {
		return nil, err
	}
	var counts []scrapeCount
	if u.Scheme == "http" || u.Scheme == "https" {
		counts, err = t.scrapeHTTP(ctx, u, hashes)
	} else {
		counts, err = t.scrapeUDP(ctx, u, hashes)
	}
	return counts, discreet(err, u)
}

func parseTrackerURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil { // its text holds the URL
		return nil, fmt.Errorf("tracker URL: %w", weir.ErrInvalid)
	}
	switch u.Scheme {
	case "http", "https":
	case "udp", "udp4", "udp6":
		if u.Port() == "" && u.Hostname() != "" {
			// BEP 15 names no port of its own. Transmission takes that of HTTP, which
			// most of these trackers once had.
			u.Host = net.JoinHostPort(u.Hostname(), "80")
		}
	default:
		return nil, fmt.Errorf("tracker URL: unknown scheme %.10q: %w", u.Scheme, weir.ErrInvalid)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("tracker URL: no host: %w", weir.ErrInvalid)
	}
	return u, nil
}

// trackerName is how a tracker is called in logs and states. Private trackers
// know their users by a key in the user info, the path or the query, so that
// nothing of these is shown but the usual last words.
func trackerName(raw string) string {
	u, err := parseTrackerURL(raw)
	if err != nil {
		return "(not a tracker)"
	}
	path := u.Path
	if dir, last := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]; !usualWord(last) && last != "" {
		path = "/…"
	} else if dir != "/" && dir != "" {
		path = "/…/" + last
	}
	if u.RawQuery != "" {
		path += "?…"
	}
	return u.Scheme + "://" + u.Host + path
}

func usualWord(s string) bool {
	return s == "announce" || s == "announce.php" || s == "ann"
}

// secretParts returns the parts of u that might be secret.
func secretParts(u *url.URL) []string {
	parts := strings.Split(u.Path, "/")
	parts = append(parts, strings.Split(u.EscapedPath(), "/")...)
	if pw, ok := u.User.Password(); ok {
		parts = append(parts, pw)
	}
	parts = append(parts, u.User.Username())
	for _, vs := range u.Query() {
		parts = append(parts, vs...)
	}
	return parts
}

// discreet removes from an error's text what might be a secret of u.
func discreet(err error, u *url.URL) error {
	if err == nil {
		return nil
	}
	var ue *url.Error // its text is mostly the URL
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var r *refusal
	if errors.As(err, &r) {
		r.reason = withoutSecrets(r.reason, u)
		return r
	}
	var status *httpStatus
	if errors.As(err, &status) {
		return status
	}
	if text := err.Error(); text != withoutSecrets(text, u) {
		return errors.New(withoutSecrets(text, u))
	}
	return err
}

func withoutSecrets(text string, u *url.URL) string {
	for _, part := range secretParts(u) {
		if len(part) >= leastSecretBytes && !usualWord(part) {
			text = strings.ReplaceAll(text, part, "…")
		}
	}
	return text
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
