package discover

import (
	"context"
	"net/netip"
	"sync"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"

	"github.com/weirfs/weir"
)

// walk carries out a lookup with a server's questions.
type walk struct {
	server *dht.Server
	query  string // get_peers or find_node
	found  func([]netip.AddrPort)
}

// reply is how a question ended.
type reply struct {
	from  node
	ret   *krpc.Return // nil: no answer
	peers []netip.AddrPort
}

// run asks until l is over or ctx ends, and returns how many answered. What it
// starts has ended when it returns.
func (w *walk) run(ctx context.Context, l *lookup) (answers int) {
	replies := make(chan reply, lookupAtOnce)
	for {
		for ctx.Err() == nil {
			n, ok := l.next()
			if !ok {
				break
			}
			go func() { replies <- w.ask(ctx, n, l.target) }()
		}
		if l.flying == 0 && (ctx.Err() != nil || l.over()) {
			return answers
		}
		r := <-replies // each question ends soon after ctx
		if r.ret == nil {
			l.failed()
			continue
		}
		answers++
		if len(r.peers) > 0 {
			w.found(r.peers)
		}
		from := answerer{node: node{addr: r.from.addr, id: r.ret.ID, known: true}}
		if r.ret.Token != nil {
			from.token = *r.ret.Token
		}
		l.answered(from, namedNodes(r))
	}
}

// ask asks one node.
func (w *walk) ask(ctx context.Context, n node, target weir.InfoHash) reply {
	args := krpc.MsgArgs{Want: []krpc.Want{krpc.WantNodes, krpc.WantNodes6}}
	if w.query == "get_peers" {
		args.InfoHash = krpc.ID(target)
	} else {
		args.Target = krpc.ID(target)
	}
	res := w.server.Query(ctx, dht.NewAddr(nodeAddr(n.addr).UDP()), w.query, dht.QueryInput{MsgArgs: args})
	r := reply{from: n}
	if res.Err != nil || res.Reply.R == nil {
		return r
	}
	r.ret = res.Reply.R
	for _, v := range r.ret.Values {
		r.peers = append(r.peers, v.ToNodeAddrPort().AddrPort)
	}
	r.peers = usableOnly(r.peers[:min(len(r.peers), maxTrackerPeers)], n.addr.Addr().IsLoopback())
	return r
}

// namedNodes returns the nodes that an answer names and that can be asked.
func namedNodes(r reply) []node {
	var out []node
	r.ret.ForAllNodes(func(ni krpc.NodeInfo) {
		a := ni.Addr.ToNodeAddrPort().AddrPort
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if usable(a, r.from.addr.Addr().IsLoopback()) {
			out = append(out, node{addr: a, id: ni.ID, known: true})
		}
	})
	return out
}

// announce tells the closest nodes that we are a peer at port (BEP 5).
func (w *walk) announce(ctx context.Context, l *lookup, port int) {
	var wg sync.WaitGroup
	for _, a := range l.closest {
		if a.token == "" {
			continue
		}
		wg.Go(func() {
			w.server.Query(ctx, dht.NewAddr(nodeAddr(a.addr).UDP()), "announce_peer", dht.QueryInput{
				MsgArgs: krpc.MsgArgs{InfoHash: krpc.ID(l.target), Port: &port, Token: a.token},
			})
		})
	}
	wg.Wait()
}
