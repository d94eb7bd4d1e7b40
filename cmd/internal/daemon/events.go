package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/weirfs/weir/cmd/internal/api"
)

// eventBacklog is how many events a listener may be behind before it misses some.
const eventBacklog = 1024

// events sends each event to all listeners. The zero value is ready.
type events struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	ch     chan api.Event
	missed bool // events; it is told when there is room
}

// Events returns a channel of all events from now on. It is closed when ctx ends or the
// mount closes. A listener that is too slow misses events, and gets one that says so.
func (es *events) Events(ctx context.Context) <-chan api.Event {
	l := &listener{ch: make(chan api.Event, eventBacklog)}
	es.mu.Lock()
	defer es.mu.Unlock()
	if es.closed {
		close(l.ch)
		return l.ch
	}
	if es.listeners == nil {
		es.listeners = map[*listener]struct{}{}
	}
	es.listeners[l] = struct{}{}
	context.AfterFunc(ctx, func() { es.drop(l) })
	return l.ch
}

func (es *events) drop(l *listener) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if _, ok := es.listeners[l]; ok {
		delete(es.listeners, l)
		close(l.ch)
	}
}

// publish sends an event to all listeners. It never waits.
func (es *events) publish(e api.Event) {
	e.Time = time.Now().UTC()
	es.mu.Lock()
	defer es.mu.Unlock()
	for l := range es.listeners {
		// One slot is reserved for the event that some were missed.
		if room := cap(l.ch) - len(l.ch); l.missed && room > 1 {
			l.ch <- api.Event{Kind: api.EventMissed, Time: e.Time}
			l.missed = false
		}
		if cap(l.ch)-len(l.ch) < 1 || l.missed {
			l.missed = true
			continue
		}
		l.ch <- e
	}
}

// close ends all channels, and those of later calls of Events.
func (es *events) close() {
	es.mu.Lock()
	defer es.mu.Unlock()
	es.closed = true
	for l := range es.listeners {
		close(l.ch)
	}
	es.listeners = nil
}
