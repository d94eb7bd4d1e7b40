package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// workEnv names the folder of a run to the process that is enclosed.
const workEnv = "WEIR_BENCH_WORK"

// workPrefix begins the names of all runs' folders; a process id follows.
const workPrefix = "weir-bench-"

// WorkDir is a folder that exists for one run. As long as the run lives its lock
// is held, so that a later one can tell what a killed one has left behind.
type WorkDir struct {
	Dir  string
	lock *os.File // nil for an enclosed process, whose parent holds it
}

// Work makes the folder for this run in dir, and removes those of runs that were
// killed. Close removes it.
func Work(dir string) (*WorkDir, error) {
	if Inside() {
		return &WorkDir{Dir: os.Getenv(workEnv)}, nil
	}
	sweep(dir)
	w := &WorkDir{Dir: filepath.Join(dir, fmt.Sprint(workPrefix, os.Getpid()))}
	if err := os.Mkdir(w.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if w.lock, err = lock(w.Dir); err != nil {
		return nil, err
	}
	return w, nil
}

// lock takes a folder's lock, or returns an error if somebody has it.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what killed runs have left in dir, mounts too.
func sweep(dir string) {
	old, err := filepath.Glob(filepath.Join(dir, workPrefix+"*"))
	if err != nil {
		return
	}
	for _, d := range old {
		if l, err := lock(d); err == nil {
			unmountAll(d)
			os.RemoveAll(d)
			l.Close()
		}
	}
}

// unmountAll takes away the mounts beneath a folder, those of dead programs too.
func unmountAll(dir string) {
	unmountWhere(func(point, _ string) bool { return strings.HasPrefix(point, dir+"/") })
}

// unmountWhere takes away the mounts of this namespace whose mountpoint and type of
// file system are those that are meant, the last mounted first.
func unmountWhere(meant func(point, fsType string) bool) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	var mounts []string
	for line := range strings.Lines(string(b)) {
		front, back, _ := strings.Cut(line, " - ")
		f, k := strings.Fields(front), strings.Fields(back)
		if len(f) > 4 && len(k) > 0 && meant(f[4], k[0]) {
			mounts = append(mounts, f[4])
		}
	}
	for _, m := range slices.Backward(mounts) {
		if unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) != nil {
			_ = exec.Command("fusermount3", "-u", "-z", "-q", m).Run() // what it can't, nobody can
		}
	}
}

// Close removes the folder.
func (w *WorkDir) Close() {
	if w.lock == nil {
		return
	}
	unmountAll(w.Dir)
	os.RemoveAll(w.Dir)
	w.lock.Close()
}
