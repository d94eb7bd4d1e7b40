package link

import (
	"io"
	"net/rpc"
)

// Service is a line that another process drives, with net/rpc.
type Service struct{ line *Line }

// Set changes delay and rates.
func (s *Service) Set(r Rates, _ *bool) error {
	s.line.Set(r)
	return nil
}

// Traffic returns the counters.
func (s *Service) Traffic(_ bool, t *Traffic) error {
	*t = s.line.Traffic()
	return nil
}

// Serve carries packets between two TUN devices and answers a Client on conn,
// until that goes away.
func Serve(conn io.ReadWriteCloser, near, far int) error {
	l, stop, err := Open(near, far)
	if err != nil {
		return err
	}
	defer stop()
	server := rpc.NewServer()
	if err := server.RegisterName("Line", &Service{l}); err != nil {
		return err
	}
	server.ServeConn(conn)
	return nil
}

// Client drives a line in another process.
type Client struct{ rpc *rpc.Client }

// NewClient returns the client of a line that is served at the other end of conn.
func NewClient(conn io.ReadWriteCloser) *Client { return &Client{rpc.NewClient(conn)} }

// Set changes delay and rates for packets to come; it is called between runs.
func (c *Client) Set(r Rates) error { return c.rpc.Call("Line.Set", r, new(bool)) }

// Traffic returns what the line has carried.
func (c *Client) Traffic() (t Traffic, err error) {
	err = c.rpc.Call("Line.Traffic", true, &t)
	return t, err
}
