// Package utp has the names of github.com/anacrolix/go-utp that the torrent
// client is compiled against, and no µTP: the tests speak TCP alone.
package utp

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Default names the implementation.
const Default = "none"

var errNone = errors.New("built without µTP")

// Option configures a socket.
type Option func()

// WithLogger does nothing.
func WithLogger(*slog.Logger) Option { return func() {} }

// FirewallCallback says whether to refuse the peer at an address.
type FirewallCallback = func(net.Addr) bool

// Socket is what a µTP socket would be.
type Socket interface {
	net.PacketConn
	Accept() (net.Conn, error)
	Addr() net.Addr
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	SetFirewallCallback(FirewallCallback)
}

// NewSocket fails.
func NewSocket(network, addr string, opts ...Option) (Socket, error) { return nil, errNone }

// NewSocketFromPacketConn fails.
func NewSocketFromPacketConn(pc net.PacketConn, opts ...Option) (Socket, error) { return nil, errNone }
