package link

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// batch bounds how many packets are taken before those that are due are handed
// over.
const batch = 64

// tick is for how long a line that is in use rests between two looks: waking up
// for each packet would cost most of what the line costs.
const tick = 200 * time.Microsecond

// Line carries packets between two TUN devices.
type Line struct {
	start time.Time
	ends  [2]*end
	wg    sync.WaitGroup
}

// end is one direction: what comes out of the device in goes into out later.
type end struct {
	in, out int // descriptors
	stop    int // descriptor of a pipe that becomes readable at the end
	address int // where in a packet the far host's address stands

	mu      sync.Mutex // guards what follows; held while packets are moved, never while waiting
	rates   Rates
	ways    map[netip.Addr]*lane
	dropped int64 // packets
	carried int64 // bytes
}

// lane is a host's way with the packets on it, in the order in which they leave.
type lane struct {
	way
	packets []packet
}

type packet struct {
	due   time.Duration
	bytes []byte // header included
}

// Open starts carrying between the descriptors of two TUN devices, of which far
// has the hosts whose rates count. Close ends it; the descriptors stay open.
func Open(near, far int) (*Line, func(), error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	l := &Line{start: time.Now(), ends: [2]*end{
		{in: near, out: far, stop: pipe[0], address: 16, ways: map[netip.Addr]*lane{}}, // destination
		{in: far, out: near, stop: pipe[0], address: 12, ways: map[netip.Addr]*lane{}}, // source
	}}
	for _, e := range l.ends {
		l.wg.Go(func() { e.carry(l.start) })
	}
	return l, func() {
		_ = unix.Close(pipe[1]) // both ends are ours alone
		l.wg.Wait()
		_ = unix.Close(pipe[0])
	}, nil
}

// Set changes delay and rates for packets to come. Queues are emptied: what was
// under way is lost, so it is called between runs.
func (l *Line) Set(r Rates) {
	for _, e := range l.ends {
		e.mu.Lock()
		e.rates, e.ways = r, map[netip.Addr]*lane{}
		e.mu.Unlock()
	}
}

// Traffic is what a line has carried.
type Traffic struct {
	Bytes   [2]int64 // towards the far end, and from it
	Dropped [2]int64 // packets
}

// Traffic returns the counters.
func (l *Line) Traffic() (t Traffic) {
	for i, e := range l.ends {
		e.mu.Lock()
		t.Bytes[i], t.Dropped[i] = e.carried, e.dropped
		e.mu.Unlock()
	}
	return t
}

// carry moves packets until the end of the line. It has a thread for itself,
// which waits in the kernel with its precision and not with the timers of Go.
func (e *end) carry(start time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A line does not get longer when the machine is busy.
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
	buf := make([]byte, packetBytes)
	fds := []unix.PollFd{{Fd: int32(e.in), Events: unix.POLLIN}, {Fd: int32(e.stop), Events: unix.POLLIN}}
	for {
		next, waits := e.turn(start, buf)
		rest := unix.NsecToTimespec(int64(tick))
		var timeout *unix.Timespec
		if waits {
			ts := unix.NsecToTimespec(int64(max(0, next-tick-time.Since(start))))
			timeout = &ts
		}
		if _, err := unix.Ppoll(fds[1:], &rest, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
	}
}

// turn takes what has come and hands over what is due. It returns when the next
// packet is, if there is one.
func (e *end) turn(start time.Time, buf []byte) (next time.Duration, waits bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for range batch {
		n, err := unix.Read(e.in, buf)
		if err != nil {
			break // nothing there
		}
		e.take(time.Since(start), buf[:n])
	}
	now := time.Since(start)
	for _, l := range e.ways {
		n := 0
		for n < len(l.packets) && l.packets[n].due <= now {
			b := l.packets[n].bytes
			// A packet that the other end doesn't take is a lost one, as anywhere.
			if _, err := unix.Write(e.out, b); err == nil {
				e.carried += int64(len(b) - headerBytes)
			}
			l.packets[n] = packet{}
			release(b)
			n++
		}
		if l.packets = l.packets[n:]; len(l.packets) == 0 {
			l.packets = nil // an array that was walked through is not kept
			continue
		}
		if due := l.packets[0].due; !waits || due < next {
			next, waits = due, true
		}
	}
	return next, waits
}

// take puts a packet on its host's way.
func (e *end) take(now time.Duration, b []byte) {
	if len(b) < headerBytes+20 || b[headerBytes]>>4 != 4 {
		return // not IPv4
	}
	at := headerBytes + e.address
	host := netip.AddrFrom4([4]byte(b[at : at+4]))
	l := e.ways[host]
	if l == nil {
		l = &lane{way: way{bytesPerSec: e.rates.Hosts[host]}}
		e.ways[host] = l
	}
	left, ok := l.admit(now, wireBytes(b))
	if !ok {
		e.dropped++
		return
	}
	l.packets = append(l.packets, packet{due: left + e.rates.Delay, bytes: keep(b)})
}

// wireBytes returns how long a packet is on the wire, where each segment of a row
// has headers of its own.
func wireBytes(b []byte) int {
	ip := b[headerBytes:]
	segment := int(binary.NativeEndian.Uint16(b[4:])) // gso_size
	head := int(ip[0]&15) * 4
	if b[1] == 0 || segment == 0 || len(ip) < head+20 { // VIRTIO_NET_HDR_GSO_NONE
		return len(ip)
	}
	head += int(ip[head+12]>>4) * 4 // of TCP, the only protocol that comes in rows
	segments := max(1, (len(ip)-head+segment-1)/segment)
	return len(ip) + (segments-1)*head
}

// Buffers of two sizes are kept for packets to come: most are either
// acknowledgements or rows of segments.
const (
	smallBytes = 2 << 10
	largeBytes = 20 << 10 // a row with its headers
)

var (
	small = sync.Pool{New: func() any { return new([smallBytes]byte) }}
	large = sync.Pool{New: func() any { return new([largeBytes]byte) }}
)

// keep copies a packet.
func keep(b []byte) []byte {
	var p []byte
	switch {
	case len(b) <= smallBytes:
		p = small.Get().(*[smallBytes]byte)[:]
	case len(b) <= largeBytes:
		p = large.Get().(*[largeBytes]byte)[:]
	default: // the kernel knows no bound for rows
		p = make([]byte, len(b))
	}
	return p[:copy(p, b)]
}

// release gives a packet's buffer back.
func release(b []byte) {
	switch cap(b) {
	case smallBytes:
		small.Put((*[smallBytes]byte)(b[:smallBytes]))
	case largeBytes:
		large.Put((*[largeBytes]byte)(b[:largeBytes]))
	}
}
