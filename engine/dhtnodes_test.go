package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
)

// openNode opens a UDP socket that stands for a node of the DHT: asked has the
// queries that came, and it answers none.
func openNode(tb testing.TB) (addr netip.AddrPort, asked chan []byte) {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	asked = make(chan []byte, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, _, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				select {
				case asked <- bytes.Clone(buf[:n]):
				default:
				}
			}
		}
	}()
	tb.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), asked
}

// awaitQuery waits until a node is asked for the peers of a torrent.
func awaitQuery(tb testing.TB, asked chan []byte, ih fmt.Stringer) {
	tb.Helper()
	ctx := testContext(tb, 20*time.Second)
	for {
		select {
		case q := <-asked:
			if bytes.Contains(q, []byte("9:get_peers")) {
				return
			}
		case <-ctx.Done():
			tb.Fatalf("the node is not asked for torrent %s", ih)
		}
	}
}

// TestPortMessages: peers with a node in the DHT are told of ours, and theirs is queried;
// neither happens for private torrents or without the DHT.
func TestPortMessages(t *testing.T) {
	t.Parallel()
	for _, private := range []bool{false, true} {
		for _, dht := range []bool{false, true} {
			t.Run(fmt.Sprintf("Private=%v,DHT=%v", private, dht), func(t *testing.T) {
				t.Parallel()
				c := newContent(t, 1<<20, 256<<10)
				spec := specOf(c)
				info := *spec.Info
				info.Private = private
				spec.Info = &info
				e := openEngine(t, engine.Options{DHT: dht})
				tor := addTorrent(t, e, spec)
				w := tor.NewWant() // keeps it warm
				defer w.Close()
				ctx := testContext(t, 20*time.Second)
				none := dialBare(t, portOf(e), c.InfoHash()) // it has no node
				p := dialBareBits(t, "127.0.0.1", portOf(e), c.InfoHash(), wire.WithDHT(wire.OurBits()))
				node, asked := openNode(t)
				p.send(wire.AppendPort(nil, int(node.Port())))
				told := func(p *barePeer) (port int) {
					p.send(wire.AppendRequest(nil, pp.Request, 0, 0, 16384)) // answered by a reject, after the greeting
					p.expect(ctx, "reject", func(m wire.Message) bool {
						if m.Type == pp.Port {
							port = m.Port
						}
						return m.Type == pp.Reject
					})
					return port
				}
				if got := told(p); (got > 0) != (dht && !private) {
					t.Errorf("told of our node at port %d", got)
				}
				if got := told(none); got != 0 {
					t.Errorf("a peer without a node was told of ours, at port %d", got)
				}
				if dht && !private {
					awaitQuery(t, asked, c.InfoHash())
				} else if len(asked) > 0 {
					t.Error("the peer's node was asked")
				}
			})
		}
	}
}

// TestNodesOfTorrents: the nodes that a torrent or magnet names are asked, those on
// this machine only where that is allowed.
func TestNodesOfTorrents(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprintf("AllowPrivate=%v", allowed), func(t *testing.T) {
			t.Parallel()
			c := newContent(t, 1<<20, 256<<10)
			node, asked := openNode(t)
			named, askedByName := openNode(t)
			spec := magnetOf(c)
			spec.Nodes = []string{node.String(), fmt.Sprintf("localhost:%d", named.Port())}
			e := openEngine(t, engine.Options{DHT: true, AllowPrivate: allowed})
			tor := addTorrent(t, e, spec)
			w := tor.NewWant()
			defer w.Close()
			p := dialBareBits(t, "127.0.0.1", portOf(e), c.InfoHash(), wire.OurBits()) // warms it
			if allowed {
				awaitQuery(t, asked, c.InfoHash())
				awaitQuery(t, askedByName, c.InfoHash())
				return
			}
			// What is asked after its own node has been is asked after the others
			// could have been.
			own, askedOwn := openNode(t)
			p.send(wire.AppendPort(nil, int(own.Port())))
			awaitQuery(t, askedOwn, c.InfoHash())
			if len(asked) > 0 || len(askedByName) > 0 {
				t.Error("a node on this machine was asked on the word of a magnet")
			}
		})
	}
}
