// Package link is a network line with delay and rates, made of two TUN devices
// in two network namespaces and a process that carries packets between them. The
// kernel's own way, netem, is missing from many kernels, and a relay of TCP
// connections hides what makes a far peer slow: handshakes, slow start, full
// queues. Here both ends run their own TCP.
//
// What lives here knows of packets and of hosts' addresses. It knows nothing of
// torrents. Only benchmarks use it, on Linux, as root.
package link

import (
	"net/netip"
	"time"
)

// queueTime bounds how long a packet may stand before a host's rate: what comes
// when that much is queued already is dropped, as a home router would.
const queueTime = 100 * time.Millisecond

// Rates are the shape of a line.
type Rates struct {
	Delay time.Duration // each way
	// Hosts are the rates at which hosts at the far end send, and the same for
	// what they receive, in bytes a second. A host that is not named has no limit.
	Hosts map[netip.Addr]int64
}

// way is one direction of one host: a queue that drains at a rate, and a stretch
// of wire behind it. Times are since an arbitrary start, as one clock tells them.
type way struct {
	bytesPerSec int64         // 0 is unlimited
	free        time.Duration // when the queue will be empty
}

// admit takes a packet of so many bytes on the wire that comes at now, and
// returns when it has left the queue; false means that it is dropped.
func (w *way) admit(now time.Duration, wireBytes int) (left time.Duration, ok bool) {
	if w.bytesPerSec == 0 {
		return now, true
	}
	begin := max(now, w.free)
	if begin-now > queueTime {
		return 0, false
	}
	w.free = begin + time.Duration(int64(wireBytes)*int64(time.Second)/w.bytesPerSec)
	return w.free, true
}
