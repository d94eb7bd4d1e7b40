package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/incoming"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

func addAtT(tb testing.TB, f *FS, dir, name string) (weir.InfoHash, string) {
	tb.Helper()
	tor := NewFakeTorrent(FakeInfo(name, FakeFile{Path: "d/f", Length: 1000}))
	shown, err := f.AddAt(dir, name, tor)
	if err != nil {
		tb.Fatal(err)
	}
	return tor.ih, shown
}

// namesIn lists a folder, without the dots.
func namesIn(tb testing.TB, f *FS, id node.ID) []string {
	tb.Helper()
	var names []string
	for _, d := range listAll(tb, f, id, 200)[2:] {
		names = append(names, d.name)
	}
	return names
}

func TestFolders(t *testing.T) {
	f := New(Options{ByHash: true})
	one, _ := addAtT(t, f, "linux/debian", "one")
	addAtT(t, f, "", "linux")
	if _, shown := addAtT(t, f, "", "by-hash"); !strings.HasPrefix(shown, "by-hash [") {
		t.Errorf("by-hash is taken: %q", shown)
	}
	if err := f.MakeFolder("tags"); err != nil {
		t.Fatal(err)
	}
	if shown, err := f.Move(one, "tags", "a/b"); shown != "a%2Fb" || err != nil {
		t.Errorf("move: %q, %v", shown, err)
	}
	if shown, err := f.Move(one, "linux/debian", ""); shown != "a%2Fb" || err != nil {
		t.Errorf("move back: %q, %v", shown, err)
	}
	if err := f.MoveFolder("linux", "tags/os"); err != nil {
		t.Fatal(err)
	}
	id := lookupPath(t, f, "tags/os/debian/a%2Fb/d/f")
	if got := f.root.torrentPath(f.root.byInfoHash(one)); got != "tags/os/debian/a%2Fb" {
		t.Errorf("where: %q", got)
	}
	if prefix, _ := id.Split(); prefix != node.Prefix(one, 0) {
		t.Errorf("node %v has another prefix", id)
	}
	for what, tt := range map[string]struct {
		err  error
		want error
	}{
		"MakeExisting":    {f.MakeFolder("tags/os"), weir.ErrExists},
		"MakeBelowOther":  {f.MakeFolder("tags/os/debian/a%2Fb/x"), weir.ErrExists},
		"MakeDot":         {f.MakeFolder("tags/.x"), weir.ErrInvalid},
		"MakeDotDot":      {f.MakeFolder(".."), weir.ErrInvalid},
		"MakeEmpty":       {f.MakeFolder("a//b"), weir.ErrInvalid},
		"MakeNUL":         {f.MakeFolder("a\x00"), weir.ErrInvalid},
		"MakeLongName":    {f.MakeFolder(strings.Repeat("x", 256)), weir.ErrInvalid},
		"MakeLongPath":    {f.MakeFolder(strings.Repeat("x/", 512) + "x"), weir.ErrInvalid},
		"MakeRoot":        {f.MakeFolder(""), weir.ErrExists},
		"RemoveFull":      {f.RemoveFolder("tags"), weir.ErrInUse},
		"RemoveMissing":   {f.RemoveFolder("nothing"), weir.ErrNotFound},
		"RemoveRoot":      {f.RemoveFolder(""), weir.ErrInvalid},
		"RemoveByHash":    {f.RemoveFolder("by-hash"), weir.ErrNotFound},
		"MoveIntoItself":  {f.MoveFolder("tags", "tags/os/x"), weir.ErrInvalid},
		"MoveMissing":     {f.MoveFolder("nothing", "x"), weir.ErrNotFound},
		"MoveToTaken":     {f.MoveFolder("tags/os", "by-hash"), weir.ErrExists},
		"MoveToBadName":   {f.MoveFolder("tags/os", "tags/.os"), weir.ErrInvalid},
		"TorrentMissing":  {second(f.Move(weir.InfoHash{1}, "", "")), weir.ErrNotFound},
		"TorrentBelowOne": {second(f.Move(one, "linux [x]/..", "")), weir.ErrInvalid},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", what, tt.err, tt.want)
		}
	}
	if got := namesIn(t, f, lookupPath(t, f, "tags")); !slices.Equal(got, []string{"os"}) {
		t.Errorf("tags holds %q", got)
	}
	if got := namesIn(t, f, node.ByHash); len(got) != 3 || got[0] != one.String() {
		t.Errorf("by-hash holds %q", got)
	}
	if err := f.Remove(one); err != nil {
		t.Fatal(err)
	}
	old := lookupPath(t, f, "tags/os/debian")
	if err := errors.Join(f.RemoveFolder("tags/os/debian"), f.RemoveFolder("tags/os"), f.RemoveFolder("tags")); err != nil {
		t.Error(err)
	}
	if _, err := now(f.operations.Getattr(old)); err != syscall.ESTALE {
		t.Errorf("a folder that was removed: %v", err)
	}
}

