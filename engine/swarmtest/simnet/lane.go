package simnet

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// fillFrom puts what r reads on the lane until either ends.
func (l *lane) fillFrom(r io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if _, perr := l.put(buf[:n], nil); perr != nil {
			return
		}
		if err != nil {
			l.finish(err)
			return
		}
	}
}

// drainTo writes what comes off the lane to w until either ends, and returns why.
func (l *lane) drainTo(w io.Writer) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.take(buf, nil)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// bucket shares a rate between lanes. It keeps the moment at which the line will
// have sent all that was admitted, so errors of single timers don't add up.
type bucket struct {
	rate                   atomic.Int64 // bytes per second; ≤ 0 is unlimited
	queueBytes, burstBytes int64
	coarse                 bool // what is written at once goes onto the line at once
	mu                     sync.Mutex
	free                   time.Time
}

// admit takes n bytes onto the line: the last one leaves at the first result,
// and at the second one the sender may come with more.
func (b *bucket) admit(n int) (leaves, proceed time.Time) {
	now := time.Now()
	rate := b.rate.Load()
	if rate <= 0 {
		return now, now
	}
	lasts := func(bytes int64) time.Duration {
		return time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
	}
	queue := max(32<<10, rate/200)
	if b.queueBytes > 0 {
		queue = b.queueBytes
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if idle := now.Add(-lasts(b.burstBytes)); b.free.Before(idle) {
		b.free = idle
	}
	b.free = b.free.Add(lasts(int64(n)))
	leaves = b.free
	if leaves.Before(now) {
		leaves = now
	}
	return leaves, b.free.Add(-lasts(queue))
}

// chunkBytes is how much goes onto the line at a time: about a millisecond of it.
func (b *bucket) chunkBytes() int {
	rate := b.rate.Load()
	if rate <= 0 || b.coarse {
		return 64 << 10
	}
	return int(min(max(rate/1000, 1500), 64<<10))
}

// laneBytes bounds what is under way on one lane without a rate.
const laneBytes = 64 << 20

// lane is one direction of one connection: a queue whose entries become due in
// order. One goroutine puts and one takes.
type lane struct {
	bucket *bucket
	delay  time.Duration
	done   chan struct{} // closed by stop
	wake   chan struct{} // of capacity 1: something was put
	room   chan struct{} // of capacity 1: something was taken

	mu     sync.Mutex
	floor  time.Time // nothing is due earlier
	chunks []chunk
	bytes  int
	end    error     // follows the last chunk
	endAt  time.Time // when end is due
	why    error     // of stop
}

type chunk struct {
	b   []byte
	at  time.Time
	buf *[]byte // b's memory when it goes back to chunkPool
}

var chunkPool = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// newChunk copies b. Small ones, such as requests, don't take a whole buffer.
func newChunk(b []byte, at time.Time) chunk {
	if len(b) <= 4<<10 {
		return chunk{b: append([]byte(nil), b...), at: at}
	}
	buf := chunkPool.Get().(*[]byte)
	return chunk{b: (*buf)[:copy(*buf, b)], at: at, buf: buf}
}

func newLane(b *bucket, delay time.Duration) *lane {
	return &lane{
		bucket: b, delay: delay,
		done: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

func (l *lane) setFloor(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = t
}

// put queues a copy of p and returns when the line has room for more.
func (l *lane) put(p []byte, cancel <-chan struct{}) (n int, err error) {
	for n < len(p) {
		if err := l.waitRoom(cancel); err != nil {
			return n, err
		}
		part := p[n:min(len(p), n+l.bucket.chunkBytes())]
		leaves, proceed := l.bucket.admit(len(part))
		c := newChunk(part, leaves.Add(l.delay))
		l.mu.Lock()
		if c.at.Before(l.floor) {
			c.at = l.floor
		}
		l.chunks = append(l.chunks, c)
		l.bytes += len(part)
		l.mu.Unlock()
		n += len(part)
		signal(l.wake)
		if err := l.sleep(proceed, nil, cancel); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (l *lane) waitRoom(cancel <-chan struct{}) error {
	limit := laneBytes
	if rate := l.bucket.rate.Load(); rate > 0 {
		limit = int(min(laneBytes, int64(float64(rate)*l.delay.Seconds()*2)+l.bucket.queueBytes+256<<10))
	}
	for {
		l.mu.Lock()
		switch {
		case l.why != nil:
			defer l.mu.Unlock()
			return l.why
		case l.end != nil:
			defer l.mu.Unlock()
			return l.end
		}
		full := l.bytes >= limit
		l.mu.Unlock()
		if !full {
			return l.sleep(time.Time{}, nil, cancel)
		}
		if err := l.sleep(never, l.room, cancel); err != nil {
			return err
		}
	}
}

// take copies due bytes to p, waiting for some.
func (l *lane) take(p []byte, cancel <-chan struct{}) (int, error) {
	if err := l.sleep(time.Time{}, nil, cancel); err != nil {
		return 0, err
	}
	for {
		l.mu.Lock()
		if l.why != nil {
			defer l.mu.Unlock()
			return 0, l.why
		}
		now := time.Now()
		if n := l.takeDue(p, now); n > 0 || len(p) == 0 {
			l.mu.Unlock()
			signal(l.room)
			return n, nil
		}
		next := never
		switch {
		case len(l.chunks) > 0:
			next = l.chunks[0].at
		case l.end != nil && !l.endAt.After(now):
			defer l.mu.Unlock()
			return 0, l.end
		case l.end != nil:
			next = l.endAt
		}
		l.mu.Unlock()
		if err := l.sleep(next, l.wake, cancel); err != nil {
			return 0, err
		}
	}
}

func (l *lane) takeDue(p []byte, now time.Time) (n int) {
	gone := 0
	for gone < len(l.chunks) && n < len(p) && !l.chunks[gone].at.After(now) {
		c := &l.chunks[gone]
		k := copy(p[n:], c.b)
		n += k
		if c.b = c.b[k:]; len(c.b) > 0 {
			break
		}
		if c.buf != nil {
			chunkPool.Put(c.buf)
		}
		*c = chunk{}
		gone++
	}
	l.chunks = l.chunks[gone:]
	l.bytes -= n
	return n
}

// finish makes err follow what is on the lane; later puts fail with it.
func (l *lane) finish(err error) {
	l.mu.Lock()
	if l.end == nil {
		l.end, l.endAt = err, time.Now().Add(l.delay)
	}
	l.mu.Unlock()
	signal(l.wake)
	signal(l.room)
}

// stop drops what is on the lane and ends all waits with err.
func (l *lane) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.why = err
		l.chunks, l.bytes = nil, 0
		close(l.done)
	}
}

// never is a moment that sleep does not wait for.
var never = time.Unix(1<<40, 0)

// sleep waits until the moment, a value from early (nil for none), or an end.
func (l *lane) sleep(until time.Time, early, cancel <-chan struct{}) error {
	select {
	case <-l.done:
		return l.reason()
	case <-cancel:
		return os.ErrDeadlineExceeded
	default:
	}
	var due <-chan time.Time
	if until != never {
		d := time.Until(until)
		if d <= 0 {
			return nil
		}
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-early:
	case <-l.done:
		return l.reason()
	case <-cancel:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (l *lane) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// deadline closes its channel when a moment has passed; setting another moment
// makes a fresh channel where the old one is closed already.
type deadline struct {
	mu     sync.Mutex
	serial int // counts calls, so that an old timer does nothing
	timer  *time.Timer
	passed chan struct{}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serial++
	mine := d.serial
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.passed:
		d.passed = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		close(d.passed)
		return
	}
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.serial == mine {
			close(d.passed)
		}
	})
}
