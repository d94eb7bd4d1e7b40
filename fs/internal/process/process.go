// Package process looks up in /proc the threads that send requests: to which
// process they belong, and whether they still wait for their answer.
//
// What must not live here: requests.
package process

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kernel says which thread sent a request, but users know processes. The process is looked
// up at once, since a thread may end before its process. It is cached for a short time, since
// some programs open many files quickly.
const (
	cacheFor  = time.Second
	maxCached = 256
)

// Process is what a thread belongs to.
type Process struct {
	PID  uint32
	Name string // of its main thread
}

// Cache finds the processes of threads. The zero value is empty.
type Cache struct {
	mu    sync.Mutex
	known map[uint32]known
}

type known struct {
	Process
	until time.Time // ids are reused
}

// Of returns the process of a thread; ok is false if the thread is gone, or not ours
// to see.
func (c *Cache) Of(tid uint32, now time.Time) (p Process, ok bool) {
	c.mu.Lock()
	found, have := c.known[tid]
	c.mu.Unlock()
	if have && now.Before(found.until) {
		return found.Process, true
	}
	if p, ok = read(tid); !ok {
		return p, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCached {
		c.known = make(map[uint32]known)
	}
	c.known[tid] = known{p, now.Add(cacheFor)}
	return p, true
}

// read reads the process of a thread from /proc.
func read(tid uint32) (Process, bool) {
	b, err := readStatus(tid)
	if err != nil {
		return Process{}, false
	}
	p := Process{PID: parseStatus(b).process}
	if p.PID == 0 {
		return Process{}, false
	}
	if comm, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(p.PID), 10) + "/comm"); err == nil {
		p.Name = strings.TrimSpace(string(comm))
	}
	return p, true
}

func readStatus(tid uint32) ([]byte, error) {
	return os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
}
