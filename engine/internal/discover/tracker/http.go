package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
	"github.com/weirfs/weir/engine/internal/netrule"
)

func (c *Client) announceHTTP(ctx context.Context, u *url.URL, req Request) (Answer, error) {
	body, status, err := c.get(ctx, c.trip(req.Network, u), u, req.query())
	if err != nil {
		return Answer{}, err
	}
	a, err := parseAnnounce(body, isLoopbackHost(u.Hostname()))
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		refused.retryIn = max(refused.retryIn, status.retryIn)
	case status.code != http.StatusOK:
		return Answer{}, status
	}
	return a, err
}

// httpStatus is how an HTTP tracker answered, apart from the body. It is the error when
// the body gives no better one.
type httpStatus struct {
	code    int
	retryIn time.Duration // Retry-After; 0 when not told
}

func (s *httpStatus) Error() string { return fmt.Sprintf("HTTP status %d", s.code) }

// retryAfter reads the header of that name (RFC 9110): seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return min(seconds(int64(min(n, 1<<31))), maxInterval)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxInterval)
}

// get fetches u with more query parameters. Some trackers send a failure reason
// with a status that isn't 200, so the body counts in any case.
func (c *Client) get(ctx context.Context, trip *netrule.Trip, u *url.URL, query string) (body []byte, status *httpStatus, err error) {
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
	r.Header.Set("User-Agent", c.userAgent)
	res, err := (&http.Client{Transport: trip, CheckRedirect: checkRedirect}).Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxBytes {
		return nil, nil, weir.Errorf(weir.ErrInvalid, "the answer is longer than %d bytes", maxBytes)
	}
	status = &httpStatus{code: res.StatusCode}
	if status.code != http.StatusOK {
		status.retryIn = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return body, status, nil
}

// query is the request as BEP 3, 7 and 23 write it. Bytes are escaped one by
// one, as not all trackers read a plus sign as a space.
func (r *Request) query() string {
	var b strings.Builder
	b.WriteString("info_hash=" + escapeBytes(r.Hash[:]))
	b.WriteString("&peer_id=" + escapeBytes(r.PeerID[:]))
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"port", int64(r.Port)}, {"uploaded", r.Uploaded}, {"downloaded", r.Downloaded},
		{"left", r.Left}, {"compact", 1}, {"no_peer_id", 1}, {"numwant", int64(r.NumWant)},
	} {
		b.WriteString("&" + p.name + "=" + strconv.FormatInt(p.n, 10))
	}
	fmt.Fprintf(&b, "&key=%08X", r.Key)
	if r.Event != None {
		b.WriteString("&event=" + string(r.Event))
	}
	if r.TrackerID != "" {
		b.WriteString("&trackerid=" + escapeBytes([]byte(r.TrackerID)))
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

// parseAnnounce reads the answer of an HTTP tracker. A failure reason comes back as a
// *Refusal. What follows the dictionary is ignored: some trackers add a line end.
func parseAnnounce(body []byte, fromLoopback bool) (Answer, error) {
	a := Answer{Seeds: -1, Leeches: -1, FromLoopback: fromLoopback}
	var r refusalReader
	var interval, minInterval int64
	var warning, id, peers, peers6 []byte
	var listed []netip.AddrPort
	c := bencode.New(body)
	err := c.Dict(func(key []byte) error {
		switch string(key) {
		case "interval":
			return c.MaybeInt(&interval)
		case "min interval":
			return c.MaybeInt(&minInterval)
		case "complete":
			return readCount(c, &a.Seeds)
		case "incomplete":
			return readCount(c, &a.Leeches)
		case "warning message":
			return c.MaybeString(&warning)
		case "tracker id":
			return c.MaybeString(&id)
		case "peers":
			if c.Kind() == bencode.List { // the form of BEP 3
				listed, a.Named = nil, nil
				return c.List(func() error { return readListedPeer(c, &listed, &a.Named) })
			}
			return c.MaybeString(&peers)
		case "peers6":
			return c.MaybeString(&peers6)
		}
		return r.read(c, key)
	})
	if err != nil {
		return Answer{}, fmt.Errorf("answer of the tracker: %w", err)
	}
	if err := r.refusal(); err != nil {
		return Answer{}, err
	}
	a.Interval, a.MinInterval = seconds(interval), seconds(minInterval)
	a.Warning = printable(warning)
	if len(id) <= maxReasonBytes {
		a.TrackerID = string(id)
	}
	a.Peers = append(peeraddr.Parse(peers, peeraddr.Bytes4, maxPeers), listed...)
	a.Peers = append(a.Peers[:min(len(a.Peers), maxPeers)], peeraddr.Parse(peers6, peeraddr.Bytes6, maxPeers)...)
	a.Peers = peeraddr.Filter(a.Peers, fromLoopback)
	return a, nil
}

// readListedPeer reads a peer in the form of BEP 3: a dictionary with an address or a
// name, and a port.
func readListedPeer(c *bencode.Cursor, addrs *[]netip.AddrPort, named *[]NamedPeer) error {
	var host []byte
	var port int64
	err := c.MaybeDict(func(key []byte) error {
		switch string(key) {
		case "ip":
			return c.MaybeString(&host)
		case "port":
			return c.MaybeInt(&port)
		}
		return c.Skip()
	})
	if err != nil || port <= 0 || port >= 1<<16 {
		return err
	}
	ip, err := netip.ParseAddr(string(host))
	switch {
	case err == nil && len(*addrs) < maxPeers:
		*addrs = append(*addrs, netip.AddrPortFrom(ip, uint16(port)))
	case err != nil && isHostName(string(host)) && len(*named) < maxNamedPeers:
		*named = append(*named, NamedPeer{string(host), uint16(port)})
	}
	return nil
}

// refusalReader reads the keys of an answer that refuses.
type refusalReader struct {
	reason, retryText []byte // nil when not there
	retryMinutes      int64
}

// read consumes the value of key, whatever key it is.
func (r *refusalReader) read(c *bencode.Cursor, key []byte) error {
	switch string(key) {
	case "failure reason":
		return c.MaybeString(&r.reason)
	case "retry in":
		if c.Kind() == bencode.Int {
			return c.MaybeInt(&r.retryMinutes)
		}
		return c.MaybeString(&r.retryText)
	}
	return c.Skip()
}

// refusal returns a *Refusal if the answer was one. BEP 31: "retry in" is a number of
// minutes, or "never".
func (r *refusalReader) refusal() error {
	if r.reason == nil {
		return nil
	}
	minutes, never := r.retryMinutes, string(r.retryText) == "never"
	if n, err := strconv.ParseInt(string(r.retryText), 10, 64); err == nil {
		minutes = n
	}
	return &Refusal{
		Reason: printable(r.reason), never: never,
		retryIn: min(seconds(min(minutes, 1<<20)*60), maxInterval),
	}
}

// seconds turns a number from outside into a duration, without overflow.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 1<<31)) * time.Second
}

