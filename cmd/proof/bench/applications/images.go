package applications

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// tree makes a folder of 40 MB for an image of a file system.
func tree(dir string) error {
	for i := range 40 {
		sub := filepath.Join(dir, fmt.Sprintf("folder-%02d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, "file"), suite.Noise(suite.MiB, uint64(i)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func makeISO(path string) error {
	return makeImage(path, func(dir string) *exec.Cmd { return exec.Command("genisoimage", "-quiet", "-R", "-o", path, dir) })
}

func makeExt4(path string) error {
	return makeImage(path, func(dir string) *exec.Cmd { return exec.Command("mkfs.ext4", "-q", "-d", dir, path, "64m") })
}

func makeImage(path string, cmd func(dir string) *exec.Cmd) error {
	dir := path + ".tree"
	defer os.RemoveAll(dir)
	if err := tree(dir); err != nil {
		return err
	}
	if out, err := cmd(dir).CombinedOutput(); err != nil {
		return fmt.Errorf("make the image: %w: %s", err, out)
	}
	return nil
}

// mountLoop mounts an image, lists it and sums one file.
func mountLoop(r *suite.Run, path, scratch string) (out []byte, err error) {
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return nil, err
	}
	if out, err := r.Output("mount", "-o", "loop,ro", path, scratch); err != nil {
		return out, err
	}
	defer func() {
		if _, failed := r.Output("umount", scratch); err == nil {
			err = failed
		}
	}()
	list, err := r.Output("sh", "-c", "cd \"$0\" && ls -R && sha256sum folder-17/file", scratch)
	return list, err
}

// readLoop is mountLoop for kernels that don't know ISO 9660: the image becomes a
// block device, as mount -o loop makes one, and a program reads that.
func readLoop(r *suite.Run, path, _ string) (out []byte, err error) {
	name, err := r.Output("losetup", "--find", "--show", "--read-only", path)
	if err != nil {
		return nil, err
	}
	device := string(bytes.TrimSpace(name))
	defer func() {
		// With the run's time over it must be detached all the same.
		if failed := exec.Command("losetup", "--detach", device).Run(); failed != nil {
			err = errors.Join(err, fmt.Errorf("detach %s: %w", device, failed))
		}
	}()
	list, err := r.Output("isoinfo", "-R", "-l", "-i", device)
	if err != nil {
		return nil, err
	}
	file, err := r.Output("isoinfo", "-R", "-x", "/folder-17/file", "-i", device)
	if err == nil && !bytes.Equal(file, suite.Noise(suite.MiB, 17)) {
		err = errors.New("isoinfo reads something else from the image than was put into it")
	}
	return list, err
}
