package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Relay is a TCP relay that puts foreign clients on a Link: whoever connects to
// it reaches the target, later and slower. The link's host is the target: its
// rate limits what the target sends, ReverseBytesPerSec what it receives, all
// connections together.
type Relay struct {
	listener net.Listener
	target   string
	shaper   *Shaper
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// OpenRelay starts a relay that listens on listen (host:port) and forwards to
// target. Close ends it.
func OpenRelay(listen, target string, link Link) (*Relay, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: target, shaper: NewShaper(link)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.accept)
	return r, nil
}

// Addr returns the host:port that the relay listens on.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// SetRate changes the rates of the link (0 is unlimited).
func (r *Relay) SetRate(bytesPerSec, reverseBytesPerSec int64) {
	r.shaper.SetRate(bytesPerSec, reverseBytesPerSec)
}

// Close drops all connections, stops listening, and waits for the goroutines.
func (r *Relay) Close() error {
	r.cancel()
	err := r.listener.Close()
	r.shaper.Close()
	r.running.Wait()
	return err
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		r.running.Go(func() { r.forward(client.(*net.TCPConn)) })
	}
}

// relayBufferBytes keeps the kernel from taking in megabytes ahead of a rate,
// which no cancel could call back.
const relayBufferBytes = 64 << 10

func (r *Relay) forward(client *net.TCPConn) {
	defer client.Close()
	var d net.Dialer
	nc, err := d.DialContext(r.ctx, "tcp", r.target)
	if err != nil {
		return
	}
	target := nc.(*net.TCPConn)
	defer target.Close()
	link := r.shaper.link
	f := &forwarding{
		client: client, target: target,
		down: newLane(&r.shaper.out, link.RTT/2), up: newLane(&r.shaper.in, link.RTT/2),
	}
	if link.Connect {
		now := time.Now()
		f.up.setFloor(now.Add(link.RTT * 3 / 2))
		f.down.setFloor(now.Add(link.RTT * 2))
	}
	if link.BytesPerSec > 0 {
		target.SetReadBuffer(relayBufferBytes)
	}
	if link.ReverseBytesPerSec > 0 {
		client.SetReadBuffer(relayBufferBytes)
	}
	if !r.shaper.enter(f) {
		return
	}
	defer r.shaper.leave(f)
	f.run()
}

// forwarding is one connection through a relay.
type forwarding struct {
	client, target *net.TCPConn
	down, up       *lane // towards the client, towards the target
}

func (f *forwarding) run() {
	var wg sync.WaitGroup
	wg.Go(func() { f.down.fillFrom(f.target) })
	wg.Go(func() { f.up.fillFrom(f.client) })
	wg.Go(func() { f.deliver(f.down, f.client) })
	wg.Go(func() { f.deliver(f.up, f.target) })
	wg.Wait()
}

// deliver passes on an orderly end of one direction as such; anything else ends
// both.
func (f *forwarding) deliver(l *lane, to *net.TCPConn) {
	if err := l.drainTo(to); !errors.Is(err, io.EOF) || to.CloseWrite() != nil {
		f.abort()
	}
}

func (f *forwarding) abort() {
	f.down.stop(net.ErrClosed)
	f.up.stop(net.ErrClosed)
	f.client.Close()
	f.target.Close()
}
