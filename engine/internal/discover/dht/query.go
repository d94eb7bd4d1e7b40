package dht

import (
	"context"
	"net/netip"
	"sync"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// querier carries out a lookup with a server's queries.
type querier struct {
	server *dht.Server
	method string // get_peers or find_node
	found  func([]netip.AddrPort)
}

// maxPeers bounds the peers of one answer.
const maxPeers = 1000

// reply is how a query ended.
type reply struct {
	from  node
	ret   *krpc.Return // nil: no answer
	peers []netip.AddrPort
}

// run asks until l is over or ctx ends, and returns how many answered. All that it
// starts has ended when it returns.
func (q *querier) run(ctx context.Context, l *lookup) (answers int) {
	replies := make(chan reply, maxInFlight)
	for {
		for ctx.Err() == nil {
			n, ok := l.next()
			if !ok {
				break
			}
			go func() { replies <- q.ask(ctx, n, l.target) }()
		}
		if l.inFlight == 0 && (ctx.Err() != nil || l.over()) {
			return answers
		}
		r := <-replies // each query ends soon after ctx
		if r.ret == nil {
			l.failed()
			continue
		}
		answers++
		if len(r.peers) > 0 {
			q.found(r.peers)
		}
		from := answerer{node: node{addr: r.from.addr, id: r.ret.ID, hasID: true}}
		if r.ret.Token != nil {
			from.token = *r.ret.Token
		}
		l.answered(from, namedNodes(r))
	}
}

// ask asks one node.
func (q *querier) ask(ctx context.Context, n node, target weir.InfoHash) reply {
	args := krpc.MsgArgs{Want: []krpc.Want{krpc.WantNodes, krpc.WantNodes6}}
	if q.method == "get_peers" {
		args.InfoHash = krpc.ID(target)
	} else {
		args.Target = krpc.ID(target)
	}
	res := q.server.Query(ctx, dht.NewAddr(nodeAddr(n.addr).UDP()), q.method, dht.QueryInput{MsgArgs: args})
	r := reply{from: n}
	if res.Err != nil || res.Reply.R == nil {
		return r
	}
	r.ret = res.Reply.R
	for _, v := range r.ret.Values {
		r.peers = append(r.peers, v.ToNodeAddrPort().AddrPort)
	}
	r.peers = peeraddr.Filter(r.peers[:min(len(r.peers), maxPeers)], n.addr.Addr().IsLoopback())
	return r
}

// namedNodes returns the nodes that an answer names and that can be asked.
func namedNodes(r reply) []node {
	var out []node
	r.ret.ForAllNodes(func(ni krpc.NodeInfo) {
		a := ni.Addr.ToNodeAddrPort().AddrPort
		a = peeraddr.Unmap(a)
		if peeraddr.Usable(a, r.from.addr.Addr().IsLoopback()) {
			out = append(out, node{addr: a, id: ni.ID, hasID: true})
		}
	})
	return out
}

// announce tells the closest nodes that we are a peer at port (BEP 5).
func (q *querier) announce(ctx context.Context, l *lookup, port int) {
	var wg sync.WaitGroup
	for _, a := range l.closest {
		if a.token == "" {
			continue
		}
		wg.Go(func() {
			q.server.Query(ctx, dht.NewAddr(nodeAddr(a.addr).UDP()), "announce_peer", dht.QueryInput{
				MsgArgs: krpc.MsgArgs{InfoHash: krpc.ID(l.target), Port: &port, Token: a.token},
			})
		})
	}
	wg.Wait()
}
