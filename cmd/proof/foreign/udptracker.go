package foreign

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// UDPTracker is a tracker of BEP 15. Its methods are safe for concurrent use.
type UDPTracker struct {
	conn *net.UDPConn
	done chan struct{} // closed when serving has ended

	mu     sync.Mutex
	peers  []netip.AddrPort // for everybody, about every torrent
	swarms map[[20]byte][]netip.AddrPort
	log    []string // a line for each announce
}

// What BEP 15 calls its actions, and the sign of one who wants to connect.
const (
	udpConnect  = 0
	udpAnnounce = 1
	udpError    = 3
	udpMagic    = 0x41727101980

	udpConnection = 0x77656972 // the one connection id that is handed out
	udpStopped    = 3          // the event of a peer that leaves

	// udpInterval is how many seconds a client waits until it announces again: so few
	// that one whose first dial went wrong on a busy machine is told of its peers again.
	udpInterval = 60
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
		if tb.Failed() {
			tb.Logf("announces:\n%s", strings.Join(t.log, "\n"))
		}
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
		a = binary.BigEndian.AppendUint32(a, udpInterval)
		a = append(a, 0, 0, 0, 0, 0, 0, 0, 0)                   // leeches and seeds: nobody counts
		event, port := q[83], binary.BigEndian.Uint16(q[96:98]) // the event is the last byte of four
		return t.appendPeers(a, [20]byte(q[16:36]), netip.AddrPortFrom(from.Addr(), port), event)
	}
	return append(begin(udpError), "connect first"...)
}

// appendPeers takes note of who announced, and appends the others, in the form
// of its own address family.
func (t *UDPTracker) appendPeers(a []byte, ih [20]byte, who netip.AddrPort, event byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	swarm := slices.DeleteFunc(t.swarms[ih], func(o netip.AddrPort) bool { return o == who })
	told := slices.Concat(t.peers, swarm)
	t.log = append(t.log, fmt.Sprintf("%s torrent %x: %v, event %d, is told of %v", time.Now().Format("15:04:05.000"), ih, who, event, told))
	for _, o := range told {
		if o.Addr().Is4() == who.Addr().Is4() {
			a = binary.BigEndian.AppendUint16(append(a, o.Addr().AsSlice()...), o.Port())
		}
	}
	if event != udpStopped {
		swarm = append(swarm, who)
	}
	t.swarms[ih] = swarm
	return a
}
