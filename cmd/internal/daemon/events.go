package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/weirfs/weir/cmd/internal/api"
)

// eventsAhead is how many events a listener may be behind before it misses some.
const eventsAhead = 1024

// events hands each event to everybody who listens. The zero value is ready.
type events struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	ch     chan api.Event
	missed bool // some; to be told when there is room
}

// Events returns a channel of what happens from now on. It is closed when ctx ends
// or the mount closes. A listener that is too slow gets an event that says so.
func (es *events) Events(ctx context.Context) <-chan api.Event {
	l := &listener{ch: make(chan api.Event, eventsAhead)}
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

// publish never waits.
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

// close ends all listening, now and later.
func (es *events) close() {
	es.mu.Lock()
	defer es.mu.Unlock()
	es.closed = true
	for l := range es.listeners {
		close(l.ch)
	}
	es.listeners = nil
}
