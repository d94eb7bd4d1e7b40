package connector

import (
	"context"
	"net"
)

// Network is how peers and HTTP trackers are reached, and how we are. Its
// addresses are those of TCP. The DHT, local discovery and UDP trackers use the
// system's network in any case.
type Network interface {
	// Dial connects to host:port.
	Dial(ctx context.Context, address string) (net.Conn, error)
	// Listen takes connections at host:port; an empty host is every address, port 0
	// any port.
	Listen(address string) (net.Listener, error)
}

var _ Network = systemNetwork{}

// systemNetwork is the operating system's.
type systemNetwork struct{}

func (systemNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func (systemNetwork) Listen(address string) (net.Listener, error) {
	return net.Listen("tcp", address)
}
