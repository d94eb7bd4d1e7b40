package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Client speaks to one mount. It is safe for concurrent use. Its methods return
// errors that say what to do, and that wrap the sentinels of package weir where
// the server said so.
type Client struct {
	socket string
	http   *http.Client
	pid    atomic.Int32 // of the process that listens; 0 before the first connection
}

// NewClient returns a client of the socket at a path. It connects at the first
// request; Close ends idle connections.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.dial, DisableCompression: true}}
	return c
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, err
	}
	if raw, err := conn.(*net.UnixConn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				c.pid.Store(peer.Pid)
			}
		})
	}
	return conn, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends body (JSON, none when nil) and reads the answer into out (unless nil).
// path begins after Prefix and may have a query.
func (c *Client) Do(ctx context.Context, method, path string, body, out any) error {
	var b io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		b = bytes.NewReader(text)
	}
	return c.send(ctx, method, path, "application/json", b, out)
}

// Stream calls line with each line of an answer until it ends, which is nil, or
// line returns an error, which Stream returns.
func (c *Client) Stream(ctx context.Context, method, path string, line func(text []byte) error) error {
	ctx, release := c.whileAlive(ctx)
	defer release()
	resp, err := c.request(ctx, method, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var text json.RawMessage
		switch err := d.Decode(&text); {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("weir ended while it answered: %w", err)
		}
		if err := line(text); err != nil {
			return err
		}
	}
}

func (c *Client) send(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	ctx, release := c.whileAlive(ctx)
	defer release()
	resp, err := c.request(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		return fmt.Errorf("read weir's answer: %w", err)
	}
	return nil
}

// request returns a successful answer, whose body the caller closes.
func (c *Client) request(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://weir"+Prefix+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var answer struct {
		Error *Error `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(text, &answer) != nil || answer.Error == nil {
		return nil, fmt.Errorf("weir answers %s: %s: is it of another version?", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil, answer.Error
}

// explain says why there was no answer.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL is made up
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // it may lie in the cache folder
		return fmt.Errorf("the control socket %s is gone: it was removed, or weir has ended; unmount and mount again: %w", c.socket, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no weir listens at %s: it has ended; mount again: %w", c.socket, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s belongs to the user who mounted: run this as that user: %w", c.socket, err)
	}
	return fmt.Errorf("ask weir at %s: %w", c.socket, err)
}
