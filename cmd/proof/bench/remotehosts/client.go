package remotehosts

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"time"
)

// Client drives remote hosts. Its methods are safe for concurrent use.
type Client struct {
	rpc *rpc.Client

	hosts []netip.Addr
}

// Serve answers a client on conn until it goes away.
func (s *Hosts) Serve(conn io.ReadWriteCloser) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	server.ServeConn(conn)
	return nil
}

func (s *Hosts) server() (*rpc.Server, error) {
	server := rpc.NewServer()
	return server, server.RegisterName("Hosts", s)
}

// NewClient returns the client of hosts that are served at the other end of conn.
func NewClient(conn io.ReadWriteCloser, o Options) *Client {
	return &Client{rpc: rpc.NewClient(conn), hosts: o.Hosts}
}

// Local opens remote hosts in this process and returns its client, and what ends both.
func Local(o Options) (c *Client, end func(), err error) {
	s, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	here, there := net.Pipe()
	serve, err := s.server()
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve.ServeConn(there)
	}()
	c = NewClient(here, o)
	return c, func() {
		here.Close()
		<-done
		s.Close()
	}, nil
}

// AnnounceURL returns the address of the hosts' tracker that is reached at a.
func AnnounceURL(a netip.Addr) string {
	return fmt.Sprintf("http://%s/announce", netip.AddrPortFrom(a, trackerPort))
}

// FileURL returns where host serves a file of the data folder.
func (c *Client) FileURL(host int, path string) string {
	return fmt.Sprintf("http://%s/%s", netip.AddrPortFrom(c.hosts[host], httpPort), path)
}

// call calls a method of the hosts, for as long as ctx lasts.
func (c *Client) call(ctx context.Context, method string, arg, reply any) error {
	done := c.rpc.Go("Hosts."+method, arg, reply, make(chan *rpc.Call, 1)).Done
	select {
	case call := <-done:
		return call.Error
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Start replaces what is seeded and returns the addresses of who seeds it.
func (c *Client) Start(ctx context.Context, s Seeding) (peers []string, err error) {
	err = c.call(ctx, "Start", s, &peers)
	return peers, err
}

// Stop ends all seeding.
func (c *Client) Stop(ctx context.Context) error { return c.call(ctx, "Stop", true, new(bool)) }

// Freeze stops a host's seeder as it stands, for good.
func (c *Client) Freeze(ctx context.Context, host int) error {
	return c.call(ctx, "Freeze", host, new(bool))
}

// Leave takes a host out of the swarm.
func (c *Client) Leave(ctx context.Context, host int) error {
	return c.call(ctx, "Leave", host, new(bool))
}

// Join brings a host into the swarm.
func (c *Client) Join(ctx context.Context, host int) error {
	return c.call(ctx, "Join", host, new(bool))
}

// Requests returns what own seeders were asked for since Start.
func (c *Client) Requests(ctx context.Context) (r Requests, err error) {
	err = c.call(ctx, "Requests", true, &r)
	return r, err
}

// Uploaded returns how many bytes of content were sent since Start.
func (c *Client) Uploaded(ctx context.Context) (sum int64, err error) {
	var by map[int]int64
	err = c.call(ctx, "Uploaded", true, &by)
	for _, n := range by {
		sum += n
	}
	return sum, err
}

// Settled returns the same once nothing has moved for as long as quiet.
func (c *Client) Settled(ctx context.Context, quiet time.Duration) (int64, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, since, begin := int64(-1), time.Now(), time.Now()
	for {
		n, err := c.Uploaded(ctx)
		if err != nil {
			return 0, err
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > quiet || time.Since(begin) > 15*time.Second {
			return last, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
