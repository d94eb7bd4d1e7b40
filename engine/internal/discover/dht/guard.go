package dht

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	library "github.com/anacrolix/torrent/bencode"
	"golang.org/x/time/rate"

	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// guard stands between the socket and the library's server. A single packet can end the
// program in that library (an empty string among the values or in "ip", an announce_peer
// without arguments: makeslice and nil dereference, v2.23.1-0.20260525063928), make it
// allocate by a claimed length, or have it keep made-up query names for good. So only
// sound messages reach the server.
//
// The socket outlives the server that uses it: see serverConn.
type guard struct {
	net.PacketConn
	// answered is called with each sound answer, on the reading goroutine.
	answered func(from netip.AddrPort, id [20]byte, ourIP netip.Addr)
	readOnly func() bool   // we answer no queries (BEP 43)
	refusals *rate.Limiter // of queries
}

// serverConn is the guard for one server: closing it leaves the socket open.
type serverConn struct {
	*guard
	reading sync.Mutex // held while reading
	closed  atomic.Bool
	ended   chan struct{} // closed by Close
}

func newServerConn(g *guard) *serverConn {
	return &serverConn{guard: g, ended: make(chan struct{})}
}

// ReadFrom returns the next sound message. It fails only once the serverConn is closed:
// the server panics on any error before.
func (c *serverConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if c.closed.Load() {
			return 0, nil, net.ErrClosed
		}
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			if c.closed.Load() {
				return 0, nil, net.ErrClosed
			}
			select { // the network may be down: no need to hurry
			case <-time.After(100 * time.Millisecond):
			case <-c.ended:
			}
			continue
		}
		from, ok := peeraddr.OfUDP(addr)
		if !ok || from.Port() == 0 {
			continue
		}
		m, ok := parseSound(b[:n])
		if !ok {
			c.refuse(b[:n], from)
			continue
		}
		if m.Y == krpc.YResponse {
			ourIP, _ := netip.AddrFromSlice(m.IP.IP)
			c.answered(from, m.R.ID, ourIP.Unmap())
		}
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// refuse answers a query that is not for us, so that the sender need not wait for a
// timeout.
func (g *guard) refuse(query []byte, from netip.AddrPort) {
	answer := refusalOf(query)
	if answer == nil || g.readOnly() || !g.refusals.Allow() {
		return
	}
	_, _ = g.WriteTo(answer, net.UDPAddrFromAddrPort(from)) // which may be lost anyway
}

// refusalOf returns the error message (BEP 5) for a query that parseSound refused: 204
// for an unknown method, 203 for arguments that make no sense. It is nil for what is no
// query, and for one that is shorter than the answer: whoever fakes the sender's address
// must not gain by that.
func refusalOf(b []byte) []byte {
	h, err := parseHead(b)
	if err != nil || string(h.kind) != krpc.YQuery || h.method == nil || len(h.transaction) == 0 || len(h.transaction) > 32 {
		return nil
	}
	code, text := 203, "Protocol Error"
	if !ourMethod(string(h.method)) {
		code, text = 204, "Method Unknown"
	}
	answer := fmt.Appendf(nil, "d1:eli%de%d:%se1:t%d:%s1:y1:ee", code, len(text), text, len(h.transaction), h.transaction)
	if len(answer) > len(b) {
		return nil
	}
	return answer
}

// Close makes ReadFrom fail and waits for it. The socket stays open.
func (c *serverConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	close(c.ended)
	_ = c.SetReadDeadline(time.Now()) // only to wake the reader
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.SetReadDeadline(time.Time{})
}

// parseSound reads a message of the DHT (BEP 5), if it is one that the library
// survives. Queries of other extensions (BEP 44, 51) are not for us.
func parseSound(b []byte) (m krpc.Msg, ok bool) {
	if h, err := parseHead(b); err != nil || !h.soundAddrs {
		return m, false
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if err := library.Unmarshal(b, &m); err != nil || m.T == "" {
		return m, false
	}
	switch m.Y {
	case krpc.YQuery:
		return m, m.A != nil && soundQuery(&m)
	case krpc.YResponse:
		return m, m.R != nil
	case krpc.YError:
		return m, true
	}
	return m, false
}

// ourMethod reports whether we answer a query.
func ourMethod(q string) bool {
	switch q {
	case "ping", "find_node", "get_peers", "announce_peer":
		return true
	}
	return false
}

func soundQuery(m *krpc.Msg) bool {
	if m.Q == "announce_peer" {
		return m.A.Port == nil && m.A.ImpliedPort || m.A.Port != nil && *m.A.Port > 0 && *m.A.Port < 1<<16
	}
	return ourMethod(m.Q)
}

// head is what we read of a message before the library does. nil is what is not there.
type head struct {
	transaction, kind, method []byte // its keys t, y and q
	// soundAddrs says that the addresses in it have the length of one, which the library
	// does not check.
	soundAddrs bool
}

var errTrailing = errors.New("more than a message in the packet")

// parseHead reads a message, and checks that all of it is bencoding.
func parseHead(b []byte) (head, error) {
	h := head{soundAddrs: true}
	c := bencode.New(b)
	address := func() error {
		var a []byte
		err := c.MaybeString(&a)
		h.soundAddrs = h.soundAddrs && (len(a) == peeraddr.Bytes4 || len(a) == peeraddr.Bytes6)
		return err
	}
	result := func(key []byte) error {
		if string(key) != "values" {
			return c.Skip()
		}
		h.soundAddrs = h.soundAddrs && c.Kind() == bencode.List
		return c.MaybeList(address)
	}
	err := c.Dict(func(key []byte) error {
		switch string(key) {
		case "t":
			return c.MaybeString(&h.transaction)
		case "y":
			return c.MaybeString(&h.kind)
		case "q":
			return c.MaybeString(&h.method)
		case "ip":
			return address()
		case "r":
			return c.MaybeDict(result)
		}
		return c.Skip()
	})
	if err == nil && len(c.Rest()) > 0 {
		err = errTrailing
	}
	return h, err
}
