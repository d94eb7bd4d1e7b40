package foreign

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// UDPTracker is a tracker of BEP 15. Its methods are safe for concurrent use.
type UDPTracker struct {
	conn *net.UDPConn
	done chan struct{} // closed when serving has ended

	mu     sync.Mutex
	peers  []netip.AddrPort // for everybody, about every torrent
	swarms map[[20]byte][]netip.AddrPort
}

// What BEP 15 calls its actions, and the sign of one who wants to connect.
const (
	udpConnect  = 0
	udpAnnounce = 1
	udpError    = 3
	udpMagic    = 0x41727101980

	udpConnection = 0x77656972 // the one connection id that is handed out
	udpStopped    = 3          // the event of a peer that leaves
)

// OpenUDPTracker starts a tracker at a loopback address; it ends with tb. It
// tells everybody of those who announced themselves and have not stopped.
func OpenUDPTracker(tb testing.TB, ip string) *UDPTracker {
	tb.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		tb.Fatal(err)
	}
	t := &UDPTracker{conn: conn, done: make(chan struct{}), swarms: map[[20]byte][]netip.AddrPort{}}
	go t.serve()
	tb.Cleanup(func() {
		conn.Close()
		<-t.done
	})
	return t
}

// URL returns the announce URL.
func (t *UDPTracker) URL() string { return "udp://" + t.conn.LocalAddr().String() + "/announce" }

// SetPeers replaces the peers that everybody is told of beside the announced.
func (t *UDPTracker) SetPeers(peers ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers = nil
	for _, p := range peers {
		t.peers = append(t.peers, netip.MustParseAddrPort(p))
	}
}

func (t *UDPTracker) serve() {
	defer close(t.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := t.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		if answer := t.answer(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())); answer != nil {
			_, _ = t.conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (t *UDPTracker) answer(q []byte, from netip.AddrPort) []byte {
	if len(q) < 16 {
		return nil
	}
	id, action, transaction := binary.BigEndian.Uint64(q), binary.BigEndian.Uint32(q[8:]), q[12:16]
	begin := func(action uint32) []byte {
		return append(binary.BigEndian.AppendUint32(nil, action), transaction...)
	}
	switch {
	case action == udpConnect && id == udpMagic:
		return binary.BigEndian.AppendUint64(begin(udpConnect), udpConnection)
	case action == udpAnnounce && id == udpConnection && len(q) >= 98:
		a := begin(udpAnnounce)
		a = binary.BigEndian.AppendUint32(a, 1800)              // seconds until the next announce
		a = append(a, 0, 0, 0, 0, 0, 0, 0, 0)                   // leeches and seeds: nobody counts
		event, port := q[83], binary.BigEndian.Uint16(q[96:98]) // the event is the last byte of four
		return t.appendPeers(a, [20]byte(q[16:36]), netip.AddrPortFrom(from.Addr(), port), event == udpStopped)
	}
	return append(begin(udpError), "connect first"...)
}

// appendPeers takes note of who announced, and appends the others, in the form
// of its own address family.
func (t *UDPTracker) appendPeers(a []byte, ih [20]byte, who netip.AddrPort, stopped bool) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	swarm := slices.DeleteFunc(t.swarms[ih], func(o netip.AddrPort) bool { return o == who })
	for _, o := range slices.Concat(t.peers, swarm) {
		if o.Addr().Is4() == who.Addr().Is4() {
			a = binary.BigEndian.AppendUint16(append(a, o.Addr().AsSlice()...), o.Port())
		}
	}
	if !stopped {
		swarm = append(swarm, who)
	}
	t.swarms[ih] = swarm
	return a
}
