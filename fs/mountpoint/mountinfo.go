package mountpoint

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// fileSystemType is that of weir's mounts.
const fileSystemType = "fuse.weir"

// entry is one mount as /proc/self/mountinfo lists it.
type entry struct {
	id, parent   int // of mounts, in all namespaces; reused once they are gone
	major, minor uint32
	root         string // which folder of the file system is there
	point        string // where it is mounted
	shared       int    // peer group that mounts and unmounts go to; 0: none
	master       int    // peer group that they come from; 0: none
	fsType       string // "ext4", "fuse.weir"
	source       string
	options      string // of the mount and of the file system
}

// parseMountinfo reads what proc(5) describes. Lines that it can't read are left
// out.
func parseMountinfo(b []byte) []entry {
	var entries []entry
	for line := range bytes.Lines(b) {
		if e, ok := parseMountLine(strings.TrimSuffix(string(line), "\n")); ok {
			entries = append(entries, e)
		}
	}
	return entries
}

// parseMountLine reads one line such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountLine(line string) (entry, bool) {
	front, back, ok := strings.Cut(line, " - ")
	if !ok {
		return entry{}, false
	}
	f, k := strings.Split(front, " "), strings.Split(back, " ")
	if len(f) < 6 || len(k) < 3 {
		return entry{}, false
	}
	major, minor, ok := strings.Cut(f[2], ":")
	if !ok {
		return entry{}, false
	}
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if err1 != nil || err2 != nil {
		return entry{}, false
	}
	id, err1 := strconv.Atoi(f[0])
	parent, err2 := strconv.Atoi(f[1])
	if err1 != nil || err2 != nil {
		return entry{}, false
	}
	return entry{
		id:      id,
		parent:  parent,
		root:    unescapeOctal(f[3]),
		shared:  peerGroup(f[6:], "shared:"),
		master:  peerGroup(f[6:], "master:"),
		major:   uint32(ma),
		minor:   uint32(mi),
		point:   unescapeOctal(f[4]),
		fsType:  k[0],
		source:  unescapeOctal(k[1]),
		options: f[5] + "," + k[2],
	}, true
}

// peerGroup returns the number behind a tag, 0 if there is none.
func peerGroup(tags []string, tag string) int {
	for _, t := range tags {
		if s, ok := strings.CutPrefix(t, tag); ok {
			if n, err := strconv.Atoi(s); err == nil {
				return n
			}
		}
	}
	return 0
}

// same reports whether two entries are of the same mount, if it existed all the time between.
func (e entry) same(o entry) bool {
	return e.id == o.id && e.sameFS(o) && e.point == o.point
}

// sameFS reports whether two mounts are of the same file system, if it existed all the time
// between: device numbers are reused.
func (e entry) sameFS(o entry) bool {
	return e.major == o.major && e.minor == o.minor && e.fsType == o.fsType && e.source == o.source
}

// unescapeOctal undoes the kernel's "\040" for a space, tab, newline and '\'.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountAt returns the mount that is seen at point, which is the last one there.
func mountAt(entries []entry, point string) (entry, bool) {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].point == point {
			return entries[i], true
		}
	}
	return entry{}, false
}

// readMountAt returns the mount at point, an absolute path without links.
func readMountAt(point string) (entry, bool, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return entry{}, false, err
	}
	e, ok := mountAt(parseMountinfo(b), point)
	return e, ok, nil
}
