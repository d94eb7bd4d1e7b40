package mountpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/weirfs/weir"
)

// helper is the setuid program that mounts and unmounts for users.
const helper = "fusermount3"

var errNoHelper = errors.New("no " + helper + " in PATH: install it, on Debian with: apt-get install fuse3")

// helperTimeout bounds one call of the helper: a file system on the path to the mountpoint may
// hang.
const helperTimeout = 10 * time.Second

// callHelper unmounts what is at a point that is a weir mount.
func callHelper(ctx context.Context, point string, lazy bool) error {
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	ctx, stop := context.WithTimeout(ctx, helperTimeout)
	defer stop()
	cmd := exec.CommandContext(ctx, helper, append(args, "--", point)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return errNoHelper
	}
	if ctx.Err() != nil {
		return fmt.Errorf("unmount %s: %s does not return: %w", point, helper, context.Cause(ctx))
	}
	if _, still, _ := readMountAt(point); !still {
		return nil // somebody else has unmounted it
	}
	if who := append(kernelUsersOf(point), usersOf(point)...); len(who) > 0 {
		return weir.Errorf(weir.ErrInUse, "unmount %s: used by %s; end them, or see weir umount --lazy", point, strings.Join(who, ", "))
	}
	return fmt.Errorf("unmount %s: %s", point, bytes.TrimSpace(out))
}
