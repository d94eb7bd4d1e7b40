package publish

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/publish/metainfo"
)

// tree is what was found at a path, at one time.
type tree struct {
	single  bool    // a file, and no folder
	entries []entry // in torrent order: by their names, folder by folder
	leftOut []LeftOut
	newest  time.Time // modification of a file
	changed time.Time // of the newest change of a file or its inode
}

// entry is a file or a link.
type entry struct {
	metainfo.File
	stamp inplace.Stamp
}

// scanner walks through a folder.
type scanner struct {
	ctx   context.Context
	root  string
	other string // another name of root, by which absolute links may call it
	tree  *tree
}

// scan finds what is at root, in the order of names. Other file systems that are mounted
// there count like folders. other is another name of root, or the same.
func scan(ctx context.Context, root, other string) (*tree, error) {
	s := &scanner{ctx: ctx, root: root, other: other, tree: &tree{}}
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: root, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.tree.single = true
		return s.tree, s.file(root, []string{filepath.Base(root)}, &st)
	case unix.S_IFDIR:
		return s.tree, s.folder(root, nil)
	}
	return nil, weir.Errorf(weir.ErrInvalid, "%s is %s: want a file or a folder", root, kindOf(&st))
}

// kindOf names what is neither file nor folder nor link.
func kindOf(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFIFO:
		return "a pipe"
	}
	return "a device"
}

func (s *scanner) folder(dir string, path []string) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range found {
		name := filepath.Join(dir, d.Name())
		at := append(path[:len(path):len(path)], d.Name())
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			err = s.file(name, at, &st)
		case unix.S_IFDIR:
			err = s.folder(name, at)
		case unix.S_IFLNK:
			err = s.link(name, at, &st)
		default:
			s.leaveOut(at, "it is "+kindOf(&st))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) leaveOut(path []string, why string) {
	s.tree.leftOut = append(s.tree.leftOut, LeftOut{strings.Join(path, "/"), why})
}

func (s *scanner) add(f metainfo.File, st *unix.Stat_t) {
	f.Executable = st.Mode&unix.S_IXUSR != 0
	s.tree.entries = append(s.tree.entries, entry{f, inplace.StampOf(st)})
	if changed := time.Unix(st.Ctim.Unix()); changed.After(s.tree.changed) {
		s.tree.changed = changed
	}
}

func (s *scanner) file(name string, path []string, st *unix.Stat_t) error {
	if err := unix.Access(name, unix.R_OK); err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	s.add(metainfo.File{Path: path, Length: st.Size}, st)
	if modified := time.Unix(st.Mtim.Unix()); modified.After(s.tree.newest) {
		s.tree.newest = modified
	}
	return nil
}

// link adds a symbolic link whose target lies in the folder, whether there is something
// or not.
func (s *scanner) link(name string, path []string, st *unix.Stat_t) error {
	target, err := os.Readlink(name)
	if err != nil {
		return err
	}
	at := filepath.Join(filepath.Dir(name), target)
	if filepath.IsAbs(target) {
		at = filepath.Clean(target)
		if rel, err := filepath.Rel(s.other, at); err == nil && filepath.IsLocal(rel) {
			at = filepath.Join(s.root, rel)
		}
	}
	rel, err := filepath.Rel(s.root, at)
	if err != nil || !filepath.IsLocal(rel) {
		s.leaveOut(path, "it is a link to "+target+", outside of the folder")
		return nil
	}
	s.add(metainfo.File{Path: path, Link: strings.Split(rel, "/")}, st)
	return nil
}

// compare says which files are others now, if any are.
func (t *tree) compare(now *tree) error {
	if t.single != now.single {
		return changedError("the whole of it")
	}
	order := func(a, b entry) int { return slices.Compare(a.Path, b.Path) }
	before, after := t.entries, now.entries
	for i := range max(len(before), len(after)) {
		switch {
		case i == len(after), i < len(before) && order(before[i], after[i]) < 0:
			return changedError(before[i].name() + " is gone")
		case i == len(before), order(before[i], after[i]) > 0:
			return changedError(after[i].name() + " is new")
		case before[i].stamp != after[i].stamp:
			return changedError(before[i].name())
		}
	}
	return nil
}

func (e *entry) name() string { return strings.Join(e.Path, "/") }

func changedError(what string) error {
	return weir.Errorf(weir.ErrCorrupt, "changed while it was being read: %s: publish again when nothing writes there", what)
}
