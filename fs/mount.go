package fs

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/mountpoint"
)

// How many requests the kernel may have under way that no program waits for by
// name, which is what most reads are. Reads that hang must not use them up, or
// held content of other files could not be read. Beyond the second figure the
// kernel reads no further ahead than it must.
const (
	maxBackground       = 2048
	congestionThreshold = 512
)

// Mount checks that mounting can work, mounts, and begins to answer the kernel:
// when it returns, the mount can be used. Call Serve then, or Close. Every error
// says what to do about it. A mount that a crashed weir left behind is cleaned up
// first.
func (f *FS) Mount() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("mount %s: %w", f.opt.Mountpoint, weir.ErrClosed)
	}
	if f.conn != nil {
		return weir.Errorf(weir.ErrExists, "mount %s: mounted before", f.opt.Mountpoint)
	}
	if err := mountpoint.CheckDevice(); err != nil {
		return err
	}
	point, err := mountpoint.Check(f.opt.Mountpoint, f.opt.AllowNonEmpty)
	if err != nil {
		return err
	}
	if f.opt.AllowOther && !mountpoint.OthersAllowed() {
		return fmt.Errorf("mount %s: allowing other users needs a line user_allow_other in /etc/fuse.conf", point)
	}
	options := []fuse.MountOption{
		fuse.FSName(cmp.Or(f.opt.Source, "weir")), fuse.Subtype("weir"), fuse.DefaultPermissions(), fuse.AsyncRead(),
		fuse.MaxReadahead(uint32(max(DefaultReadAheadKB, f.opt.ReadAheadKB)) << 10),
		fuse.MaxBackground(maxBackground), fuse.CongestionThreshold(congestionThreshold),
	}
	if export := exportSupport(); export != nil {
		options = append(options, export)
	}
	if f.opt.Host == nil {
		options = append(options, fuse.ReadOnly())
	}
	if f.opt.AllowOther {
		options = append(options, fuse.AllowOther())
	}
	if f.opt.AllowNonEmpty {
		options = append(options, fuse.AllowNonEmptyMount())
	}
	conn, err := fuse.Mount(point, options...)
	if err != nil {
		return fmt.Errorf("mount %s: %w", point, err)
	}
	f.conn = conn
	if f.mounted, err = mountpoint.Mounted(point); err != nil {
		f.log.Debug("find the mount in mountinfo", "err", err)
	}
	f.raiseReadAhead()
	f.limitDeadline()
	f.start(conn)
	f.learnNoPoll(point)
	return nil
}

// raiseReadAhead sets the kernel's read-ahead for the mount, which its own 128
// KiB keeps at half the speed. It needs root; without, it stays as it is.
func (f *FS) raiseReadAhead() {
	if f.opt.ReadAheadKB < 0 {
		return
	}
	if err := f.mounted.SetReadAhead(f.opt.ReadAheadKB); err != nil {
		f.log.Debug("raise the kernel's read-ahead", "err", err)
	}
}

// limitDeadline keeps the read deadline below the kernel's own, where an
// administrator has set one: a request over that ends the whole mount.
func (f *FS) limitDeadline() {
	limit := kernelTimeout(sysctl("default_request_timeout"), sysctl("max_request_timeout"))
	f.deadline = deadlineBelow(f.opt.ReadTimeout, limit)
	if f.deadline != f.opt.ReadTimeout {
		f.log.Warn("read timeout is shortened: the kernel ends mounts with longer requests",
			"asked", f.opt.ReadTimeout, "used", f.deadline, "sysctl", "fs.fuse.default_request_timeout", "limit", limit)
	}
}

// sysctl returns a setting of fs.fuse in seconds, 0 where there is none.
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

// kernelTimeout returns after which time the kernel gives up on a mount that
// did not ask for a timeout; 0 means never. It is 15 s at least (fuse_init_out
// handling in Linux 6.15).
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

// deadlineBelow returns want, or two thirds of the kernel's limit if that is
// less: the kernel looks every few seconds only, and answers take time too.
func deadlineBelow(want, limit time.Duration) time.Duration {
	if limit == 0 {
		return want
	}
	return min(want, limit*2/3)
}