// readCount reads a number of peers into to, if it is one.
func readCount(c *bencode.Cursor, to *int) error {
	n := int64(-1)
	err := c.MaybeInt(&n)
	if n >= 0 && n < 1<<31 {
		*to = int(n)
	}
	return err
}

func (c *Client) scrapeHTTP(ctx context.Context, u *url.URL, hashes []weir.InfoHash) ([]Counts, error) {
	at := strings.LastIndexByte(u.Path, '/') + 1
	rest, ok := strings.CutPrefix(u.Path[at:], "announce")
	if !ok { // BEP 48: such a tracker has no scrape
		return nil, weir.Errorf(weir.ErrNotFound, "tracker has no scrape")
	}
	to := *u
	to.Path, to.RawPath = u.Path[:at]+"scrape"+rest, ""
	var query []string
	for _, h := range hashes {
		query = append(query, "info_hash="+escapeBytes(h[:]))
	}
	body, status, err := c.get(ctx, c.trip("", u), &to, strings.Join(query, "&"))
	if err != nil {
		return nil, err
	}
	files, err := parseScrape(body, hashes)
	var refused *Refusal
	if status.code != http.StatusOK && err != nil && !errors.As(err, &refused) {
		err = status
	}
	if err != nil {
		return nil, err
	}
	counts := make([]Counts, len(hashes))
	for i, h := range hashes {
		counts[i] = Counts{Seeds: -1, Leeches: -1, Completed: -1}
		if f, ok := files[h]; ok {
			counts[i] = f
		}
	}
	return counts, nil
}

// parseScrape reads what the answer to a scrape says of hashes. Some trackers answer with
// all torrents that they have.
func parseScrape(body []byte, hashes []weir.InfoHash) (map[weir.InfoHash]Counts, error) {
	files := map[weir.InfoHash]Counts{}
	var r refusalReader
	c := bencode.New(body)
	file := func(name []byte) error {
		if len(name) != len(weir.InfoHash{}) || !slices.Contains(hashes, weir.InfoHash(name)) {
			return c.Skip()
		}
		f := Counts{Seeds: -1, Leeches: -1, Completed: -1}
		err := c.MaybeDict(func(key []byte) error {
			switch string(key) {
			case "complete":
				return readCount(c, &f.Seeds)
			case "incomplete":
				return readCount(c, &f.Leeches)
			case "downloaded":
				return readCount(c, &f.Completed)
			}
			return c.Skip()
		})
		files[weir.InfoHash(name)] = f
		return err
	}
	err := c.Dict(func(key []byte) error {
		if string(key) == "files" {
			return c.MaybeDict(file)
		}
		return r.read(c, key)
	})
	if err == nil {
		err = r.refusal()
	}
	return files, err
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
