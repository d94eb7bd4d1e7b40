package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
)

// Place is a path inside a mount, or inside the cache folder of a weir that has no mount and
// stands for what it shows.
type Place struct {
	Root   string // of the mount, or the cache folder
	Path   string // beneath Root, with slashes; "" is the root itself
	Socket string // the mount's control socket
}

// Find returns where path lies in a mount of weir, or in the cache folder of a weir serve. Only the part of it that is
// the mount's root must exist; links on the way there are followed, and beneath it
// those in by-hash. It never waits for the network. The error wraps
// weir.ErrNotFound when path is in no mount that can be controlled, and
// syscall.ENOTCONN when the mount's weir has died.
func Find(path string) (Place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Place{}, err
	}
	p, ok, err := findUp(abs)
	if err != nil || ok {
		return p, err
	}
	// Perhaps a link leads into a mount.
	if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
		if p, ok, err := findUp(real); err != nil || ok {
			return p, err
		}
	}
	return Place{}, weir.Errorf(weir.ErrNotFound, "%s is not in a mount of weir: name a path inside one (weir mount DIR makes one), or the cache folder of weir serve", path)
}

// findUp checks abs and every folder above it.
func findUp(abs string) (Place, bool, error) {
	for at := abs; ; at = filepath.Dir(at) {
		socket, err := control(at)
		switch {
		case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
			return Place{}, false, fmt.Errorf("the weir that was mounted at %s has died: clean up with: weir umount %q, then mount again: %w", mountpoint(at), mountpoint(at), syscall.ENOTCONN)
		case err == nil && socket != "":
			rel := strings.TrimPrefix(strings.TrimPrefix(abs, at), "/")
			return Place{Root: at, Path: byHash(at, rel), Socket: socket}, true, nil
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	// It is in no mount, where looking for a file could wait for the network.
	for at := abs; ; at = filepath.Dir(at) {
		if socket := unmounted(at); socket != "" {
			return Place{Root: at, Path: strings.TrimPrefix(strings.TrimPrefix(abs, at), "/"), Socket: socket}, true, nil
		}
		if at == filepath.Dir(at) {
			return Place{}, false, nil
		}
	}
}

// unmounted returns the control socket of the weir without a mount whose cache folder dir is,
// or "".
func unmounted(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, cacheOwnerFile))
	var owner struct{ Mountpoint, Control string }
	if err != nil || json.Unmarshal(b, &owner) != nil || owner.Mountpoint != "" || owner.Control == "" {
		return ""
	}
	if _, err := os.Stat(owner.Control); err != nil {
		return "" // it has ended
	}
	return owner.Control
}

// cacheOwnerFile says who has a cache folder.
const cacheOwnerFile = "owner"

// byHash follows the link at the beginning of a path beneath root, if that is one in by-hash.
func byHash(root, rel string) string {
	folder, rest, _ := strings.Cut(rel, "/")
	hash, rest, _ := strings.Cut(rest, "/")
	if folder != "by-hash" || hash == "" {
		return rel
	}
	to, err := os.Readlink(filepath.Join(root, folder, hash))
	if err != nil || filepath.IsAbs(to) {
		return rel
	}
	return filepath.Join(folder, to, rest)
}

// mountpoint returns the dead mount that a path lies in: the highest folder that reports
// ENOTCONN.
func mountpoint(dead string) string {
	for {
		above := filepath.Dir(dead)
		if _, err := control(above); above == dead || !errors.Is(err, syscall.ENOTCONN) {
			return dead
		}
		dead = above
	}
}

// control returns the value of ControlAttr at a path.
func control(path string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(path, ControlAttr, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
