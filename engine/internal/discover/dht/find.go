package dht

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// maxResolved bounds the addresses of one name.
const maxResolved = 4

// Lookup finds the peers of hash, hands them to found as they come, and announces us at
// port unless that is 0. repeat says that the torrent was looked up before. It returns
// how many nodes answered.
func (n *Node) Lookup(ctx context.Context, hash weir.InfoHash, port int, repeat bool, found func([]netip.AddrPort)) (int, error) {
	tokens := []chan struct{}{n.lookups}
	if repeat {
		tokens = []chan struct{}{n.repeats, n.lookups}
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
	get := querier{server: server, method: "get_peers", found: found}
	l := newLookup(hash)
	l.add(n.startNodes(ctx, server)...)
	answers := get.run(ctx, l)
	if ctx.Err() == nil && port > 0 {
		get.announce(ctx, l, port)
	}
	if ctx.Err() == nil && n.selfDue(time.Now()) {
		// Our neighbours get to know us, and we them (BEP 5).
		l := newLookup(weir.InfoHash(server.ID()))
		l.add(n.startNodes(ctx, server)...)
		find := querier{server: server, method: "find_node", found: func([]netip.AddrPort) {}}
		find.run(ctx, l)
		n.record()
	}
	return answers, ctx.Err()
}

// selfDue reports whether our own neighbours are to be looked up, every half hour.
func (n *Node) selfDue(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.selfAt) < renewAfter {
		return false
	}
	n.selfAt = now
	return true
}

func nodeAddr(a netip.AddrPort) krpc.NodeAddr {
	return krpc.NodeAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}

// startNodes returns the nodes that a lookup may ask first.
func (n *Node) startNodes(ctx context.Context, server *dht.Server) []node {
	var out []node
	for _, ni := range server.Nodes() {
		a := ni.Addr.ToNodeAddrPort().AddrPort
		out = append(out, node{id: ni.ID, addr: peeraddr.Unmap(a), hasID: true})
	}
	n.bookMu.Lock()
	for _, a := range n.named {
		out = append(out, node{addr: a})
	}
	n.bookMu.Unlock()
	if len(out) >= enoughNodes {
		return out
	}
	for _, a := range Resolve(ctx, n.opt.Bootstrap) {
		out = append(out, node{addr: a})
	}
	return out
}

// Resolve looks up the addresses of nodes (host:port), side by side. Those without one
// are left out.
func Resolve(ctx context.Context, hostPorts []string) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found := make(chan []netip.AddrPort)
	for _, hostPort := range hostPorts {
		go func() {
			var addrs []netip.AddrPort
			host, service, err := net.SplitHostPort(hostPort)
			port, errPort := strconv.ParseUint(service, 10, 16)
			if err == nil && errPort == nil {
				ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				for _, ip := range ips[:min(len(ips), maxResolved)] {
					addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
				}
			}
			found <- addrs
		}()
	}
	var out []netip.AddrPort
	for range hostPorts {
		out = append(out, <-found...)
	}
	return out
}
