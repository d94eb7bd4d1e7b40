// Package remotehosts is the far end of a benchmark: seeders, a tracker and a plain HTTP
// server, at addresses of their own. It runs in a network namespace of its own, in
// a process of its own behind a line (package link), or in the benchmark's process
// on loopback; both are driven through the same Client.
//
// What lives here knows nothing of what reads from it: neither weir nor mounts.
package remotehosts

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// Ports at each address of a host.
const (
	SeederPort  = "6881"
	trackerPort = 7000
	httpPort    = 8080
)

// Options say where hosts are and what is done to what they send.
type Options struct {
	Data       string       // folder of the contents on disk
	Hosts      []netip.Addr // an address for each seeder
	Tracker    netip.Addr
	Libtorrent bool // seeders are libtorrent's; else they are this process's own
	// Relayed puts every host on a relay that delays and limits, for where there is
	// no line. Its Hosts are then the relays' addresses, and what they stand for
	// listens on the same address with hiddenOctet in the third place.
	Relayed bool
}

// Seeding is a swarm to be.
type Seeding struct {
	Spec    Spec
	Torrent string // path of the .torrent, which libtorrent reads
	Hosts   []int  // numbers of the hosts that seed it
	Own     bool   // seeders of this process, whatever Options.Libtorrent says
	Corrupt []int  // of Hosts, those that flip a byte in each block; own seeders only
	Web     []int  // numbers of hosts that only serve files
	// Rates are needed where relays make the line.
	Delay          time.Duration
	BytesPerSec    int64
	WebBytesPerSec int64
}

// seeder is one host's.
type seeder interface {
	uploaded() (int64, error) // bytes of content
	unload() error
}

// Hosts is the service. Its methods have the form that net/rpc wants.
type Hosts struct {
	o       Options
	tracker *swarmtest.Tracker
	http    *http.Server

	mu        sync.Mutex
	processes map[int]*process
	seeding   Seeding
	seeders   map[int]seeder
	relays    []*simnet.Relay
	requests  *requests
	web       *web
	contents  map[string]*swarmtest.Content // by name
}

// Open starts hosts without seeders. Close ends it.
func Open(o Options) (*Hosts, error) {
	s := &Hosts{o: o, processes: map[int]*process{}, seeders: map[int]seeder{}, web: &web{files: http.Dir(o.Data)}, contents: map[string]*swarmtest.Content{}}
	var err error
	s.tracker, err = swarmtest.OpenTracker(swarmtest.TrackerOptions{Addr: netip.AddrPortFrom(o.Tracker, trackerPort).String()})
	if err != nil {
		return nil, err
	}
	// One server for all hosts: a listener each, because on loopback others may
	// have the port at other addresses.
	s.http = &http.Server{Handler: s.web, ReadHeaderTimeout: 10 * time.Second}
	for _, h := range o.Hosts {
		l, err := net.Listen("tcp", netip.AddrPortFrom(s.behind(h), httpPort).String())
		if err != nil {
			s.Close()
			return nil, err
		}
		go func() { _ = s.http.Serve(l) }() // ends with Close, always an error
	}
	return s, nil
}

// Close ends everything.
func (s *Hosts) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	for _, p := range s.processes {
		p.close()
	}
	_ = s.http.Close() // nothing is lost
	_ = s.tracker.Close()
}

// hiddenOctet is added to the third number of a host's address for what listens
// behind its relay.
const hiddenOctet = 100

// behind returns the address at which a host's programs listen.
func (s *Hosts) behind(h netip.Addr) netip.Addr {
	if !s.o.Relayed {
		return h
	}
	b := h.As4()
	b[2] += hiddenOctet
	return netip.AddrFrom4(b)
}

// Start replaces what is seeded, and tells the tracker.
func (s *Hosts) Start(req Seeding, peers *[]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.seeding, s.requests = req, &requests{}
	s.web.reset()
	for _, h := range req.Hosts {
		if err := s.join(h); err != nil {
			return err
		}
		if err := s.relay(h, req.BytesPerSec); err != nil {
			return err
		}
	}
	for _, h := range req.Web {
		if err := s.relay(h, req.WebBytesPerSec); err != nil {
			return err
		}
	}
	*peers = s.announce()
	return nil
}

