package mountpoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An unmount takes a mount away from one place. Copies of it, as bind mounts or in
// the mount namespace of a container, keep weir running until they go too. So they
// are looked for before.

// copied is a place besides the mountpoint where a mount is.
type copied struct {
	entry
	pid  int  // of a process that has it in a namespace of its own; 0: it is in ours
	goes bool // the unmount will take it along
}

// staying looks for copies and returns those that the unmount would leave. A program
// that has just started in a mount namespace of its own lets go of most mounts soon:
// it has copyGrace for that.
func (m *Mount) staying(ctx context.Context) []copied {
	for until := time.Now().Add(copyGrace); ; {
		m.copies = copiesOf(m.entry)
		stay := slices.DeleteFunc(slices.Clone(m.copies), func(c copied) bool { return c.goes })
		transient := !slices.ContainsFunc(stay, func(c copied) bool { return c.pid == 0 })
		if len(stay) == 0 || !transient || time.Now().After(until) {
			return stay
		}
		select {
		case <-ctx.Done():
			return stay
		case <-time.After(copyLook):
		}
	}
}

// How long copies in other namespaces may take to go, and when to look again.
const (
	copyGrace = 3 * time.Second
	copyLook  = 200 * time.Millisecond
)

// Remaining says who still has the mount, of those that had it before the unmount,
// and what to do about it; "": nobody.
func (m *Mount) Remaining() string {
	var remaining []copied
	now := copiesIn(m.entry, mountNamespaces())
	for _, c := range m.copies {
		if slices.ContainsFunc(now, func(n copied) bool { return n.same(c.entry) }) {
			remaining = append(remaining, c)
		}
	}
	return describe(remaining)
}

// describe names up to three places.
func describe(copies []copied) string {
	var texts []string
	for _, c := range copies[:min(3, len(copies))] {
		if c.pid == 0 {
			texts = append(texts, fmt.Sprintf("it is also mounted at %s: umount that first", c.point))
			continue
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.pid))
		texts = append(texts, fmt.Sprintf("%s (process %d) has it in a mount namespace of its own, as containers do, at %s: end that, or run: nsenter -t %d -m umount %s",
			bytes.TrimSpace(name), c.pid, c.point, c.pid, c.point))
	}
	return strings.Join(texts, "; ")
}

// copiesOf returns where else a mount is. That e is there before and after is what
// makes its device number mean the same in between.
func copiesOf(e entry) []copied {
	copies := copiesIn(e, mountNamespaces())
	if now, ok, err := readMountAt(e.point); err != nil || !ok || !now.same(e) {
		return nil
	}
	return copies
}

// mountNamespace is what a process sees of the mounts of its namespace.
type mountNamespace struct {
	pid     int // 0: ours
	entries []entry
}

// mountNamespaces returns ours, and those of all processes that we may look at.
func mountNamespaces() []mountNamespace {
	var all []mountNamespace
	seen := map[int]bool{} // by the mount that is listed first
	look := func(dir string, pid int) {
		b, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if err != nil {
			return // it has ended, or is not ours to look at
		}
		first, _, _ := bytes.Cut(b, []byte("\n"))
		if e, ok := parseMountLine(string(first)); ok && !seen[e.id] {
			seen[e.id] = true
			all = append(all, mountNamespace{pid, parseMountinfo(b)})
		}
	}
	look("/proc/self", 0)
	procs, _ := os.ReadDir("/proc")
	var pids []int
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // of each namespace, the oldest process is named
	for _, pid := range pids {
		look(filepath.Join("/proc", strconv.Itoa(pid)), pid)
	}
	return all
}

// copiesIn returns where else e is, in any of the namespaces, of which the first is
// ours.
func copiesIn(e entry, namespaces []mountNamespace) []copied {
	var copies []copied
	if len(namespaces) == 0 {
		return nil
	}
	own := namespaces[0].entries
	seen := map[int]bool{e.id: true}
	for _, ns := range namespaces {
		for _, c := range ns.entries {
			if !c.sameFS(e) || seen[c.id] {
				continue
			}
			seen[c.id] = true
			copies = append(copies, copied{c, ns.pid, propagates(e, own, c, ns.entries)})
		}
	}
	return copies
}

// propagates reports whether an unmount of e also unmounts c: the mount below c is a
// peer or a slave of the one below e (mount_namespaces(7)), and both are at the same
// path of its file system. A slave's master may be several mounts away, which is not
// followed: any slave counts.
func propagates(e entry, own []entry, c entry, others []entry) bool {
	below, ok1 := mountByID(own, e.parent)
	other, ok2 := mountByID(others, c.parent)
	if !ok1 || !ok2 || below.shared == 0 || other.shared != below.shared && other.master == 0 {
		return false
	}
	return placeOn(below, e.point) == placeOn(other, c.point)
}

// placeOn returns where a path is on the file system of the mount that it is on.
func placeOn(below entry, p string) string {
	return path.Join(below.root, strings.TrimPrefix(p, below.point))
}

func mountByID(entries []entry, id int) (entry, bool) {
	i := slices.IndexFunc(entries, func(e entry) bool { return e.id == id })
	if i < 0 {
		return entry{}, false
	}
	return entries[i], true
}
