package control

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weirfs/weir"
)

// maxSocketBytes is how long the path of a unix socket may be: sun_path has 108
// bytes, the last of them NUL.
const maxSocketBytes = 107

// SocketPath returns where the control socket of a mount at mountpoint belongs: in
// $XDG_RUNTIME_DIR/weir, else in the mount's cache folder, else, where both are
// too long for a socket, in a private folder in the temporary folder. It
// makes the folder, for the user alone.
func SocketPath(mountpoint, cacheDir string) (string, error) {
	point, err := filepath.Abs(mountpoint)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%x.sock", sha256.Sum256([]byte(point)))[56:] // 8 digits
	var folders []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		folders = append(folders, filepath.Join(dir, "weir"))
	}
	if cacheDir != "" {
		if dir, err := filepath.Abs(cacheDir); err == nil {
			folders = append(folders, filepath.Join(dir, "control"))
		}
	}
	folders = append(folders, filepath.Join(os.TempDir(), fmt.Sprintf("weir-%d", os.Geteuid())))
	var errs []error
	for _, dir := range folders {
		path := filepath.Join(dir, name)
		if len(path) > maxSocketBytes {
			errs = append(errs, fmt.Errorf("%s: more than %d bytes, too long for a socket", path, maxSocketBytes))
			continue
		}
		if err := ownFolder(dir); err != nil {
			errs = append(errs, err)
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("no place for the control socket, set XDG_RUNTIME_DIR to a short path: %w", errors.Join(errs...))
}

// ownFolder makes dir, or checks that it is a folder which only we may change.
func ownFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || ok && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return weir.Errorf(weir.ErrInvalid, "%s is not a folder that only this user may change: set XDG_RUNTIME_DIR to one that is", dir)
	}
	return nil
}
