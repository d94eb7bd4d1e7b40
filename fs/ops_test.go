package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
)

var errMustWait = errors.New("has to wait")

// now is what an operation answers at once.
func now[A any](a A, wait node.Wait[A], err error) (A, error) {
	if err == nil && wait != nil {
		err = errMustWait
	}
	return a, err
}

// await is what an operation answers in the end.
func await[A any](a A, wait node.Wait[A], err error) (A, error) {
	if err == nil && wait != nil {
		return wait(context.Background())
	}
	return a, err
}

func flush(f *FS, h node.Handle) error {
	wait, err := f.operations.Flush(h)
	_, err = await(node.None{}, wait, err)
	return err
}

func addT(tb testing.TB, f *FS, t *FakeTorrent) string {
	tb.Helper()
	shown, err := f.Add(t.info.Name, t)
	if err != nil {
		tb.Fatal(err)
	}
	return shown
}

// lookupPath looks a path up, below the root.
func lookupPath(tb testing.TB, f *FS, path string) node.ID {
	tb.Helper()
	id := node.Root
	for _, name := range strings.Split(path, "/") {
		e, err := await(f.operations.Lookup(id, name))
		if err != nil || e.ID == 0 {
			tb.Fatalf("look %s of %s up: node %v, %v", name, path, e.ID, err)
		}
		id = e.ID
	}
	return id
}

type dirent struct {
	ino, next uint64
	typ       uint32
	name      string
}

// parseDirents reads struct fuse_dirent as linux/fuse.h has it.
func parseDirents(b []byte) []dirent {
	var all []dirent
	for len(b) > 0 {
		n := binary.NativeEndian.Uint32(b[16:])
		all = append(all, dirent{
			ino: binary.NativeEndian.Uint64(b), next: binary.NativeEndian.Uint64(b[8:]),
			typ: binary.NativeEndian.Uint32(b[20:]), name: string(b[24 : 24+n]),
		})
		b = b[(24+n+7)&^7:]
	}
	return all
}

// listAll lists a folder in requests of size bytes.
func listAll(tb testing.TB, f *FS, id node.ID, size int) []dirent {
	tb.Helper()
	var all []dirent
	for off := int64(0); ; {
		b, err := now(f.operations.ReadDir(id, off, size, nil))
		if err != nil {
			tb.Fatal(err)
		}
		if len(b) > size {
			tb.Fatalf("%d bytes in an answer of %d", len(b), size)
		}
		got := parseDirents(b)
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		off = int64(got[len(got)-1].next)
	}
}

func TestAddNames(t *testing.T) {
	f := New(Options{})
	add := func(name string, first byte) string {
		t.Helper()
		ih := weir.InfoHash{0x1a, 0x2b, 0x3c, 0x4d, first}
		shown, err := f.Add(name, &FakeTorrent{ih: ih})
		if err != nil {
			t.Fatal(err)
		}
		return shown
	}
	long := strings.Repeat("l", 255)
	for _, tt := range []struct{ got, want string }{
		{add("x", 1), "x"},
		{add("x", 2), "x [1a2b3c4d]"},
		{add("x", 3), "x [1a2b3c4d03000000]"},
		{add("..", 4), "%2E%2E"},
		{add("", 5), "1a2b3c4d05000000000000000000000000000000"},
		{add("a/b", 6), "a%2Fb"},
		{add(long, 7), long},
		{add(long, 8), long[:244] + " [1a2b3c4d]"},
	} {
		if tt.got != tt.want {
			t.Errorf("shown as %q, want %q", tt.got, tt.want)
		}
	}
	if _, err := f.Add("y", &FakeTorrent{ih: weir.InfoHash{0x1a, 0x2b, 0x3c, 0x4d, 1}}); !errors.Is(err, weir.ErrExists) {
		t.Errorf("the same torrent again: %v", err)
	}
	// All eight have the same first four bytes, and the fifth differs: no collision.
	seen := make(map[uint64]bool)
	for _, tor := range f.root.all() {
		if seen[tor.prefix] {
			t.Error("two torrents have one prefix")
		}
		seen[tor.prefix] = true
	}
}

