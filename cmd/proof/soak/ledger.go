package main

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Fault is a kind of what is done to weir and its readers.
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

// explains says which faults a program may see as which error. What is not here
// is never allowed.
var explains = map[string][]Fault{
	"ETIMEDOUT":    {NetworkGone, Stopped},
	"ESTALE":       {Removed, Killed, Restarted},
	"ENOENT":       {Removed, Killed, Restarted, Forgotten},
	"ENOTCONN":     {Killed, Restarted},
	"ECONNABORTED": {Killed, Restarted},
	"EIO":          {Killed, Restarted},
	"SIGBUS":       {Killed, Restarted, Removed, NetworkGone, Stopped},
}

// ofTorrent are the faults of one torrent, which explain nothing of another.
func (f Fault) ofTorrent() bool { return f == Removed }

// span is a fault while it was in force; until is zero as long as it is.
type span struct {
	fault       Fault
	torrent     string
	from, until time.Time
}

// Ledger knows which faults were in force when. Its methods are safe for
// concurrent use.
type Ledger struct {
	mu     sync.Mutex
	spans  []*span
	counts map[Fault]int
	errors map[string]int // that programs saw and were explained
	faults []string       // of weir: what the run is for
}

func newLedger() *Ledger { return &Ledger{counts: map[Fault]int{}, errors: map[string]int{}} }

// Begin notes that a fault is in force, of one torrent if it is of that kind, until
// the returned function is called.
func (l *Ledger) Begin(f Fault, torrent string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &span{fault: f, torrent: torrent, from: time.Now()}
	l.counts[f]++
	l.spans = append(l.spans, s)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.until = time.Now()
	}
}

// Explained says whether a program that began at one time and failed at another
// may have seen the error, and counts it if so.
func (l *Ledger) Explained(errno, torrent string, from, until time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range explains[errno] {
		for _, s := range l.spans {
			if s.fault == f && (!f.ofTorrent() || s.torrent == torrent) && !s.from.After(until) && s.reaches(from) {
				l.errors[errno]++
				return true
			}
		}
	}
	return false
}

func (s *span) reaches(t time.Time) bool { return s.until.IsZero() || s.until.Add(slack).After(t) }

// InForce says whether one of the faults is in force, or was until lately.
func (l *Ledger) InForce(lately time.Duration, faults ...Fault) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.spans {
		for _, f := range faults {
			if s.fault == f && (s.until.IsZero() || time.Since(s.until) < lately) {
				return true
			}
		}
	}
	return false
}

// Count notes a fault that has no duration.
func (l *Ledger) Count(f Fault) { l.Begin(f, "")() }

// Seen counts an error that needs no explanation here.
func (l *Ledger) Seen(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[what]++
}

// Fail notes a fault of weir.
func (l *Ledger) Fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

// Tally returns how often each fault was injected and each error explained.
func (l *Ledger) Tally() (injected map[Fault]int, explained map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts), maps.Clone(l.errors)
}

// Faults returns what was found.
func (l *Ledger) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.faults...)
}
