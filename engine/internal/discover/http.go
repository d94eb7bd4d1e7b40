package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

func (t *trackers) announceHTTP(ctx context.Context, u *url.URL, req announceRequest) (announceAnswer, error) {
	body, status, err := t.get(ctx, t.trip(req.network, u), u, req.query())
	if err != nil {
		return announceAnswer{}, err
	}
	a, err := parseAnnounce(body, isLoopbackHost(u.Hostname()))
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		refused.retryIn = max(refused.retryIn, status.retryIn)
	case status.code != http.StatusOK:
		return announceAnswer{}, status
	}
	return a, err
}

// httpStatus is how an HTTP tracker answered, apart from the body. As an error it
// is one that says nothing better.
type httpStatus struct {
	code    int
	retryIn time.Duration // Retry-After; 0 when not told
}

func (s *httpStatus) Error() string { return fmt.Sprintf("HTTP status %d", s.code) }

// retryAfter reads the header of that name (RFC 9110): seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return min(seconds(int64(min(n, 1<<31))), mostInterval)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), mostInterval)
}

// get fetches u with more query parameters. Some trackers send a failure reason
// with a status that isn't 200, so the body counts in any case.
func (t *trackers) get(ctx context.Context, trip *netrule.Trip, u *url.URL, query string) (body []byte, status *httpStatus, err error) {
	with := *u
	if with.RawQuery != "" {
		with.RawQuery += "&" // what the URL had goes first: some trackers insist
	}
	with.RawQuery += query
	with.Fragment = ""
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, with.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("User-Agent", t.userAgent)
	res, err := (&http.Client{Transport: trip, CheckRedirect: checkRedirect}).Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxTrackerBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxTrackerBytes {
		return nil, nil, fmt.Errorf("answer longer than %d bytes: %w", maxTrackerBytes, weir.ErrInvalid)
	}
	status = &httpStatus{code: res.StatusCode}
	if status.code != http.StatusOK {
		status.retryIn = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return body, status, nil
}

// query is the request as BEP 3, 7 and 23 write it. Bytes are escaped one by
// one, as not all trackers read a plus sign as a space.
func (r *announceRequest) query() string {
	var b strings.Builder
	b.WriteString("info_hash=" + escapeBytes(r.hash[:]))
	b.WriteString("&peer_id=" + escapeBytes(r.peerID[:]))
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"port", int64(r.port)}, {"uploaded", r.uploaded}, {"downloaded", r.downloaded},
		{"left", r.left}, {"compact", 1}, {"no_peer_id", 1}, {"numwant", int64(r.numWant)},
	} {
		b.WriteString("&" + p.name + "=" + strconv.FormatInt(p.n, 10))
	}
	fmt.Fprintf(&b, "&key=%08X", r.key)
	if r.event != eventNone {
		b.WriteString("&event=" + r.event)
	}
	if r.trackerID != "" {
		b.WriteString("&trackerid=" + escapeBytes([]byte(r.trackerID)))
	}
	return b.String()
}

func escapeBytes(b []byte) string {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(b))
	for _, c := range b {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// parseAnnounce reads the answer of an HTTP tracker. A failure reason comes back
// as a *refusal.
func parseAnnounce(body []byte, fromLoopback bool) (announceAnswer, error) {
	d, err := parseDict(body)
	if err != nil {
		return announceAnswer{}, fmt.Errorf("answer of the tracker: %w", err)
	}
	if err := parseRefusal(d); err != nil {
		return announceAnswer{}, err
	}
	a := announceAnswer{
		interval:    seconds(d.get("interval").int(0)),
		minInterval: seconds(d.get("min interval").int(0)),
		seeds:       count(d.get("complete")),
		leeches:     count(d.get("incomplete")),
		warning:     printable(d.get("warning message").str),
	}
	if id := d.get("tracker id").str; len(id) <= maxReasonBytes {
		a.trackerID = string(id)
	}
	a.peers = parseCompact(d.get("peers").str, compact4Bytes, maxTrackerPeers)
	for _, p := range d.get("peers").list { // the form of BEP 3
		host, port := string(p.get("ip").str), p.get("port").int(0)
		if port <= 0 || port >= 1<<16 {
			continue
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case err == nil && len(a.peers) < maxTrackerPeers:
			a.peers = append(a.peers, netip.AddrPortFrom(ip, uint16(port)))
		case err != nil && isHostName(host) && len(a.named) < maxNamedPeers:
			a.named = append(a.named, namedPeer{host, uint16(port)})
		}
	}
	a.peers = append(a.peers, parseCompact(d.get("peers6").str, compact6Bytes, maxTrackerPeers)...)
	a.peers = usableOnly(a.peers, fromLoopback)
	a.local = fromLoopback
	return a, nil
}

// parseRefusal returns a *refusal if the answer is one. BEP 31: "retry in" is a
// number of minutes, or "never".
func parseRefusal(d value) error {
	reason := d.get("failure reason")
	if reason.kind != kindString {
		return nil
	}
	r := &refusal{reason: printable(reason.str)}
	retry := d.get("retry in")
	minutes := retry.int(0)
	if retry.kind == kindString {
		if r.never = string(retry.str) == "never"; !r.never {
			minutes, _ = strconv.ParseInt(string(retry.str), 10, 64)
		}
	}
	r.retryIn = min(seconds(min(minutes, 1<<20)*60), mostInterval)
	return r
}

// seconds turns a number from outside into a duration, without overflow.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 1<<31)) * time.Second
}

func count(v value) int {
	if n := v.int(-1); n >= 0 && n < 1<<31 {
		return int(n)
	}
	return -1
}

func (t *trackers) scrapeHTTP(ctx context.Context, u *url.URL, hashes []weir.InfoHash) ([]scrapeCount, error) {
	at := strings.LastIndexByte(u.Path, '/') + 1
	rest, ok := strings.CutPrefix(u.Path[at:], "announce")
	if !ok { // BEP 48: such a tracker has no scrape
		return nil, fmt.Errorf("tracker has no scrape: %w", weir.ErrNotFound)
	}
	to := *u
	to.Path, to.RawPath = u.Path[:at]+"scrape"+rest, ""
	var query []string
	for _, h := range hashes {
		query = append(query, "info_hash="+escapeBytes(h[:]))
	}
	body, status, err := t.get(ctx, t.trip("", u), &to, strings.Join(query, "&"))
	if err != nil {
		return nil, err
	}
	d, err := parseDict(body)
	if err == nil {
		err = parseRefusal(d)
	} else if status.code != http.StatusOK {
		err = status
	}
	if err != nil {
		return nil, err
	}
	counts := make([]scrapeCount, len(hashes))
	for i, h := range hashes {
		f := d.get("files").get(string(h[:]))
		counts[i] = scrapeCount{Seeds: count(f.get("complete")), Leeches: count(f.get("incomplete")), Completed: count(f.get("downloaded"))}
	}
	return counts, nil
}

// isHostName reports whether s is a name that DNS may know, and no number that the
// resolver would take for an address.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	labels := strings.Split(s, ".")
	if last := labels[len(labels)-1]; len(s) > 253 || strings.Trim(last, "0123456789") == "" {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
