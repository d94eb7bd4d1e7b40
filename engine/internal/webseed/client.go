package webseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxHops = 5
	// stallTime is how long a body may bring nothing before the request is given up.
	stallTime = 15 * time.Second
	// maxRest is how much behind the asked bytes is read so that a connection can be
	// used again.
	maxRest = 64 << 10
)

// Client asks web servers for ranges of files, for all torrents, over the
// connections of its pool, which judges addresses (netrule.Pool). Safe for concurrent use.
type Client struct {
	pool  http.RoundTripper
	agent string
	stall time.Duration // stallTime
}

// NewClient returns a Client over a pool that follows no redirects. agent is what it calls itself (User-Agent).
func NewClient(pool http.RoundTripper, agent string) *Client {
	return &Client{pool: pool, agent: agent, stall: stallTime}
}

// Request is one range of one file.
type Request struct {
	URL *url.URL // with user and password where there are any; they are sent to its host only
	Asked
}

// Result is what became of a Request.
type Result struct {
	Answer
	// Location is where redirects have led, if that may be remembered; "" otherwise.
	Location string
	Hops     int           // redirects that were followed
	Multi    bool          // HTTP/2: many requests share a connection
	First    time.Duration // until the first byte of the answer's head
}

// BodyError says that a body was not what its head had promised.
type BodyError struct{ Reason string }

func (e *BodyError) Error() string { return e.Reason }

// Sink takes the bytes of a body.
type Sink interface {
	// Next returns memory for the next of the asked bytes, never for more than are left.
	Next() []byte
	// Filled says that it is full. An error ends the request and is returned.
	Filled() error
}

// Get makes a request and its redirects, and gives the asked bytes to sink, in
// order. The answer is judged by its
// head: unless it is Take, no body is read and the error is nil. An error before any
// answer is the network's, or wraps netrule.ErrInside. No error names the URL.
func (c *Client) Get(ctx context.Context, r Request, sink Sink) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at := r.URL
	var res Result
	lasting := true
	start := time.Now()
	for hop := 0; ; hop++ {
		resp, err := c.ask(ctx, at, r)
		if err != nil {
			return res, err
		}
		res.Multi = resp.ProtoMajor >= 2
		res.First = time.Since(start)
		res.Answer = Judge(r.Asked, resp.StatusCode, resp.Header, resp.ContentLength, time.Now())
		if res.Verdict == Take {
			if hop > 0 && lasting {
				to := *at
				to.User = nil
				res.Location = to.String()
			}
			return res, c.read(ctx, cancel, resp, r.Asked, res.Answer, sink)
		}
		discard(resp)
		if res.Verdict != Moved {
			return res, nil
		}
		lasting = lasting && res.Lasting
		to, err := at.Parse(res.Answer.Location)
		switch {
		case err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https":
			res.Answer = Answer{Verdict: Malformed, Reason: "a redirect to what is no web address"}
			return res, nil
		case hop == maxHops:
			res.Answer = Answer{Verdict: FailFile, Reason: fmt.Sprintf("more than %d redirects", maxHops)}
			return res, nil
		}
		if to.User == nil && to.Host == r.URL.Host {
			to.User = r.URL.User
		}
		at, res.Hops = to, hop+1
	}
}

// ask makes one request.
func (c *Client) ask(ctx context.Context, at *url.URL, r Request) (*http.Response, error) {
	u := *at
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("the web address is malformed")
	}
	if name := at.User.Username(); at.User != nil {
		password, _ := at.User.Password()
		req.SetBasicAuth(name, password)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.Range.Off, r.Range.End-1))
	return c.pool.RoundTrip(req)
}

// read gives the asked bytes of a body to sink.
func (c *Client) read(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response, asked Asked, a Answer, sink Sink) error {
	stalled := &BodyError{fmt.Sprintf("nothing came for %v", c.stall)}
	timer := time.AfterFunc(c.stall, func() { cancel(stalled) })
	defer timer.Stop()
	body := resp.Body
	defer body.Close()
	fail := func(err error) error {
		if errors.Is(context.Cause(ctx), stalled) {
			return stalled
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &BodyError{"the answer ended early"}
		}
		return &BodyError{"the answer broke off: " + plain(err)}
	}
	if a.Skip > 0 {
		if _, err := io.CopyN(io.Discard, body, a.Skip); err != nil {
			return fail(err)
		}
	}
	for left := asked.Range.Len(); left > 0; {
		part := sink.Next()
		left -= int64(len(part))
		for len(part) > 0 {
			n, err := body.Read(part)
			timer.Reset(c.stall)
			if part = part[n:]; err != nil && len(part) > 0 {
				return fail(err)
			}
		}
		if err := sink.Filled(); err != nil {
			return err
		}
	}
	// What is left of a small file is read, so that the connection is free again. More
	// than that, as of a part that is longer than it said, is not: closing ends it.
	rest := int64(1)
	if a.Whole {
		if rest = asked.Length - asked.Range.End; rest > maxRest {
			return nil
		}
		rest++
	}
	_, _ = io.CopyN(io.Discard, body, rest)
	return nil
}

// discard gives up an answer whose body nobody wants, but for one that is short.
func discard(resp *http.Response) {
	if 0 <= resp.ContentLength && resp.ContentLength <= 4<<10 {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength+1)
	}
	resp.Body.Close()
}

// plain returns an error's text without an address of its own in front.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return strings.TrimPrefix(err.Error(), "net/http: ")
}
