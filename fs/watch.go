package fs

import (
	"cmp"
	"path"
	"slices"
	"time"
)

// What the mount is used for at the moment, for those who look.

// Waiting returns the requests that wait for a torrent now, the longest waiting
// first.
func (f *FS) Waiting() []Wait {
	var all []Wait
	for _, w := range f.waits.all() {
		if w.t == nil {
			continue
		}
		wait := Wait{Torrent: w.t.ih, Path: f.root.where(w.t), Range: w.in, PID: w.pid, Since: w.since}
		if w.h != nil {
			wait.Path = path.Join(wait.Path, w.h.path)
			wait.PID, wait.Program = w.h.by.PID, w.h.by.Program
		}
		if p, ok := f.processes.of(w.pid, time.Now()); ok {
			wait.PID, wait.Program = p.pid, p.name
		}
		all = append(all, wait)
	}
	slices.SortFunc(all, func(a, b Wait) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Range.Off, b.Range.Off)) })
	return all
}

// Handles returns the files of torrents that are open now, in the order in which
// they were opened.
func (f *FS) Handles() []HandleInfo {
	var all []HandleInfo
	for _, h := range f.handles.all() {
		if h.t != nil {
			info := HandleInfo{Torrent: h.t.ih, Path: path.Join(f.root.where(h.t), h.path), PID: h.by.PID, Program: h.by.Program, Opened: h.opened}
			if file, tells := h.file.(interface{ Ahead() int64 }); tells {
				info.Ahead = file.Ahead()
			}
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(a, b HandleInfo) int { return a.Opened.Compare(b.Opened) })
	return all
}