func second(_ string, err error) error { return err }

func TestFolderInodesAreStable(t *testing.T) {
	var ids [2]node.ID
	for i := range ids {
		f := New(Options{})
		for n := range i {
			addAtT(t, f, fmt.Sprint("other", n), "x")
		}
		addAtT(t, f, "linux/debian", "one")
		ids[i] = lookupPath(t, f, "linux/debian")
	}
	if ids[0] != ids[1] || ids[0]>>24 == 0 {
		t.Errorf("inodes %v and %v", ids[0], ids[1])
	}
}

func TestTreesAreForgotten(t *testing.T) {
	f := New(Options{})
	names := []string{"a", "b", "c"}
	ids := make(map[string]node.ID)
	for _, name := range names {
		addAtT(t, f, "", name)
		ids[name] = lookupPath(t, f, name+"/d/f")
	}
	tor := func(name string) *torrent { return f.root.lookup(f.root.top, name).t }
	at := time.Now()
	for i, name := range names {
		tor(name).used.Store(at.Add(time.Duration(i) * time.Minute).Unix())
	}
	if idle, next := f.trees.due(at.Add(5*time.Minute), 100); len(idle) != 0 || next != treeEvery {
		t.Errorf("too early: %d, next %v", len(idle), next)
	}
	if idle, next := f.trees.due(at.Add(2*time.Minute), 3); len(idle) != 2 || idle[0] != tor("a") || next == 0 {
		t.Errorf("too many: %d, next %v", len(idle), next)
	}
	for _, name := range names[:2] {
		f.trees.add(tor(name), 3)
	}
	if next := f.trees.dropIdle(at.Add(treeIdle + 90*time.Second)); next != treeEvery || tor("a").tree.Load() != nil || tor("c").tree.Load() == nil {
		t.Errorf("idle: next %v", next)
	}
	a, err := now(f.operations.Getattr(ids["a"]))
	if err != errMustWait {
		t.Errorf("inline: %v", err)
	}
	if a, err = await(f.operations.Getattr(ids["a"])); err != nil || a.Size != 1000 || a.ID != ids["a"] {
		t.Errorf("looked at again: %+v, %v", a, err)
	}
	if again := lookupPath(t, f, "a/d/f"); again != ids["a"] {
		t.Errorf("node %v, was %v", again, ids["a"])
	}
	for _, name := range names {
		if err := f.Remove(tor(name).ih); err != nil {
			t.Fatal(err)
		}
	}
	if next := f.trees.dropIdle(at); next != 0 {
		t.Errorf("all removed: next %v", next)
	}
}

