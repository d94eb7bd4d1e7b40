package process

import (
	"bytes"
	"strconv"
	"syscall"
)

const (
	// endingSignals are those that ask a program to stop.
	endingSignals = 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) |
		1<<(syscall.SIGKILL-1) | 1<<(syscall.SIGALRM-1) | 1<<(syscall.SIGTERM-1)
	// passingSignals only inform a program, and are never sent to end a read. Go's scheduler
	// and profilers send some of them many times a second.
	passingSignals = 1<<(syscall.SIGURG-1) | 1<<(syscall.SIGCHLD-1) | 1<<(syscall.SIGWINCH-1) |
		1<<(syscall.SIGPROF-1) | 1<<(syscall.SIGVTALRM-1) | 1<<(syscall.SIGIO-1)
)

// Stopped reports whether thread tid is gone, or blocked with an ending signal pending. In
// doubt it returns false.
func Stopped(tid uint32) bool {
	b, err := readStatus(tid)
	if err != nil {
		// With hidepid other users' processes look as if they were gone.
		return syscall.Kill(int(tid), 0) == syscall.ESRCH
	}
	return parseStatus(b).stopped()
}

// InterruptedInPassing reports whether thread tid was interrupted by passing signals only. Its
// read goes on then: EINTR is an error that no disk returns and few programs expect. The kernel
// reports no further signals, but Stopped finds them. In doubt it returns false.
func InterruptedInPassing(tid uint32) bool {
	b, err := readStatus(tid)
	if err != nil {
		return false
	}
	return parseStatus(b).inPassing()
}

// threadStatus is what weir uses of /proc/PID/status.
type threadStatus struct {
	process          uint32 // that the thread belongs to
	state            byte   // 'R', 'S', 'D', 'Z', …
	pending          uint64 // signals, of the thread and of its process
	blocked, ignored uint64
}

func (s threadStatus) stopped() bool {
	switch s.state {
	case 'Z', 'X':
		return true
	case 'D': // in uninterruptible sleep, so it can't be about to handle the signal
		return s.due()&endingSignals != 0
	}
	return false
}

func (s threadStatus) inPassing() bool { return s.due() != 0 && s.due()&^passingSignals == 0 }

// due returns the pending signals that the thread will handle.
func (s threadStatus) due() uint64 { return s.pending &^ s.blocked &^ s.ignored }

// parseStatus reads /proc/PID/status; what it can't read stays zero.
func parseStatus(b []byte) threadStatus {
	var s threadStatus
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		value = bytes.TrimSpace(value)
		switch string(key) {
		case "State":
			if len(value) > 0 {
				s.state = value[0]
			}
		case "Tgid":
			if id, err := strconv.ParseUint(string(value), 10, 32); err == nil {
				s.process = uint32(id)
			}
		case "SigPnd", "ShdPnd":
			s.pending |= parseMask(value)
		case "SigBlk":
			s.blocked = parseMask(value)
		case "SigIgn":
			s.ignored = parseMask(value)
		}
	}
	return s
}

func parseMask(b []byte) uint64 {
	mask, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return 0
	}
	return mask
}
