package main

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Fault is a kind of fault that is injected.
type Fault string

// The faults.
const (
	Killed      Fault = "kill -9 and restart"
	Restarted   Fault = "restart"
	Stopped     Fault = "SIGSTOP"
	NetworkGone Fault = "network gone"
	CacheGone   Fault = "cache folder removed"
	Forgotten   Fault = "torrents lost with the cache" // until all are added again
	DiskFull    Fault = "disk full"
	Removed     Fault = "torrent removed"
	SeederGone  Fault = "seeder gone"
	SeederBad   Fault = "seeder that misbehaves"
	Corrupt     Fault = "seeder that corrupts"
	Attack      Fault = "attack"
	Evicted     Fault = "evict"
	Signalled   Fault = "reader killed"
)

// slack is for how long after its end a fault may still be seen: a peer is dialed
// again after some seconds, and a folder whose metadata was awaited in vain fails at
// once for a minute.
const slack = 2 * time.Minute

// explains lists, for each error that programs may see, the faults that excuse it. Any
// other error is a failure.
var explains = map[string][]Fault{
	"ETIMEDOUT":    {NetworkGone, Stopped},
	"ESTALE":       {Removed, Killed, Restarted},
	"ENOENT":       {Removed, Killed, Restarted, Forgotten},
	"ENOTCONN":     {Killed, Restarted},
	"ECONNABORTED": {Killed, Restarted},
	"EIO":          {Killed, Restarted},
	"SIGBUS":       {Killed, Restarted, Removed, NetworkGone, Stopped},
}

// ofTorrent reports whether a fault concerns one torrent, and excuses no error of others.
func (f Fault) ofTorrent() bool { return f == Removed }

// injection is a fault that was injected; until is zero while it lasts.
type injection struct {
	fault       Fault
	torrent     string
	from, until time.Time
}

// FaultLog records which faults were in force when, and which failures were found. Its
// methods are safe for concurrent use.
type FaultLog struct {
	mu       sync.Mutex
	injected []*injection
	counts   map[Fault]int
	errors   map[string]int // that programs saw and a fault excuses
	failures []string       // of weir
}

func newFaultLog() *FaultLog { return &FaultLog{counts: map[Fault]int{}, errors: map[string]int{}} }

// Begin records that a fault is in force, for one torrent if it is of that kind, until
// the returned function is called.
func (l *FaultLog) Begin(f Fault, torrent string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &injection{fault: f, torrent: torrent, from: time.Now()}
	l.counts[f]++
	l.injected = append(l.injected, s)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.until = time.Now()
	}
}

// Explained reports whether a fault excuses the error of a program that began and failed
// at the given times, and counts it if so.
func (l *FaultLog) Explained(errno, torrent string, from, until time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range explains[errno] {
		for _, s := range l.injected {
			if s.fault == f && (!f.ofTorrent() || s.torrent == torrent) && !s.from.After(until) && s.reaches(from) {
				l.errors[errno]++
				return true
			}
		}
	}
	return false
}

func (s *injection) reaches(t time.Time) bool { return s.until.IsZero() || s.until.Add(slack).After(t) }

// InForce reports whether one of the faults is in force, or was within the last lately.
func (l *FaultLog) InForce(lately time.Duration, faults ...Fault) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.injected {
		for _, f := range faults {
			if s.fault == f && (s.until.IsZero() || time.Since(s.until) < lately) {
				return true
			}
		}
	}
	return false
}

// Count records a fault that has no duration.
func (l *FaultLog) Count(f Fault) { l.Begin(f, "")() }

// Seen counts an error that is expected.
func (l *FaultLog) Seen(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[what]++
}

// Fail records a failure of weir.
func (l *FaultLog) Fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

// Tally returns how often each fault was injected and each error was excused.
func (l *FaultLog) Tally() (injected map[Fault]int, explained map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts), maps.Clone(l.errors)
}

// Failures returns the failures that were recorded.
func (l *FaultLog) Failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.failures...)
}