// Listing thousands of torrents, and stat of their folders, loads no metadata.
func TestListingLoadsNothing(t *testing.T) {
	f := New(Options{})
	tors := make([]*FakeTorrent, 100)
	for i := range tors {
		tors[i] = NewFakeTorrent(FakeInfo(fmt.Sprint("t", i), FakeFile{Path: "f", Length: 1}))
		addT(t, f, tors[i])
	}
	for _, name := range namesIn(t, f, node.Root) {
		resp, err := now(f.operations.Lookup(node.Root, name))
		if err != nil || !resp.Attr.Time.Equal(FakeCreated) {
			t.Fatalf("%s: %+v, %v", name, resp.Attr, err)
		}
		if _, err := f.operations.Listxattr(resp.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.totals.count()
	for _, tor := range tors {
		if n := tor.Infos.Load(); n != 0 {
			t.Fatalf("metadata was asked for %d times", n)
		}
	}
}

func TestPendingRemoval(t *testing.T) {
	var h pendingRemoval
	at := time.Unix(1000, 0)
	h.add(3, 1, at.Add(time.Second))
	h.add(4, 1, at.Add(2*time.Second))
	if !h.has(3) || h.has(5) || h.hasAll(tree.Span{First: 3, Count: 3}) || !h.hasAll(tree.Span{First: 3, Count: 2}) {
		t.Error("mixed up")
	}
	if shown, left := h.restore(at.Add(time.Second)); shown != nil || left != time.Second {
		t.Errorf("too early: %v, %v", shown, left)
	}
	if shown, left := h.restore(at.Add(2 * time.Second)); len(shown) != 2 || left != 0 || h.has(3) {
		t.Errorf("due: %v, %v", shown, left)
	}
}

func TestIncomingFilesAreDropped(t *testing.T) {
	f := New(Options{Host: refusingHost{}})
	_, opened, err := f.operations.Create(node.Root, "a.torrent.part", node.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.operations.Write(opened.Handle, make([]byte, 100), 1000); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(2 * incomingIdle)
	if f.incoming.dropDue(later); f.incoming.Bytes() != 1100 {
		t.Errorf("%d bytes while it is open", f.incoming.Bytes())
	}
	f.operations.Release(opened.Handle)
	if next := f.incoming.dropDue(time.Now()); next == 0 || len(namesIn(t, f, node.Root)) != 1 {
		t.Error("forgotten too early")
	}
	if next := f.incoming.dropDue(later); next != 0 || len(namesIn(t, f, node.Root)) != 0 || f.incoming.Bytes() != 0 || len(f.incoming.files) != 0 {
		t.Errorf("not forgotten: %d bytes", f.incoming.Bytes())
	}
	for i := range incoming.MaxFiles {
		if _, _, err := f.operations.Create(node.Root, fmt.Sprint(i, ".txt"), node.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := f.operations.Create(node.Root, "more.txt", node.Caller{}); err != syscall.ENOSPC {
		t.Errorf("too many: %v, want ENOSPC", err)
	}
}

// More files than may be there at once, and more bytes, can be copied in one after
// another: what was handed over gives way.
func TestHandedOverGiveWay(t *testing.T) {
	f := New(Options{Host: acceptingHost{}})
	copyIn := func(name string, size int64) error {
		t.Helper()
		_, opened, err := f.operations.Create(node.Root, name, node.Caller{})
		if err != nil {
			return err
		}
		err = f.operations.Write(opened.Handle, []byte("x"), size-1)
		if err == nil {
			err = flush(f, opened.Handle)
		}
		f.operations.Release(opened.Handle)
		return err
	}
	for i := range incoming.MaxFiles + 10 {
		if err := copyIn(fmt.Sprint(i, ".txt"), 10); err != nil {
			t.Fatal(i, err)
		}
	}
	f.incoming.Limit = f.incoming.Bytes() + 100
	if err := copyIn("1.torrent", 150); err != nil {
		t.Fatal(err)
	}
	if n := len(namesIn(t, f, node.Root)); n != 0 || f.incoming.Bytes() != 150 {
		t.Errorf("%d names, %d bytes", n, f.incoming.Bytes())
	}
	if _, err := now(f.operations.Lookup(node.Root, "1009.txt")); err != syscall.ENOENT {
		t.Errorf("one that gave way: %v", err)
	}
	f.incoming.dropDue(time.Now().Add(time.Hour))
	if n := f.incoming.Bytes(); n != 0 || len(f.incoming.files) != 0 {
		t.Errorf("%d bytes are left, in %d files", n, len(f.incoming.files))
	}
}

// acceptingHost takes every file and adds nothing.
type acceptingHost struct{ Host }

func (acceptingHost) AddFile(context.Context, string, string, []byte) error { return nil }

// refusingHost accepts nothing.
type refusingHost struct{ Host }

// TorrentAt, Beneath and Folders say what is in the tree.
func TestWhatIsWhere(t *testing.T) {
	f := New(Options{ByHash: true})
	one, _ := addAtT(t, f, "linux/debian", "one")
	two, _ := addAtT(t, f, "", "two")
	if err := f.MakeFolder("empty"); err != nil {
		t.Fatal(err)
	}
	if got, want := f.Folders(), []string{"linux", "linux/debian", "empty"}; !slices.Equal(got, want) {
		t.Errorf("folders %q, want %q", got, want)
	}
	for dir, want := range map[string][]weir.InfoHash{"": {one, two}, "linux": {one}, "linux/debian": {one}, "empty": nil, "two": nil, "no": nil, "//": nil} {
		if got := f.Beneath(dir); !slices.Equal(got, want) {
			t.Errorf("beneath %q: %v, want %v", dir, got, want)
		}
		if got, want := f.IsFolder(dir), dir != "two" && dir != "no" && dir != "//"; got != want {
			t.Errorf("%q is a folder: %v", dir, got)
		}
	}
	for path, want := range map[string]string{
		"two": "two", "two/d": "two", "two//x/": "two", "linux/debian/one/d/f": "linux/debian/one",
		"": "", "/two": "", "linux": "", "linux/debian/on": "", "by-hash": "", "by-hash/x": "", "empty/x": "",
	} {
		if _, at, ok := f.TorrentAt(path); at != want || ok != (want != "") {
			t.Errorf("torrent at %q: %q, %v, want %q", path, at, ok, want)
		}
	}
	if ih, _, _ := f.TorrentAt("linux/debian/one"); ih != one {
		t.Errorf("another torrent: %s", ih)
	}
}
