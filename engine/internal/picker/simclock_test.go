package picker

import (
	"container/heap"
	"time"
)

// simClock is simulated time, and what happens in it.
type simClock struct {
	now   time.Time
	queue simEvents
	seq   int
}

// after has fn called so much later; what is due at the same moment is called in order.
func (s *simClock) after(d time.Duration, fn func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now.Add(d), s.seq, fn})
}

// next goes on to the next event. It reports false if there is none.
func (s *simClock) next() bool {
	if len(s.queue) == 0 {
		return false
	}
	e := heap.Pop(&s.queue).(simEvent)
	s.now = e.at
	e.fn()
	return true
}

// more reports whether another event is due at this moment.
func (s *simClock) more() bool { return len(s.queue) > 0 && s.queue[0].at.Equal(s.now) }

type simEvent struct {
	at  time.Time
	seq int
	fn  func()
}

type simEvents []simEvent

func (q simEvents) Len() int { return len(q) }
func (q simEvents) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q simEvents) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simEvents) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simEvents) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
