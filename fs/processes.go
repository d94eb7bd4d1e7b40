package fs

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kernel says which thread sent a request. People know processes, and a player
// opens a file in a thread that ends while the process plays on, so who opened a
// file is asked for at once, and kept shortly: who opens many files does so fast.
const (
	processFor    = time.Second
	mostProcesses = 256
)

// process is what a thread belongs to.
type process struct {
	pid  uint32
	name string // of its main thread
}

// processes finds the processes of threads.
type processes struct {
	mu    sync.Mutex
	known map[uint32]knownProcess
}

type knownProcess struct {
	process
	until time.Time // ids are used again
}

// of returns the process of a thread; ok is false if the thread is gone, or not ours
// to see.
func (ps *processes) of(tid uint32, now time.Time) (p process, ok bool) {
	ps.mu.Lock()
	found, known := ps.known[tid]
	ps.mu.Unlock()
	if known && now.Before(found.until) {
		return found.process, true
	}
	if p, ok = lookProcess(tid); !ok {
		return p, false
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.known == nil || len(ps.known) >= mostProcesses {
		ps.known = make(map[uint32]knownProcess)
	}
	ps.known[tid] = knownProcess{p, now.Add(processFor)}
	return p, true
}

// lookProcess asks the system.
func lookProcess(tid uint32) (process, bool) {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return process{}, false
	}
	p := process{pid: parseStatus(b).process}
	if p.pid == 0 {
		return process{}, false
	}
	if comm, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(p.pid), 10) + "/comm"); err == nil {
		p.name = strings.TrimSpace(string(comm))
	}
	return p, true
}

// opener returns who sent a request.
func (f *FS) opener(tid, uid uint32) Opener {
	by := Opener{PID: tid, UID: uid}
	if p, ok := f.processes.of(tid, time.Now()); ok && tid != 0 {
		by.PID, by.Program = p.pid, p.name
	}
	return by
}