// announce tells the tracker who seeds; mu is held.
func (s *Hosts) announce() (peers []string) {
	for _, h := range s.seeding.Hosts {
		if s.seeders[h] != nil {
			peers = append(peers, net.JoinHostPort(s.o.Hosts[h].String(), SeederPort))
		}
	}
	s.tracker.SetPeers(peers...)
	return peers
}

// relay puts a host's programs on the hosts' own kind of line; mu is held.
func (s *Hosts) relay(h int, bytesPerSec int64) error {
	if !s.o.Relayed {
		return nil
	}
	link := simnet.Link{RTT: 2 * s.seeding.Delay, BytesPerSec: bytesPerSec, Connect: true}
	for _, port := range []string{SeederPort, fmt.Sprint(httpPort)} {
		front := net.JoinHostPort(s.o.Hosts[h].String(), port)
		r, err := simnet.OpenRelay(front, net.JoinHostPort(s.behind(s.o.Hosts[h]).String(), port), link)
		if err != nil {
			return err
		}
		s.relays = append(s.relays, r)
	}
	return nil
}

// join starts one host's seeder; mu is held.
func (s *Hosts) join(h int) (err error) {
	addr := s.behind(s.o.Hosts[h]).String()
	if !s.o.Libtorrent || s.seeding.Own {
		if p := s.processes[h]; p != nil { // it has the port
			p.close()
			delete(s.processes, h)
		}
		s.seeders[h], err = s.openOwn(addr, slices.Contains(s.seeding.Corrupt, h))
		return err
	}
	p := s.processes[h]
	if p == nil {
		if p, err = startProcess(addr); err != nil {
			return err
		}
		s.processes[h] = p
	}
	s.seeders[h] = p
	return p.load(s.seeding.Torrent, s.o.Data)
}

// Stop ends all seeding.
func (s *Hosts) Stop(_ bool, _ *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	return nil
}

// stop ends all seeding; mu is held.
func (s *Hosts) stop() {
	for h, p := range s.processes {
		if p.isFrozen() {
			p.close()
			delete(s.processes, h)
			delete(s.seeders, h)
		}
	}
	for h, d := range s.seeders {
		if err := d.unload(); err != nil && s.processes[h] != nil {
			s.processes[h].close() // the next one is new
			delete(s.processes, h)
		}
	}
	clear(s.seeders)
	for _, r := range s.relays {
		_ = r.Close() // its connections are given up
	}
	s.relays = nil
	s.tracker.SetPeers()
}

// Uploaded returns how many bytes of content each host has sent since Start.
func (s *Hosts) Uploaded(_ bool, bytes *map[int]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	*bytes = map[int]int64{}
	for h, d := range s.seeders {
		n, err := d.uploaded()
		if err != nil {
			return err
		}
		(*bytes)[h] = n
	}
	return nil
}

// Freeze stops a host's seeder, a process of its own, for good.
func (s *Hosts) Freeze(host int, _ *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch d := s.seeders[host].(type) {
	case *process:
		return d.freeze()
	case *own:
		d.SetFaults(swarmtest.Faults{Freeze: true})
		return nil
	}
	return errors.New("no seeder to freeze")
}

// Leave takes a host out of the swarm: its connections end, and nobody answers.
func (s *Hosts) Leave(host int, _ *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.processes[host]; p != nil {
		p.close()
		delete(s.processes, host)
	} else if d := s.seeders[host]; d != nil {
		if err := d.unload(); err != nil {
			return err
		}
	}
	delete(s.seeders, host)
	s.announce()
	return nil
}

// Join brings a host into the swarm.
func (s *Hosts) Join(host int, _ *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.seeding.Hosts, host) {
		s.seeding.Hosts = append(slices.Clone(s.seeding.Hosts), host)
		if err := s.relay(host, s.seeding.BytesPerSec); err != nil {
			return err
		}
	}
	if err := s.join(host); err != nil {
		return err
	}
	s.announce()
	return nil
}
