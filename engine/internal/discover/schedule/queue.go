package schedule

import (
	"container/heap"
	"time"
)

// due is a torrent's place in a queue.
type due[K comparable] struct {
	torrent *torrent[K]
	at      time.Time
	index   int // in the queue; -1: in none
}

// queue is a heap, the first due first.
type queue[K comparable] []*due[K]

func (q *queue[K]) put(t *torrent[K], at time.Time) *due[K] {
	d := &due[K]{torrent: t, at: at}
	heap.Push(q, d)
	return d
}

// remove takes a place out, if it is in this queue.
func (q *queue[K]) remove(d *due[K]) {
	if d != nil && d.index >= 0 && d.index < len(*q) && (*q)[d.index] == d {
		heap.Remove(q, d.index)
	}
}

func (q queue[K]) Len() int           { return len(q) }
func (q queue[K]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K]) Push(x any) {
	d := x.(*due[K])
	d.index = len(*q)
	*q = append(*q, d)
}

func (q *queue[K]) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	d.index = -1
	return d
}
