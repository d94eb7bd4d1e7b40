package background

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As calls do with another user's rights to files: do can open only what that user may,
// whatever links lead there. The rest of the process is not affected. With nil it just calls
// do. Only root can use it with a user.
func As(user *syscall.Credential, do func() error) error {
	if user == nil {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and its dropped
		// rights are never used again.
		runtime.LockOSThread()
		if err := impersonate(user); err != nil {
			done <- fmt.Errorf("use files as user %d: %w", user.Uid, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// impersonate gives this thread the user's identity for file systems. When it changes from
// 0, the kernel drops the capabilities that override permissions.
func impersonate(user *syscall.Credential) error {
	// Not by package unix, which changes all threads.
	var groups unsafe.Pointer
	if len(user.Groups) > 0 {
		groups = unsafe.Pointer(&user.Groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(user.Groups)), uintptr(groups), 0); errno != 0 {
		return errno
	}
	for _, c := range []struct {
		call uintptr
		id   uint32
	}{{unix.SYS_SETFSGID, user.Gid}, {unix.SYS_SETFSUID, user.Uid}} {
		if _, _, errno := unix.RawSyscall(c.call, uintptr(c.id), 0, 0); errno != 0 {
			return errno
		}
		// The call reports no failure, but a second one returns the current id.
		if now, _, _ := unix.RawSyscall(c.call, ^uintptr(0), 0, 0); uint32(now) != c.id {
			return syscall.EPERM
		}
	}
	return nil
}