func TestAddSamePrefix(t *testing.T) {
	f := New(Options{})
	one, two := weir.InfoHash{1, 2, 3, 4, 5, 6}, weir.InfoHash{1, 2, 3, 4, 5, 7}
	for _, ih := range []weir.InfoHash{one, two} {
		if _, err := f.Add("", &FakeTorrent{ih: ih}); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := f.root.byInfoHash(one).prefix, f.root.byInfoHash(two).prefix; a == b || b != node.Prefix(two, 1) {
		t.Errorf("prefixes %#x and %#x", a, b)
	}
}

func TestLookup(t *testing.T) {
	f := New(Options{UID: 7, GID: 8})
	info := FakeInfo("t", FakeFile{Path: "d/f", Length: 1000})
	addT(t, f, NewFakeTorrent(info))

	id := lookupPath(t, f, "t/d/f")
	for _, tt := range []struct {
		parent node.ID
		name   string
		err    error
	}{
		{node.Root, "u", syscall.ENOENT},
		{node.Root, strings.Repeat("x", 256), syscall.ENAMETOOLONG},
		{node.Root, ".weir-poll", syscall.ENOENT},
		{lookupPath(t, f, "t/d"), "g", nil}, // node 0: kept by the kernel
		{id, "x", syscall.ENOTDIR},
		{id + 1, "x", syscall.ESTALE},
		{node.Make(12345, 0), "x", syscall.ESTALE},
	} {
		if e, err := now(f.operations.Lookup(tt.parent, tt.name)); err != tt.err || e.ID != 0 {
			t.Errorf("look %q up in %v: node %v, %v, want %v", tt.name, tt.parent, e.ID, err, tt.err)
		}
	}

	a, err := now(f.operations.Getattr(id))
	if err != nil {
		t.Fatal(err)
	}
	if a.ID != id || a.Size != 1000 || a.Blocks != 2 || a.Mode != 0o444 || a.UID != 7 || a.GID != 8 ||
		!a.Time.Equal(FakeCreated) || a.ValidFor < time.Hour || a.BlockSize != blockSize {
		t.Errorf("attributes: %+v", a)
	}
	if a, err = now(f.operations.Getattr(node.Root)); err != nil || a.Links != 3 || a.Mode != os.ModeDir|0o555 {
		t.Errorf("attributes of the root: %+v, %v", a, err)
	}
	if a, err = now(f.operations.Getattr(id + 1)); err != syscall.ESTALE {
		t.Errorf("a node that is not: %v", err)
	}
	if err := f.Remove(info.InfoHash); err != nil {
		t.Fatal(err)
	}
	if a, err = now(f.operations.Getattr(id)); err != syscall.ESTALE {
		t.Errorf("a node of a removed torrent: %v", err)
	}
}

func TestInodesAreStable(t *testing.T) {
	info := FakeInfo("t", FakeFile{Path: "b", Length: 1}, FakeFile{Path: "a/x", Length: 1})
	var ids [2]node.ID
	for i := range ids {
		f := New(Options{})
		for n := range i { // others before it change nothing
			addT(t, f, NewFakeTorrent(FakeInfo(fmt.Sprint("other", n), FakeFile{Path: "b", Length: 1})))
		}
		addT(t, f, NewFakeTorrent(info))
		ids[i] = lookupPath(t, f, "t/a/x")
	}
	if ids[0] != ids[1] {
		t.Errorf("inodes %v and %v", ids[0], ids[1])
	}
}

func TestReadDirResumes(t *testing.T) {
	f := New(Options{})
	addT(t, f, NewFakeTorrent(FakeMany("t", 1, 500, 1)))
	dir := lookupPath(t, f, "t/folder-0000")
	for _, size := range []int{64, 100, 4096, 1 << 20} {
		all := listAll(t, f, dir, size)
		if len(all) != 502 || all[0].name != "." || all[0].ino != uint64(dir) || all[1].name != ".." || all[1].ino != uint64(lookupPath(t, f, "t")) {
			t.Fatalf("%d entries in requests of %d, the first %v", len(all), size, all[0])
		}
		for i, d := range all[2:] {
			if d.name != fmt.Sprintf("file-%06d.bin", i) || d.typ != uint32(node.File) {
				t.Fatalf("entry %d: %v", i, d)
			}
		}
	}
	if b, err := now(f.operations.ReadDir(dir, 1<<40, 4096, nil)); len(b) != 0 || err != nil {
		t.Errorf("far beyond the end: %d bytes, %v", len(b), err)
	}
	if _, err := now(f.operations.ReadDir(dir, -1, 4096, nil)); err != syscall.EINVAL {
		t.Errorf("negative: %v", err)
	}
}

func TestReadDirOfChangingRoot(t *testing.T) {
	f := New(Options{})
	name := func(i int) string { return fmt.Sprintf("t%03d", i) }
	info := func(i int) *weir.TorrentInfo { return FakeInfo(name(i), FakeFile{Path: "f", Length: 1}) }
	for i := range 20 {
		addT(t, f, NewFakeTorrent(info(i)))
	}
	b, err := now(f.operations.ReadDir(node.Root, 0, 400, nil))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	first := parseDirents(b)
	for _, d := range first {
		seen[d.name]++
	}
	// Now some that were listed, the next ones and the last one go; one comes.
	for _, i := range []int{0, 3, len(first) - 3, len(first) - 2, len(first) - 1, 19} {
		if err := f.Remove(info(i).InfoHash); err != nil {
			t.Fatal(err)
		}
	}
	addT(t, f, NewFakeTorrent(info(20)))
	for off := first[len(first)-1].next; ; {
		b, err := now(f.operations.ReadDir(node.Root, int64(off), 100, nil))
		if err != nil {
			t.Fatal(err)
		}
		more := parseDirents(b)
		if len(more) == 0 {
			break
		}
		for _, d := range more {
			seen[d.name]++
		}
		off = more[len(more)-1].next
	}
	for i := len(first); i < 19; i++ {
		if seen[name(i)] != 1 {
			t.Errorf("%s is listed %d times", name(i), seen[name(i)])
		}
	}
	if seen[name(20)] != 1 || seen[name(19)] != 0 {
		t.Errorf("the new one is listed %d times, a removed one %d", seen[name(20)], seen[name(19)])
	}
}

func TestMagnetDoesNotWaitInline(t *testing.T) {
	f := New(Options{})
	tor := NewFakeMagnet(FakeInfo("m", FakeFile{Path: "f", Length: 1}))
	addT(t, f, tor)
	folder := lookupPath(t, f, "m")
	if a, err := now(f.operations.Getattr(folder)); err != nil || a.Mode != dirMode {
		t.Errorf("attributes: %+v, %v", a, err)
	}
	if _, err := now(f.operations.Lookup(folder, "f")); err != errMustWait {
		t.Errorf("lookup: %v", err)
	}
	if _, err := now(f.operations.OpenDir(folder)); err != errMustWait {
		t.Errorf("open: %v", err)
	}
	if _, err := now(f.operations.ReadDir(folder, 0, 4096, nil)); err != errMustWait {
		t.Errorf("list: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, wait, err := f.operations.OpenDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(ctx); kernel.Errno(err) != syscall.ETIMEDOUT {
		t.Errorf("open with a deadline: %v", err)
	}
	tor.Learn()
	if e, err := await(f.operations.Lookup(folder, "f")); err != nil || e.ID == 0 {
		t.Errorf("lookup when known: %v", err)
	}
	if e, err := now(f.operations.Lookup(folder, "f")); err != nil || e.ID == 0 {
		t.Errorf("lookup, inline, when the tree is there: %v", err)
	}
}

func TestTreeIsBuiltBehind(t *testing.T) {
	f := New(Options{})
	addT(t, f, NewFakeTorrent(FakeMany("t", 10, 400, 1)))
	folder := lookupPath(t, f, "t")
	if _, err := now(f.operations.OpenDir(folder)); err != errMustWait {
		t.Errorf("inline: %v", err)
	}
	if open, err := await(f.operations.OpenDir(folder)); err != nil || !open.KeepListing {
		t.Errorf("waiting: %+v, %v", open, err)
	}
	if _, err := now(f.operations.OpenDir(folder)); err != nil {
		t.Errorf("inline once it is there: %v", err)
	}
}

// A wait that begins while its torrent is being removed ends at once.
func TestWaitOfRemovedTorrent(t *testing.T) {
	f := New(Options{})
	tor := NewFakeTorrent(FakeInfo("t", FakeFile{Path: "f", Length: 10}))
	addT(t, f, tor)
	open, err := await(f.operations.OpenFile(lookupPath(t, f, "t/f"), true, node.Caller{}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.operations.Release(open.Handle)
	tor.HoldAll(false)
	read, err := f.operations.Read(node.Read{Handle: open.Handle, N: 10}, nil)
	if err != nil || read == nil || read.N != 10 {
		t.Fatalf("what is not held: %+v, %v", read, err)
	}
	if err := f.Remove(tor.ih); err != nil {
		t.Fatal(err)
	}
	if err := read.Fill(context.Background(), make([]byte, 10)); err != weir.ErrRemoved {
		t.Errorf("read: %v", err)
	}
	magnet := NewFakeMagnet(FakeInfo("m", FakeFile{Path: "f", Length: 1}))
	addT(t, f, magnet)
	_, wait, err := f.operations.OpenDir(lookupPath(t, f, "m"))
	if err != nil || wait == nil {
		t.Fatalf("open: %v", err)
	}
	if err := f.Remove(magnet.ih); err != nil {
		t.Fatal(err)
	}
	if _, err := wait(context.Background()); kernel.Errno(err) != syscall.ESTALE {
		t.Errorf("open: %v", err)
	}
}

func TestOpenFile(t *testing.T) {
	f := New(Options{})
	tor := NewFakeTorrent(FakeInfo("t", FakeFile{Path: "d/f", Length: 10}))
	addT(t, f, tor)
	id := lookupPath(t, f, "t/d/f")
	for _, tt := range []struct {
		id       node.ID
		readOnly bool
		err      error
	}{
		{id, false, syscall.EROFS},
		{node.Root, true, syscall.EISDIR},
		{node.ByHash, true, syscall.EISDIR},
		{lookupPath(t, f, "t/d"), true, syscall.EISDIR},
		{id + 9, true, syscall.ESTALE},
	} {
		if _, err := now(f.operations.OpenFile(tt.id, tt.readOnly, node.Caller{})); err != tt.err {
			t.Errorf("open %v, read-only %v: %v, want %v", tt.id, tt.readOnly, err, tt.err)
		}
	}
	open, err := now(f.operations.OpenFile(id, true, node.Caller{}))
	if want := (node.Opened{Handle: open.Handle, KeepCache: true, NoFlush: true}); err != nil || open != want {
		t.Fatalf("open: %+v, %v", open, err)
	}
	for _, tt := range []struct {
		off  int64
		n    int
		want int
	}{{0, 4, 4}, {0, 4096, 10}, {9, 4096, 1}, {10, 4096, 0}, {1 << 62, 4096, 0}} {
		got := -1
		pending, err := f.operations.Read(node.Read{Handle: open.Handle, Off: tt.off, N: tt.n}, func(b []byte) { got = len(b) })
		if got != tt.want || pending != nil || err != nil {
			t.Errorf("%d at %d: %d, %v, want %d", tt.n, tt.off, got, err, tt.want)
		}
	}
	fails := func(what string, h node.Handle, off int64, want error) {
		t.Helper()
		if _, err := f.operations.Read(node.Read{Handle: h, Off: off, N: 1}, nil); err != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	fails("negative offset", open.Handle, -1, syscall.EINVAL)
	fails("a handle that is not", open.Handle+1, 0, syscall.EBADF)
	if err := f.Remove(tor.ih); err != nil {
		t.Fatal(err)
	}
	fails("removed", open.Handle, 0, weir.ErrRemoved)
	f.operations.Release(open.Handle)
	f.operations.Release(open.Handle)
	if n := tor.Opened.Load(); n != 0 {
		t.Errorf("%d open", n)
	}
}

func TestRepeatedTimeout(t *testing.T) {
	var l repeatedTimeout
	at := time.Unix(1000, 0)
	r := func(off, end int64) weir.Range { return weir.Range{Off: off, End: end} }
	if l.again(7, r(0, 1), at) {
		t.Error("nothing timed out")
	}
	l.set(7, r(100, 200), at)
	l.set(7, r(0, 100), at.Add(time.Millisecond))
	for _, tt := range []struct {
		what string
		pid  uint32
		in   weir.Range
		at   time.Time
		want bool
	}{
		{"another thread", 8, r(0, 50), at, false},
		{"another place", 7, r(150, 250), at, false},
		{"a second later", 7, r(0, 50), at.Add(2 * repeatWithin), false},
		{"again", 7, r(0, 50), at, true},
		{"a third time", 7, r(0, 50), at, false},
	} {
		if got := l.again(tt.pid, tt.in, tt.at); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

func TestHandlesReuse(t *testing.T) {
	var hs handles
	a, b := &handle{}, &handle{}
	ida, idb := hs.add(a), hs.add(b)
	if ida == 0 || idb == 0 || ida == idb || hs.get(ida) != a || hs.get(idb) != b {
		t.Fatal("handles are mixed up")
	}
	if hs.take(ida) != a || hs.get(ida) != nil || hs.take(ida) != nil {
		t.Error("taken twice")
	}
	if c := (&handle{}); hs.add(c) != ida || hs.get(ida) != c {
		t.Error("not used again")
	}
	if left := hs.takeAll(); len(left) != 2 || hs.get(idb) != nil {
		t.Error("something is left")
	}
}

func TestStatfs(t *testing.T) {
	f := New(Options{})
	tor := NewFakeTorrent(FakeInfo("t", FakeFile{Path: "f", Length: FakePiece + 1}))
	addT(t, f, tor)
	addT(t, f, NewFakeMagnet(FakeInfo("m", FakeFile{Path: "f", Length: 10})))
	tor.Hold(weir.Range{Off: FakePiece, End: FakePiece + 1}, false)
	s := f.totals.count().usage()
	if s.Blocks != FakePiece/4096+1 || s.FreeBlocks != 1 || s.Files != 4 || s.NameBytes != 255 || s.BlockSize != statfsBlock {
		t.Errorf("%+v", s)
	}
	now := time.Now()
	f.totals.set(sums{content: 1}, now)
	if _, ok := f.totals.recent(now.Add(totalsFor - 1)); !ok {
		t.Error("forgotten too early")
	}
	if _, ok := f.totals.recent(now.Add(totalsFor)); ok {
		t.Error("kept too long")
	}
}

func TestXattrs(t *testing.T) {
	f := New(Options{Version: "v"})
	tor := NewFakeTorrent(FakeInfo("raw/name", FakeFile{Path: "d/a", Length: FakePiece}, FakeFile{Path: "p", Length: 100, Padding: true},
		FakeFile{Path: "d/..", Length: FakePiece}, FakeFile{Path: "e", Length: 1}))
	addT(t, f, tor)
	magnet := NewFakeMagnet(FakeInfo("m"))
	addT(t, f, magnet)
	tor.Hold(weir.Range{End: 1}, false)
	get := func(id node.ID, name string) (string, error) {
		v, err := await(f.operations.Getxattr(id, name, 0))
		return string(v), err
	}
	for _, tt := range []struct{ path, name, want string }{
		{"raw%2Fname", "path", "raw/name"},
		{"raw%2Fname/d/%2E%2E", "path", "d/.."},
		{"raw%2Fname/d", "path", "d"},
		{"raw%2Fname", "size", fmt.Sprint(2*FakePiece + 1)},
		{"raw%2Fname/d", "size", fmt.Sprint(2 * FakePiece)},
		{"raw%2Fname", "have", fmt.Sprint(FakePiece + 1)},
		{"raw%2Fname/d", "have", fmt.Sprint(FakePiece)},
		{"raw%2Fname/d/a", "have", "0"},
		{"raw%2Fname", "pieces", "2/3"},
		{"raw%2Fname/d/a", "pieces", "0/1"},
		{"raw%2Fname/d/%2E%2E", "pieces", "2/2"},
		{"raw%2Fname/e", "pieces", "1/1"},
		{"m", "infohash", magnet.ih.String()},
		{"m", "peers", "0"},
		{"m", "seeds", "1"},
		{"m", "state", "warm"},
		{"m", "wait", "no peer has it"},
		{"m", "webseeds", "http://h/ ready 0\n"},
		{"raw%2Fname/d/%2E%2E", "peers", fmt.Sprint(FakePiece)},
		{"raw%2Fname/d", "peers", fmt.Sprint(2*FakePiece + 100)}, // from the first byte to the last
		{"raw%2Fname/e", "availability", "1.500"},
	} {
		if got, err := get(lookupPath(t, f, tt.path), xattrPrefix+tt.name); got != tt.want || err != nil {
			t.Errorf("%s of %s: %q, %v, want %q", tt.name, tt.path, got, err, tt.want)
		}
	}
	if got, err := get(node.Root, "user.weir.version"); got != "v" || err != nil {
		t.Errorf("version: %q, %v", got, err)
	}
	for _, tt := range []struct {
		id   node.ID
		name string
	}{
		{node.Root, "user.weir.infohash"}, {lookupPath(t, f, "raw%2Fname"), "user.weir.version"}, {lookupPath(t, f, "m"), "user.weir.size"},
		{lookupPath(t, f, "raw%2Fname"), "user.weir.torrents"}, {lookupPath(t, f, "m"), "user.weir.nothing"}, {lookupPath(t, f, "m"), "user.mime_type"},
	} {
		if _, err := get(tt.id, tt.name); err != syscall.ENODATA {
			t.Errorf("%s of %v: %v, want ENODATA", tt.name, tt.id, err)
		}
	}
	if got, err := get(node.Root, "user.weir.torrents"); got != "2" || err != nil {
		t.Errorf("torrents: %q, %v", got, err)
	}
	for _, name := range []string{"system.posix_acl_access", "security.selinux", "trusted.x", "user"} {
		if _, err := now(f.operations.Getxattr(lookupPath(t, f, "m"), name, 0)); err != syscall.EOPNOTSUPP {
			t.Errorf("%s, inline: %v", name, err)
		}
	}
	if got, err := f.operations.Listxattr(lookupPath(t, f, "m"), 0); string(got) != "user.weir.infohash\x00" || err != nil {
		t.Errorf("list of a magnet: %q, %v", got, err)
	}
	if got, err := f.operations.Listxattr(node.Root, 0); len(got) != 0 || err != nil {
		t.Errorf("list of the root: %q, %v", got, err)
	}
	if _, err := f.operations.Listxattr(lookupPath(t, f, "m"), 3); err != syscall.ERANGE {
		t.Errorf("list into 3 bytes: %v", err)
	}
	if err := fits(maxXattrBytes+1, 0); err != syscall.E2BIG {
		t.Errorf("too long: %v", err)
	}
}
