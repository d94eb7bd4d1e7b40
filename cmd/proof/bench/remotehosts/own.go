package remotehosts

import (
	"net"
	"sync"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

// own is a seeder of this process.
type own struct{ *swarmtest.Seeder }

func (o *own) uploaded() (int64, error) { return o.Counters().PayloadBytes, nil }
func (o *own) unload() error            { return o.Close() }

// openOwn starts a seeder of this process for what is seeded; mu is held.
func (s *Hosts) openOwn(ip string, corrupt bool) (*own, error) {
	c, err := s.content()
	if err != nil {
		return nil, err
	}
	o := swarmtest.SeederOptions{Addr: net.JoinHostPort(ip, SeederPort), Contents: []*swarmtest.Content{c}, Trace: s.requests.note}
	if corrupt {
		o.Faults.Corrupt = func(int) bool { return true }
	}
	d, err := swarmtest.OpenSeeder(o)
	if err != nil {
		return nil, err
	}
	return &own{d}, nil
}

// content returns what is seeded; mu is held.
func (s *Hosts) content() (*swarmtest.Content, error) {
	name := s.seeding.Spec.Name
	if c := s.contents[name]; c != nil {
		return c, nil
	}
	c, err := s.seeding.Spec.Content()
	if err != nil {
		return nil, err
	}
	s.contents[name] = c
	return c, nil
}

// Requests is what own seeders saw of requests since Start.
type Requests struct {
	Count  int64         // of them
	Bytes  int64         // asked for
	Last   time.Duration // how long ago the latest one came
	Blocks int64         // sent
}

// requests collects them.
type requests struct {
	mu     sync.Mutex
	n      Requests
	latest time.Time
}

func (r *requests) note(e swarmtest.Event) {
	switch e.Kind {
	case swarmtest.EventRequest:
		r.mu.Lock()
		r.n.Count++
		r.n.Bytes += e.Length
		r.latest = e.Time
		r.mu.Unlock()
	case swarmtest.EventSend:
		r.mu.Lock()
		r.n.Blocks++
		r.mu.Unlock()
	}
}

// Requests returns what own seeders were asked for since Start.
func (s *Hosts) Requests(_ bool, n *Requests) error {
	s.mu.Lock()
	r := s.requests
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	*n = r.n
	if !r.latest.IsZero() {
		n.Last = time.Since(r.latest)
	}
	return nil
}
