package kernel

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// limitDeadline keeps the read deadline below the kernel's own timeout, if an administrator
// has set one: a request that exceeds it ends the whole mount.
func (s *Server) limitDeadline() {
	limit := kernelTimeout(sysctl("default_request_timeout"), sysctl("max_request_timeout"))
	s.deadline = deadlineBelow(s.opt.Deadline, limit)
	if s.deadline != s.opt.Deadline {
		s.opt.Log.Warn("read timeout is shortened: the kernel ends mounts with longer requests",
			"asked", s.opt.Deadline, "used", s.deadline, "sysctl", "fs.fuse.default_request_timeout", "limit", limit)
	}
}

// sysctl returns a setting of fs.fuse, which is in seconds; 0 if there is none.
func sysctl(name string) time.Duration {
	b, err := os.ReadFile("/proc/sys/fs/fuse/" + name)
	if err != nil {
		return 0
	}
	s, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// kernelTimeout returns how long a request may take before the kernel ends a mount that set no
// timeout itself; 0: any time. It is at least 15 s (fuse_init_out handling in Linux 6.15).
func kernelTimeout(def, most time.Duration) time.Duration {
	limit := def
	if most > 0 && (limit == 0 || limit > most) {
		limit = most
	}
	if limit == 0 {
		return 0
	}
	return max(limit, 15*time.Second)
}

// deadlineBelow returns want, or two thirds of the kernel's limit if that is less, which
// leaves time for answers.
func deadlineBelow(want, limit time.Duration) time.Duration {
	if limit == 0 {
		return want
	}
	return min(want, limit*2/3)
}
