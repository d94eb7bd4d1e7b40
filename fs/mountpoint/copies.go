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

// An unmount removes a mount from one place. Copies of it, as bind mounts or in the mount
// namespace of a container, keep weir running. So weir looks for them first.

// mountCopy is another place where a mount is.
type mountCopy struct {
	entry
	pid       int  // of a process that has it in a namespace of its own; 0: it is in ours
	unmounted bool // unmounting the original unmounts it too
}

// remainingCopies returns the copies that an unmount would leave. A program that has just
// started in a mount namespace of its own unmounts most of them soon: it gets copyGrace.
func (m *Mount) remainingCopies(ctx context.Context) []mountCopy {
	for until := time.Now().Add(copyGrace); ; {
		m.copies = copiesOf(m.entry)
		stay := slices.DeleteFunc(slices.Clone(m.copies), func(c mountCopy) bool { return c.unmounted })
		transient := !slices.ContainsFunc(stay, func(c mountCopy) bool { return c.pid == 0 })
		if len(stay) == 0 || !transient || time.Now().After(until) {
			return stay
		}
		select {
		case <-ctx.Done():
			return stay
		case <-time.After(copyTick):
		}
	}
}

// How long copies in other namespaces may take to go, and how often to check.
const (
	copyGrace = 3 * time.Second
	copyTick  = 200 * time.Millisecond
)

// Remaining names the copies from before the unmount that still exist, and says what to do;
// "": there are none.
func (m *Mount) Remaining() string {
	var remaining []mountCopy
	now := copiesIn(m.entry, mountNamespaces())
	for _, c := range m.copies {
		if slices.ContainsFunc(now, func(n mountCopy) bool { return n.same(c.entry) }) {
			remaining = append(remaining, c)
		}
	}
	return describe(remaining)
}

// describe names up to three places.
func describe(copies []mountCopy) string {
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

// copiesOf returns the copies of a mount. Device numbers are reused, so they only count if e is
// still mounted afterwards.
func copiesOf(e entry) []mountCopy {
	copies := copiesIn(e, mountNamespaces())
	if now, ok, err := readMountAt(e.point); err != nil || !ok || !now.same(e) {
		return nil
	}
	return copies
}

// mountNamespace is a mount namespace, as one of its processes sees it.
type mountNamespace struct {
	pid     int // 0: ours
	entries []entry
}

// mountNamespaces returns ours, and those of all processes that we may inspect.
func mountNamespaces() []mountNamespace {
	var all []mountNamespace
	seen := map[int]bool{} // by the mount that is listed first
	look := func(dir string, pid int) {
		b, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if err != nil {
			return // it has ended, or belongs to another user
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

// copiesIn returns the copies of e in the namespaces, of which the first is ours.
func copiesIn(e entry, namespaces []mountNamespace) []mountCopy {
	var copies []mountCopy
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
			copies = append(copies, mountCopy{c, ns.pid, propagates(e, own, c, ns.entries)})
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
	return pathOn(below, e.point) == pathOn(other, c.point)
}

// pathOn returns a path's path on the file system that it is on.
func pathOn(below entry, p string) string {
	return path.Join(below.root, strings.TrimPrefix(p, below.point))
}

func mountByID(entries []entry, id int) (entry, bool) {
	i := slices.IndexFunc(entries, func(e entry) bool { return e.id == id })
	if i < 0 {
		return entry{}, false
	}
	return entries[i], true
}
