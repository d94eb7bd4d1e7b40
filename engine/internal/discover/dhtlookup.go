package discover

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"

	"github.com/weirfs/weir"
)

// lookup finds the peers of hash, hands them to found as they come, and announces
// us with port unless that is 0. repeat says that the torrent was looked up
// before. It returns how many nodes answered.
func (n *dhtNode) lookup(ctx context.Context, hash weir.InfoHash, port int, repeat bool, found func([]netip.AddrPort)) (int, error) {
	tokens := []chan struct{}{n.looking}
	if repeat {
		tokens = []chan struct{}{n.repeats, n.looking}
	}
	for _, token := range tokens {
		select {
		case token <- struct{}{}:
			defer func() { <-token }()
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	server, done, err := n.use()
	if err != nil {
		return 0, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	w := walk{server: server, query: "get_peers", found: found}
	l := newLookup(hash)
	l.offer(n.startNodes(ctx, server)...)
	answers := w.run(ctx, l)
	if ctx.Err() == nil && port > 0 {
		w.announce(ctx, l, port)
	}
	if ctx.Err() == nil && n.selfDue(time.Now()) {
		// Our neighbours get to know us, and we them (BEP 5).
		l := newLookup(weir.InfoHash(server.ID()))
		l.offer(n.startNodes(ctx, server)...)
		own := walk{server: server, query: "find_node", found: func([]netip.AddrPort) {}}
		own.run(ctx, l)
		n.record()
	}
	return answers, ctx.Err()
}

// selfDue reports whether our own neighbours are to be looked up, once in a
// while.
func (n *dhtNode) selfDue(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.self) < dhtRenew {
		return false
	}
	n.self = now
	return true
}

func nodeAddr(a netip.AddrPort) krpc.NodeAddr {
	return krpc.NodeAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}

// startNodes returns whom a lookup may ask first.
func (n *dhtNode) startNodes(ctx context.Context, server *dht.Server) []node {
	var out []node
	for _, ni := range server.Nodes() {
		a := ni.Addr.ToNodeAddrPort().AddrPort
		out = append(out, node{id: ni.ID, addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), known: true})
	}
	n.bookMu.Lock()
	for _, a := range n.hints {
		out = append(out, node{addr: a})
	}
	n.bookMu.Unlock()
	if len(out) >= dhtEnough {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	return append(out, resolve(ctx, n.opt.DHTBootstrap)...)
}

// resolve looks up the addresses of routers, side by side. Those without one are
// left out.
func resolve(ctx context.Context, routers []string) []node {
	found := make(chan []node)
	for _, r := range routers {
		go func() {
			var nodes []node
			host, service, err := net.SplitHostPort(r)
			port, errPort := strconv.ParseUint(service, 10, 16)
			if err == nil && errPort == nil {
				ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				for _, ip := range ips[:min(len(ips), mostNamed)] {
					nodes = append(nodes, node{addr: netip.AddrPortFrom(ip.Unmap(), uint16(port))})
				}
			}
			found <- nodes
		}()
	}
	var out []node
	for range routers {
		out = append(out, <-found...)
	}
	return out
}
