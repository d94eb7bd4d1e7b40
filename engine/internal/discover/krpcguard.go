package discover

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
	"golang.org/x/time/rate"
)

// krpcGuard stands between the DHT's socket and the library's server. One packet
// from anybody can end the program in that library (an empty string among the
// values or in "ip", an announce_peer without arguments: makeslice and nil
// dereference, v2.23.1-0.20260525063928), make it allocate by a claimed length,
// or have it count made-up query names for good. So only messages that are
// sound reach it.
//
// The socket outlives the server that uses it: see serverConn.
type krpcGuard struct {
	net.PacketConn
	// answered is told of each sound answer, from the reading goroutine.
	answered func(from netip.AddrPort, id [20]byte, weAre netip.Addr)
	readOnly func() bool   // we answer no queries (BEP 43)
	refusals *rate.Limiter // of queries
}

// serverConn is the guard as one server sees it. It can be closed without
// closing the socket.
type serverConn struct {
	*krpcGuard
	reading sync.Mutex // held while reading
	closed  atomic.Bool
	ended   chan struct{} // closed by Close
}

func newServerConn(g *krpcGuard) *serverConn {
	return &serverConn{krpcGuard: g, ended: make(chan struct{})}
}

// ReadFrom returns the next sound message. It fails only once the serverConn was
// closed, as the server panics on any error before.
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
		from, ok := addrPort(addr)
		if !ok || from.Port() == 0 {
			continue
		}
		m, ok := soundKRPC(b[:n])
		if !ok {
			c.refuse(b[:n], from)
			continue
		}
		if m.Y == krpc.YResponse {
			weAre, _ := netip.AddrFromSlice(m.IP.IP)
			c.answered(from, m.R.ID, weAre.Unmap())
		}
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// refuse answers a query that is not for us, so that who asks knows that we are
// here and goes on without waiting.
func (g *krpcGuard) refuse(query []byte, from netip.AddrPort) {
	answer := refusalOf(query)
	if answer == nil || g.readOnly() || !g.refusals.Allow() {
		return
	}
	_, _ = g.WriteTo(answer, net.UDPAddrFromAddrPort(from)) // which may be lost anyway
}

// refusalOf returns the error message (BEP 5) for a query that did not pass
// soundKRPC: 204 when we don't know its method, 203 when its arguments make no
// sense. It is nil for what is no query, or so short a one that the answer would be
// the longer, which is of use to an attack on whoever the sender says he is.
func refusalOf(b []byte) []byte {
	d, rest, err := parsePrefix(b)
	id, method := d.get("t").str, d.get("q")
	if err != nil || len(rest) > 0 || string(d.get("y").str) != "q" || method.kind != kindString || len(id) == 0 || len(id) > 32 {
		return nil
	}
	code, text := 203, "Protocol Error"
	if !ourMethod(string(method.str)) {
		code, text = 204, "Method Unknown"
	}
	answer := fmt.Appendf(nil, "d1:eli%de%d:%se1:t%d:%s1:y1:ee", code, len(text), text, len(id), id)
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

// addrPort returns the address of a UDP packet, IPv4 as such.
func addrPort(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}

// soundKRPC reads a message of the DHT (BEP 5), if it is one that the library
// survives. Queries of other extensions (BEP 44, 51) are not for us.
func soundKRPC(b []byte) (m krpc.Msg, ok bool) {
	if d, rest, err := parsePrefix(b); err != nil || len(rest) > 0 || !soundLengths(d) {
		return m, false
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if err := bencode.Unmarshal(b, &m); err != nil || m.T == "" {
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

// soundLengths checks the addresses in a message, which the library takes as
// they are.
func soundLengths(d value) bool {
	address := func(v value) bool {
		return v.kind == kindString && (len(v.str) == compact4Bytes || len(v.str) == compact6Bytes)
	}
	if ip := d.get("ip"); ip.kind != kindNone && !address(ip) {
		return false
	}
	values := d.get("r").get("values")
	for _, v := range values.list {
		if !address(v) {
			return false
		}
	}
	return values.kind == kindNone || values.kind == kindList
}
