package mountpoint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usersOf names up to three processes that use something below point: an open or mapped file,
// their working folder, root or program. Other users' processes may be missing.
func usersOf(point string) []string {
	var who []string
	procs, _ := os.ReadDir("/proc")
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err != nil || pid == os.Getpid() {
			continue // our files are inherited from a shell, which is listed itself
		}
		dir := filepath.Join("/proc", p.Name())
		if !uses(dir, point) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		who = append(who, fmt.Sprintf("%s (process %s)", bytes.TrimSpace(name), p.Name()))
		if len(who) == 3 {
			break
		}
	}
	return who
}

// uses reports whether the process whose folder in /proc is dir uses what is mounted at
// point.
func uses(dir, point string) bool {
	links, _ := filepath.Glob(filepath.Join(dir, "fd", "*"))
	for _, link := range append(links, filepath.Join(dir, "cwd"), filepath.Join(dir, "root"), filepath.Join(dir, "exe")) {
		to, err := os.Readlink(link)
		if err != nil || to != point && !strings.HasPrefix(to, point+"/") {
			continue
		}
		if args, _ := os.ReadFile(filepath.Join(dir, "cmdline")); to == point && bytes.HasPrefix(args, []byte("weir\x00guard\x00")) {
			continue // weir's guard holds the folder beneath the mount, which has the same name
		}
		return true
	}
	maps, _ := os.ReadFile(filepath.Join(dir, "maps"))
	return bytes.Contains(maps, []byte(" "+point+"/"))
}

// kernelUsersOf names what uses a mount without a process, loop devices and mounts in it, and
// says how to end it.
func kernelUsersOf(point string) []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	mounts := parseMountinfo(b)
	var who []string
	for _, e := range mounts {
		if strings.HasPrefix(e.point, point+"/") {
			who = append(who, fmt.Sprintf("%s mounted at %s (umount that first)", e.fsType, e.point))
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, path := range backing {
		file, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(file), point+"/") {
			continue
		}
		loop := filepath.Dir(path)
		device := "/dev/" + filepath.Base(filepath.Dir(loop))
		var todo []string
		for _, e := range mounts {
			if e.source == device {
				todo = append(todo, "umount "+e.point)
			}
		}
		if auto, _ := os.ReadFile(filepath.Join(loop, "autoclear")); len(todo) == 0 || !bytes.HasPrefix(auto, []byte("1")) {
			todo = append(todo, "losetup -d "+device)
		}
		who = append(who, fmt.Sprintf("the loop device %s of %s (%s)", device, strings.TrimSpace(string(file)), strings.Join(todo, "; ")))
	}
	return who
}
